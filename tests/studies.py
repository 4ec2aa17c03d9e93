"""What a test sees of a study while others work on it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import load_study
from optuna.trial import FrozenTrial, TrialState


def trials_in(file: Path) -> list[FrozenTrial]:
    """Return the trials of the studies in a journal, the first one first."""
    storage = JournalStorage(JournalFileBackend(str(file)))
    names = [study.study_name for study in storage.get_all_studies()]
    return [one for name in names for one in load_study(study_name=name, storage=storage).trials]


def stopped_in_a_trial(pid: int, folder: Path) -> bool:
    """Stop a process; return whether it has a third trial or a later one, else let it go on."""
    for file in folder.glob("*.journal"):
        os.kill(pid, signal.SIGSTOP)
        trials = trials_in(file)
        if len(trials) > 2 and trials[-1].state == TrialState.RUNNING:
            return True
        os.kill(pid, signal.SIGCONT)
    return False
