"""The models: which there are, which parameters each takes, and the pipeline around each.

The pipeline takes raw rows, see `preparation`. Touches nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pandas as pd

from shared.commandline import Option
from shared.errors import ParameterError, nearest
from tabular.adjusting import are_sparse, check_memory, in_deviations, is_extreme
from tabular.declaration import Task
from tabular.facts import Facts
from tabular.preparation import IMPUTATIONS, NATIVE, Columns, prepare

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
]
"""Types outside skops' own list that the models below are stored with; nothing else is loaded."""
XGBOOST = "xgboost"
FURTHER_TYPES: Mapping[str, list[str]] = {
    # With categories it keeps a transformer that checks its input by this function.
    "hist_gradient_boosting": ["functools.partial"],
    XGBOOST: [
        "builtins.bytearray",
        "sklearn.utils._bunch.Bunch",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    ],
}
"""The same for one kind of model alone. XGBoost's trees are stored in its own binary form."""

REQUIREMENTS = ("mlflow-skinny", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy", "skops")
"""Distributions that loading and serving any of the models needs."""

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
    Option("max_depth", 0, "deepest tree; 0 for no limit, of xgboost for 6", minimum=0),
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
    Option("l2_regularization", 0.0, "L2 penalty of hist_gradient_boosting", minimum=0),
    Option("min_child_weight", 1.0, "smallest weight of a leaf of xgboost", minimum=0),
    Option("subsample", 1.0, "share of the rows for each tree of xgboost", above=0, maximum=1),
    Option(
        "colsample_bytree", 1.0, "share of the columns for each tree of xgboost", above=0, maximum=1
    ),
    Option("gamma", 0.0, "smallest gain of a split of xgboost", minimum=0),
    Option("reg_alpha", 0.0, "L1 penalty of xgboost", minimum=0),
    Option("reg_lambda", 1.0, "L2 penalty of xgboost", minimum=0),
    Option("monotone", "", "columns with which boosting may only rise or fall, name:1,name:-1"),
    Option(
        "missing",
        "",
        "what a missing number becomes; '' for the model's own way",
        choices=("", NATIVE, *IMPUTATIONS),
    ),
)
COMMON = ("random_state", "missing")
"""Options that go with every model."""


@dataclass(frozen=True)
class Model:
    """One kind of model.

    Attributes:
        build: makes the estimator from a task, the library's arguments and the columns.
        tasks: what it can predict.
        parameters: options that it uses.
        linear: whether numbers are scaled.
        native: whether it takes categories and missing numbers as they are.
        unit_bound: whether it learns a number worse where its unit makes it tiny or huge.
    """

    build: Callable[[Task, dict[str, Any], Columns], "BaseEstimator"]
    tasks: tuple[Task, ...]
    parameters: tuple[str, ...]
    linear: bool = False
    native: bool = False
    unit_bound: bool = False


def _linear_regression(
    _task: Task, _arguments: dict[str, Any], _columns: Columns
) -> "BaseEstimator":
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _elastic_net(_task: Task, arguments: dict[str, Any], _columns: Columns) -> "BaseEstimator":
    from sklearn.linear_model import ElasticNet

    return ElasticNet(**arguments)


def _logistic_regression(
    _task: Task, arguments: dict[str, Any], _columns: Columns
) -> "BaseEstimator":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**arguments)


def _decision_tree(task: Task, arguments: dict[str, Any], _columns: Columns) -> "BaseEstimator":
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    return kind(**arguments)


def _random_forest(task: Task, arguments: dict[str, Any], _columns: Columns) -> "BaseEstimator":
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    return kind(**arguments)


def _hist_gradient_boosting(
    task: Task, arguments: dict[str, Any], columns: Columns
) -> "BaseEstimator":
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(
        max_iter=arguments.pop("n_estimators"),
        categorical_features=columns.text_positions or None,
        monotonic_cst=columns.directions(arguments.pop("monotone")),
        **arguments,
    )


def _xgboost(task: Task, arguments: dict[str, Any], columns: Columns) -> "BaseEstimator":
    from sklearn.ensemble import VotingClassifier
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBRegressor if task == "regression" else XGBClassifier
    directions = columns.directions(arguments.pop("monotone"))
    estimator = kind(
        tree_method="hist",
        enable_categorical=True,
        feature_types=columns.xgboost_types,
        monotone_constraints=None if directions is None else tuple(directions),
        **arguments,
    )
    if task == "regression":
        return estimator
    # XGBoost numbers its classes; a vote of one gives each its name back, by scikit-learn alone.
    return VotingClassifier([(XGBOOST, estimator)], voting="soft")


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
    "decision_tree": Model(_decision_tree, _BOTH, _TREE, unit_bound=True),
    "random_forest": Model(_random_forest, _BOTH, ("n_estimators", *_TREE), unit_bound=True),
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
            "monotone",
        ),
        native=True,
    ),
    XGBOOST: Model(
        _xgboost,
        _BOTH,
        (
            "random_state",
            "n_estimators",
            "learning_rate",
            "max_depth",
            "min_child_weight",
            "subsample",
            "colsample_bytree",
            "gamma",
            "reg_alpha",
            "reg_lambda",
            "monotone",
        ),
        native=True,
        unit_bound=True,
    ),
}


