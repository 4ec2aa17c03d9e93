"""How the alias ``champion`` moves: proven by a rehearsal, noted before and after, taken back.

MLflow's alias call is last-writer-wins and keeps no history. ``history`` is what moves are and what
follows from them (pure), ``history_log`` keeps them in MLflow so that none can be changed or lost,
and ``promoter`` is the one way to move the alias.
"""
