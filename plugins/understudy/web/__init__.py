"""Pages inside Airflow's UI: champions, a Dag's champion, a Dag run's night.

``reader`` asks MLflow, with searches only, and keeps what it was told, which is a ``state``;
``views`` makes of it what a page shows; ``app`` is the FastAPI application behind Airflow's login.
Nothing here writes: the buttons of a page call Airflow's own interface, with its permissions and
its audit log.
"""
