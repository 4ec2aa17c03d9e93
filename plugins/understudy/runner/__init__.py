"""Runs one entry point of one commit: Git, environments, processes, one MLflow run. No Airflow."""
