"""Nights of the past again: each is trained once and judged by any number of rule sets.

``plan`` says what is replayed, ``place`` where it is kept. ``pool`` hands nights to ``worker``
processes; ``history`` reads what they left. ``references`` and ``walk`` say who would have served.
"""
