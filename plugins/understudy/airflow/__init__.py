"""Airflow's side: the Dag of a pipeline, its form, its operators and their links.

Operators are thin: they take facts from Airflow's context, hand them to the rooms below, and turn
errors into Airflow's "retry" or "fail now". They share functions, and never import each other.
"""
