"""The button that takes a champion back, an Airflow Dag: trigger it and fill in the form."""

from understudy import rollback_dag

dag = rollback_dag()
