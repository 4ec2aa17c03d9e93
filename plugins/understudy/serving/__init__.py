"""Models behind HTTP: MLflow's own server, in the environment that the model itself records.

``place`` brings a version and its environment to this machine, ``server`` runs one MLflow server on
loopback, ``inside`` holds the scripts that run in the model's environment. A rehearsal starts one
server and asks it; ``understudy serve`` keeps one behind a proxy whose ``alias_watcher``
follows the champion.
"""