def check(name: str, values: Mapping[str, Any]) -> Model:
    """Return the model of this name, if it uses all that was set.

    A parameter that the model does not use must keep its default: it would have no effect, and
    the one who set it would not learn that.

    Args:
        name: value of the parameter `model`.
        values: every option of `OPTIONS`.

    Raises:
        ParameterError: unknown model, or a parameter without effect.
    """
    if name not in MODELS:
        raise ParameterError(
            f"there is no model '{name}'{nearest(name, MODELS)}",
            allowed=", ".join(MODELS),
            action="pass one of these as -P model=...",
        )
    model = MODELS[name]
    idle = [
        option.name
        for option in OPTIONS
        if option.name not in (*model.parameters, *COMMON) and values[option.name] != option.default
    ]
    if idle:
        using = [known for known, one in MODELS.items() if set(idle) <= set(one.parameters)]
        raise ParameterError(
            f"model '{name}' does not use {', '.join(idle)}",
            allowed=", ".join(model.parameters) or "no parameters",
            action="leave these out, or choose another model"
            + (f" that uses them, as -P model={using[0]} does" if using else ""),
        )
    return model


def choose(name: str, task: Task, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that the model uses, checked together with it.

    Args:
        name: value of the parameter `model`.
        task: what to predict.
        values: every option of `OPTIONS`.

    Raises:
        ParameterError: model and task do not fit, and what `check` raises.
    """
    model = check(name, values)
    if task not in model.tasks:
        fitting = [known for known, other in MODELS.items() if task in other.tasks]
        raise ParameterError(
            f"model '{name}' cannot do {task}",
            allowed=", ".join(fitting),
            action="pass one of these as -P model=..., or, if the target of a file of your own was "
            f"taken for what it is not, -P task={model.tasks[0]} to download or main",
        )
    used = {option: values[option] for option in model.parameters}
    used["missing"] = values["missing"] or (NATIVE if model.native else IMPUTATIONS[0])
    _check_criterion(task, used.get("criterion", ""))
    _check_missing(name, used)
    return used


def _check_criterion(task: Task, criterion: str) -> None:
    fitting = REGRESSION_CRITERIA if task == "regression" else CLASSIFICATION_CRITERIA
    if criterion and criterion not in fitting:
        raise ParameterError(
            f"criterion '{criterion}' does not fit {task}",
            allowed=", ".join(fitting),
            action="pass one of these as -P criterion=...",
        )


def _check_missing(name: str, used: Mapping[str, Any]) -> None:
    if used["missing"] != NATIVE:
        return
    if MODELS[name].linear:
        found = f"model '{name}' cannot take a missing number as it is"
    elif used.get("criterion") == "absolute_error":
        found = "criterion 'absolute_error' cannot take a missing number as it is"
    else:
        return
    raise ParameterError(
        f"{found}, and missing is '{NATIVE}'",
        allowed=", ".join(IMPUTATIONS),
        action="pass one of these as -P missing=..., or choose another model or criterion",
    )


def build(
    name: str, facts: Facts, used: Mapping[str, Any], rows: pd.DataFrame | None = None
) -> "Pipeline":
    """Return the unfitted pipeline from raw rows to predictions: steps `prepare` and `model`.

    Args:
        name: a key of `MODELS`.
        facts: which columns are features, and of which kind.
        used: what `choose` returned.
        rows: those to fit, features and target, which decide how texts and an extreme target are
            taken; None for the usual way.

    Raises:
        DataError: if the rows do not fit into memory.
        ParameterError: if `monotone` does not fit the columns.
    """
    from sklearn.pipeline import Pipeline

    model = MODELS[name]
    arguments = dict(used)
    if arguments.get("max_depth") == 0:
        arguments["max_depth"] = None
    for option in ("min_samples_leaf", "criterion"):
        if not arguments.get(option, True):
            del arguments[option]
    missing, columns = arguments.pop("missing"), Columns.of(facts)
    if rows is not None:
        check_memory(rows, columns, coded=model.native)
    sparse = rows is not None and not model.native and are_sparse(rows, columns)
    first = prepare(columns, missing, scaled=model.linear, coded=model.native, sparse=sparse)
    last = model.build(facts.task, arguments, columns)
    if rows is not None:
        last = _adjusted(model, last, rows[facts.target], facts.task)
    return Pipeline([("prepare", first), ("model", last)])


def _adjusted(
    model: Model, built: "BaseEstimator", target: pd.Series, task: Task
) -> "BaseEstimator":
    """Return an unfitted estimator that can learn this target."""
    if task == "regression":
        if not model.unit_bound or not is_extreme(target):
            return built
        return in_deviations(built, centred=getattr(built, "criterion", "") != "poisson")
    # Of a class that occurs once scikit-learn cannot put rows aside to stop early by.
    if "early_stopping" in built.get_params() and target.value_counts().min() == 1:
        return built.set_params(early_stopping=False)
    return built


def trusted_types(name: str) -> list[str]:
    """Return the types that a stored model of this kind may hold beside skops' own."""
    return [*TRUSTED_TYPES, *FURTHER_TYPES.get(name, [])]


def requirements(name: str) -> list[str]:
    """Return what loading and serving a model of this kind needs, in the installed versions."""
    needed = [f"{package}=={version(package)}" for package in REQUIREMENTS]
    return [*needed, _xgboost_requirement()] if name == XGBOOST else needed


def _xgboost_requirement() -> str:
    """Return the installed one of XGBoost's two distributions: without CUDA, or with it."""
    try:
        return f"xgboost-cpu=={version('xgboost-cpu')}"
    except PackageNotFoundError:
        return f"xgboost=={version('xgboost')}"
