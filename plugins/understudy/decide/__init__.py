"""Gathers evidence in a process of its own, so that Airflow needs no statistics beside it.

``predictions`` brings the files here, ``gathering`` runs ``child`` in the gate's environment and
hands back an ``Answer``; ``repetition`` knows who was compared on the same rows before, and
``unscored`` why a champion has no numbers. The verdict itself is ``understudy.gate``'s.
"""
