"""What a Dag file declares: pipeline, project, steps, search, placement, and the gate's rules.

Frozen records that check all their fields when they are made. Pure: nothing here reads a clock, a
file or a server, and neither Airflow nor MLflow may be imported.
"""
