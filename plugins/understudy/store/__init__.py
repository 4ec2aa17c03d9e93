"""What lies in MLflow: runs, artifacts and the night's parent run. No Airflow."""
