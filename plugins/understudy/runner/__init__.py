"""Runs one entry point of one commit as one MLflow run. No Airflow.

``git`` fetches the commit, ``environment`` builds what the project asks for, ``process`` runs the
entry point and sees to its end, ``reuse`` knows whether an earlier result may stand for it, and
``cluster`` does the same with jobs elsewhere. ``runner`` puts these together.
"""
