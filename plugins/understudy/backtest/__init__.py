"""Replays nights of the past: each is trained once and judged by any number of rule sets.

``plan`` is what is replayed, ``place`` the folder for it. ``replay`` runs the nights on ``worker``
processes by way of ``workers``, and has ``answers`` start processes of ``evaluation``: those read
the nights with ``history``, measure with ``cost`` and compute which model would have served when.
``results`` and ``picture`` show it.
"""
