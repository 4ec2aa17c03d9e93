"""Data guards: checks of a night's rows before two models are compared on them.

Needs the extra ``understudy[gate]``; runs in the gate's own process. The whole of it is ::

    found = find(guards, folder, champion, as_of="2026-03-01")

``folder`` is what the night's ``preprocess`` logged. ``champion`` is the ``Profile`` of the rows
that the champion was trained on: stored with the night that trained it (``Profile.from_json``), or
made of its rows while they are there (``profile_of(folder)``). It is ``Absent(reason)`` where
there is neither, and None without a champion. ``found.findings`` go into the evidence; what
``found.profile.to_json()`` returns is stored with the night, as ``decision/profile.json``.
``understudy.store.training_rows`` fetches either of the champion's.

What a model costs is measured by ``understudy.decide.benchmark`` and judged by
``understudy.gate.budgets``.
"""

from understudy.evaluation.guards.current_data import Roles
from understudy.evaluation.guards.data import Absent, GuardFindings, find, profile_of
from understudy.evaluation.guards.profile import Profile

__all__ = ["Absent", "GuardFindings", "Profile", "Roles", "find", "profile_of"]
