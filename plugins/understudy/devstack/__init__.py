"""The local stack: MLflow, git and Airflow on one machine, for a demo, a trial or a test."""
