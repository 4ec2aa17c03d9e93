"""Where ``understudy.airflow`` was until 0.1: tasks that wait hold this path in Airflow's database.

Goes with the release after the next.
"""
