"""Runs one entry point of one commit as one MLflow run. No Airflow.

``git`` fetches the commit, ``environment`` builds the project's environment, ``process`` runs the
entry point and ends what it started, ``reuse`` decides whether an earlier result may stand for it,
and ``cluster`` does the same with jobs elsewhere. ``runner`` puts these together.
"""
