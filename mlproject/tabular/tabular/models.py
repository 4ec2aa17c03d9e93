"""The models: which there are, which parameters each takes, and the pipeline around each.

The pipeline takes raw rows: numbers are imputed (and scaled for linear models), text is encoded,
inside the model. Touches nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabular.commandline import Option
from tabular.declaration import Task
from tabular.errors import ParameterError, nearest
from tabular.facts import Facts

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
]
"""Types outside skops' own list that the models below are stored with; nothing else is loaded."""

REGRESSION_CRITERIA = ("squared_error", "friedman_mse", "absolute_error", "poisson")
CLASSIFICATION_CRITERIA = ("gini", "entropy", "log_loss")

OPTIONS = (
    Option("random_state", 42, "seed of everything random", minimum=0, maximum=2**32 - 1),
    Option("alpha", 1.0, "strength of the penalty of elastic_net", minimum=0),
    Option("l1_ratio", 0.5, "share of L1 in the penalty of elastic_net", minimum=0, maximum=1),
    Option("C", 1.0, "inverse strength of the penalty of logistic_regression", above=0),
    Option("max_iter", 1000, "most iterations of the solver of linear models", minimum=1),
    Option(
        "n_estimators", 100, "number of trees, or of boosting rounds", minimum=1, maximum=100000
    ),
    Option("max_depth", 0, "deepest tree; 0 for no limit", minimum=0),
    Option("min_samples_split", 2, "fewest rows that a node may split", minimum=2),
    Option("min_samples_leaf", 0, "fewest rows in a leaf; 0 for the model's own", minimum=0),
    Option(
        "criterion",
        "",
        "quality of a split; '' for the model's own",
        choices=("", *REGRESSION_CRITERIA, *CLASSIFICATION_CRITERIA),
    ),
    Option("learning_rate", 0.1, "shrinkage of each boosting round", above=0, maximum=10),
    Option("max_leaf_nodes", 31, "most leaves of a tree of boosting", minimum=2),
    Option("l2_regularization", 0.0, "L2 penalty of boosting", minimum=0),
)


@dataclass(frozen=True)
class Model:
    """One kind of model.

    Attributes:
        build: makes the estimator from a task and scikit-learn's arguments.
        tasks: what it can predict.
        parameters: options that it uses.
        linear: whether numbers are scaled and text is one-hot encoded; else text is ordinal.
    """

    build: Callable[[Task, dict[str, Any]], "BaseEstimator"]
    tasks: tuple[Task, ...]
    parameters: tuple[str, ...]
    linear: bool = False


def _linear_regression(_task: Task, _arguments: dict[str, Any]) -> "BaseEstimator":
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _elastic_net(_task: Task, arguments: dict[str, Any]) -> "BaseEstimator":
    from sklearn.linear_model import ElasticNet

    return ElasticNet(**arguments)


def _logistic_regression(_task: Task, arguments: dict[str, Any]) -> "BaseEstimator":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**arguments)


def _decision_tree(task: Task, arguments: dict[str, Any]) -> "BaseEstimator":
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    return kind(**arguments)


def _random_forest(task: Task, arguments: dict[str, Any]) -> "BaseEstimator":
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    return kind(**arguments)


def _hist_gradient_boosting(task: Task, arguments: dict[str, Any]) -> "BaseEstimator":
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(max_iter=arguments.pop("n_estimators"), **arguments)


_BOTH: tuple[Task, ...] = ("regression", "classification")
_TREE = ("random_state", "max_depth", "min_samples_split", "min_samples_leaf", "criterion")

