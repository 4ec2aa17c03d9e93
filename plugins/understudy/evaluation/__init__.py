"""From rows to numbers: what two models' predictions on the same rows say about the rules.

Needs the extra ``understudy[gate]`` (numpy, pandas, pyarrow, scipy, scikit-learn); runs in the
gate's own process or on a command line, never in a Dag file or in Airflow's process. ::

    challenger = load("challenger/predictions.parquet")
    champion = load("champion/predictions.parquet")
    evidence = compare(gate, challenger, champion, earlier=earlier)
"""

from understudy.evaluation.catalogue import known
from understudy.evaluation.comparison import compare, moved
from understudy.evaluation.predictions import Predictions, load

__all__ = ["Predictions", "compare", "known", "load", "moved"]
