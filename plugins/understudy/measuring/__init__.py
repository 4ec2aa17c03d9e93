"""Measures what two models cost, on one machine in the same minutes: size, memory, time.

It goes like this ::

    stopwatch = Stopwatch(client.tracking_uri, settings)
    measured = stopwatch.measure(challenger, champion, rows, on_line)
    findings = understudy.gate.budgets.findings(gate.budgets, measured, gate.seed)

``challenger`` and ``champion`` are ``Candidate`` records; ``candidate(client, ...)`` makes one of
the run that trained a model. ``rows`` is tonight's ``holdout.parquet``, or None to predict the
input example that was logged with the challenger. A project's code runs in processes of its own
only, in the environment of the commit that trained the model; ``stop`` ends them.
"""

from understudy.measuring.candidates import Candidate, candidate, refuse_gone, training_run
from understudy.measuring.stopwatch import Effort, Stopwatch

__all__ = ["Candidate", "Effort", "Stopwatch", "candidate", "refuse_gone", "training_run"]