MODELS: Mapping[str, Model] = {
    "linear_regression": Model(_linear_regression, ("regression",), (), linear=True),
    "elastic_net": Model(
        _elastic_net,
        ("regression",),
        ("alpha", "l1_ratio", "max_iter", "random_state"),
        linear=True,
    ),
    "logistic_regression": Model(
        _logistic_regression,
        ("classification",),
        ("C", "max_iter", "random_state"),
        linear=True,
    ),
    "decision_tree": Model(_decision_tree, _BOTH, _TREE),
    "random_forest": Model(_random_forest, _BOTH, ("n_estimators", *_TREE)),
    "hist_gradient_boosting": Model(
        _hist_gradient_boosting,
        _BOTH,
        (
            "random_state",
            "n_estimators",
            "learning_rate",
            "max_depth",
            "max_leaf_nodes",
            "min_samples_leaf",
            "l2_regularization",
        ),
    ),
}


def choose(name: str, task: Task, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that the model uses, checked together with it.

    A parameter that the model does not use must keep its default: it would have no effect, and
    the one who set it would not learn that.

    Args:
        name: value of the parameter `model`.
        task: what to predict.
        values: every option of `OPTIONS`.

    Raises:
        ParameterError: unknown model, model and task do not fit, or a parameter without effect.
    """
    if name not in MODELS:
        raise ParameterError(
            f"there is no model '{name}'{nearest(name, MODELS)}",
            allowed=", ".join(MODELS),
            action="pass one of these as -P model=...",
        )
    model = MODELS[name]
    if task not in model.tasks:
        fitting = [known for known, other in MODELS.items() if task in other.tasks]
        raise ParameterError(
            f"model '{name}' cannot do {task}",
            allowed=", ".join(fitting),
            action="pass one of these as -P model=...",
        )
    _refuse_unused(name, model, values)
    used = {option: values[option] for option in model.parameters}
    _check_criterion(task, used.get("criterion", ""))
    return used


def _refuse_unused(name: str, model: Model, values: Mapping[str, Any]) -> None:
    idle = [
        option.name
        for option in OPTIONS
        if option.name not in (*model.parameters, "random_state")
        and values[option.name] != option.default
    ]
    if idle:
        raise ParameterError(
            f"model '{name}' does not use {', '.join(idle)}",
            allowed=", ".join(model.parameters) or "no parameters",
            action="leave these out or choose another model",
        )


def _check_criterion(task: Task, criterion: str) -> None:
    fitting = REGRESSION_CRITERIA if task == "regression" else CLASSIFICATION_CRITERIA
    if criterion and criterion not in fitting:
        raise ParameterError(
            f"criterion '{criterion}' does not fit {task}",
            allowed=", ".join(fitting),
            action="pass one of these as -P criterion=...",
        )


def build(name: str, facts: Facts, used: Mapping[str, Any]) -> "Pipeline":
    """Return the unfitted pipeline from raw rows to predictions.

    Args:
        name: a key of `MODELS`.
        facts: which columns are features, and of which kind.
        used: what `choose` returned.
    """
    from sklearn.pipeline import Pipeline

    model = MODELS[name]
    arguments = dict(used)
    if arguments.get("max_depth") == 0:
        arguments["max_depth"] = None
    for option in ("min_samples_leaf", "criterion"):
        if not arguments.get(option, True):
            del arguments[option]
    numbers = [column for column in facts.features if facts.columns[column].kind == "number"]
    texts = [column for column in facts.features if facts.columns[column].kind == "text"]
    return Pipeline(
        [
            ("prepare", _prepare(model, numbers, texts)),
            ("model", model.build(facts.task, arguments)),
        ]
    )


def _prepare(model: Model, numbers: Sequence[str], texts: Sequence[str]) -> "BaseEstimator":
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    # keep_empty_features: a column without one value in a short window must not change the shape.
    steps: list[tuple[str, BaseEstimator]] = [
        ("impute", SimpleImputer(strategy="median", keep_empty_features=True))
    ]
    if model.linear:
        steps.append(("scale", StandardScaler()))
    encode = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False
    )
    parts = [("numbers", Pipeline(steps), list(numbers)), ("texts", encode, list(texts))]
    return ColumnTransformer([part for part in parts if part[2]], verbose_feature_names_out=False)
