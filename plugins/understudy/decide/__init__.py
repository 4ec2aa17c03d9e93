"""A decision: inputs in, an evaluation and a benchmark, one record out. No Airflow.

``decision`` is what an operator calls. ``inputs`` brings predictions and rows from MLflow,
``evaluator`` has them compared by ``gate_process`` (numpy, pandas and scikit-learn live in that
process alone) and both models measured by ``benchmark``; the verdict itself is
``understudy.gate``'s. ``replay`` and ``late_labels`` do the same to nights of the past, which
``stored_records`` finds.
"""
