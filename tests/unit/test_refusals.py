"""Mistakes in features, model and rules: each is told in one line that names what to fix."""

import inspect
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from slipway_template.cli import main as cli
from slipway_template.data.columns import Columns
from slipway_template.estimators import model
from slipway_template.preprocessing import features
from slipway_template.preprocessing.features import DateParts
from slipway_template.training import gates, ruled
from slipway_template.training.artifact import rules_digest
from slipway_template.training.dataset import Part, training_warnings
from slipway_template.training.evaluation import Scores
from slipway_template.training.explain import time_features
from slipway_template.training.members import Member, fit_member
from slipway_template.training.pipeline import Pipeline
from slipway_template.training.train import evaluate, fit
from slipway_template.utils.config import Ensemble, Roles, SplitSettings, Training
from slipway_template.utils.errors import GateRefused
from slipway_template.utils.rules import apply_rules

ROWS = pd.DataFrame({"a": [1.0, 2.0, np.nan] * 20, "b": [3.0, 4.0] * 30})
TARGET = np.arange(60) % 4 > 1


def trained(monkeypatch: pytest.MonkeyPatch, rows: pd.DataFrame = ROWS, **made: Any) -> Any:
    """Fit and evaluate with these in the place of the project's own functions."""
    for name, step in made.items():
        monkeypatch.setattr(ruled, name, lambda *_, step=step: step)
    columns = Columns(Roles(target="late"), dict.fromkeys(ROWS, "number"))
    dataset = SimpleNamespace(columns=columns, part=lambda _: Part(rows, TARGET))
    data = SimpleNamespace(task="classification")
    settings = SimpleNamespace(data=data, training=Training(), ensemble=Ensemble())
    estimator = fit(dataset, settings)
    evaluate(estimator, dataset, "classification")
    return estimator


class Flat(RandomForestClassifier):
    """It answers the probability of one class alone."""

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(super().predict_proba(X)[:, 1])


class Unsure(RandomForestClassifier):
    """It answers NaN."""

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(super().predict_proba(X) * np.nan)


class Huge(RandomForestClassifier):
    """It answers what has no square."""

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(super().predict_proba(X) * 1e200)


class Doubled(RandomForestClassifier):
    """It answers more than probabilities."""

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(super().predict_proba(X) * 2)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"make_model": LogisticRegression()}, "X contains NaN.*SimpleImputer in the place of"),
        ({"make_model": LinearSVC()}, "make_model returns LinearSVC.*that has predict_proba"),
        ({"make_model": make_pipeline(SimpleImputer(), SVC())}, "put CalibratedClassifierCV"),
        ({"make_model": None}, "make_model returns None"),
        ({"make_model": LogisticRegression}, "make_model returns <class .*an object, no class"),
        ({"make_features": None}, "make_features returns None.*that has transform"),
        ({"make_model": Flat()}, r"can't answer: .*shape \(60,\) instead of \(60, 2\)"),
        ({"make_model": Unsure()}, "can't answer: .*not all of its answers are finite"),
        ({"make_model": Huge()}, "can't answer: .*too large to be squared"),
        ({"make_model": Doubled()}, "can't answer: .*no probabilities"),
        ({"make_features": DateParts()}, r"can't be fitted: .*preprocessing/features.py, line \d+"),
    ],
)
def test_what_can_not_be_fitted_is_told(
    monkeypatch: pytest.MonkeyPatch, made: dict[str, Any], said: str
) -> None:
    with pytest.raises(GateRefused, match=f"Fit gate: .*{said}"):
        trained(monkeypatch, **made)


def test_a_stack_which_answers_only_once_it_is_fitted_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = StackingClassifier([("forest", RandomForestClassifier(random_state=0))])
    assert trained(monkeypatch, make_model=stack).predict_proba(ROWS).shape == (60, 2)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = = 3", "audit: SyntaxError: invalid syntax (model.py, line 1)."),
        ("x = 1\nX", "audit: NameError: name 'X' is not defined (estimators/model.py, line 2)."),
        (
            "from ..nowhere import x",
            "audit: ModuleNotFoundError: No module named 'slipway_template.nowhere' "
            "(estimators/model.py, line 1).",
        ),
        ("import nowhere", "No module named 'nowhere' (estimators/model.py, line 1). `uv sync`"),
        ("from ..training.train import nothing", "cannot import name 'nothing'"),
        (
            "import pandera.pandas as pa\nclass Rows(pa.DataFrameModel):\n    a: bool = 3\n"
            "Rows.to_schema()",
            "preprocessing/schema.py failed: 'a' can only be assigned a 'Field'",
        ),
        ("open('nowhere')", "directory: 'nowhere' (estimators/model.py, line 1)"),
    ],
)
def test_own_code_that_can_not_be_imported_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    def imported(*_: object) -> Any:
        exec(compile(code, model.__file__, "exec"), vars(model).copy())

    monkeypatch.setitem(cli.COMMANDS, "audit", ("", (), imported))
    assert cli.main(["audit"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_column_without_any_value_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GateRefused, match=r"has no value in any training row: .*\[data\] exclude"):
        trained(monkeypatch, ROWS.assign(a=np.nan))


def test_a_model_whose_code_changed_since_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skops.io.dump(LogisticRegression(), tmp_path / "unfitted")
    with pytest.raises(GateRefused, match=r"Golden sample gate: .* train anew: NotFittedError"):
        Pipeline(tmp_path / "unfitted", ["a"]).run({"a": np.zeros(2)})
    skops.io.dump(DateParts(), tmp_path / "gone")
    monkeypatch.delattr(features, "DateParts")
    with pytest.raises(GateRefused, match=r"Golden sample gate: .* no attribute 'DateParts'"):
        Pipeline(tmp_path / "gone", ["a"])


def test_rules_edited_while_a_training_goes_on_are_known_as_they_were_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = rules_digest(["collected_at_depot"])
    monkeypatch.setattr(inspect, "getsource", lambda _: "x = = 3")
    assert rules_digest(["collected_at_depot"]) == loaded


ANSWERS = np.array([[0.5, 0.5], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda rows, *_: rows["gone"], "reads 'gone', which is no input"),
        (lambda rows, *_: rows["a"].nothing, "raises AttributeError: .*'nothing'"),
        (lambda *_: None, r"returns NoneType instead of .* the shape \(2, 2\)"),
        (lambda _, answers, __: answers.tolist(), "returns list instead of"),
        (lambda _, answers, __: answers[1:], r"returns \(1, 2\) instead of"),
        (lambda _, answers, __: answers[:, 1], r"returns \(2,\) instead of"),
        (lambda _, answers, __: answers.astype(str), "instead of numbers"),
    ],
)
def test_a_rule_that_returns_no_answers_is_named(rule: Any, said: str) -> None:
    rule.__name__ = "weekend"
    with pytest.raises(GateRefused, match=f"Rule gate: the rule weekend of .*{said}"):
        apply_rules([rule], {"a": np.zeros(2)}, ANSWERS, [False, True])


def numbers(columns: Any) -> ColumnTransformer:
    return ColumnTransformer([("few", StandardScaler(), columns), ("none", StandardScaler(), [])])


@pytest.mark.parametrize(
    ("made", "steps"),
    [
        (numbers(["a"]), {"few"}),
        (numbers([0, 1]), {"few"}),
        (numbers(slice(0, 1)), {"few"}),
        (numbers([True, False]), {"few"}),
        (make_pipeline(numbers(["a", "b"])), {"features"}),
    ],
)
def test_steps_are_timed_however_they_name_their_columns(made: Any, steps: set[str]) -> None:
    estimator = SimpleNamespace(pipeline_=SimpleNamespace(named_steps={"features": made.fit(ROWS)}))
    assert time_features(estimator, ROWS).keys() == steps


def test_a_call_on_few_rows_is_not_taken_for_the_cost_of_a_row() -> None:
    slow = FunctionTransformer(lambda rows: time.sleep(0.01) or rows).fit(ROWS)
    estimator = SimpleNamespace(pipeline_=SimpleNamespace(named_steps={"features": slow}))
    assert time_features(estimator, ROWS.head(20))["features"] < 60


def test_validation_rows_of_one_class_let_no_model_pass() -> None:
    (said,) = gates._uniform(np.array(["no"] * 450, dtype=object))
    assert "Baseline gate: the target is no in all 450 validation rows" in said
    assert not [*gates._uniform(np.array([0.0, 1.0]))]


def test_a_champion_has_decayed_where_it_lost_more_than_by_chance() -> None:
    losses = np.random.default_rng(0).normal(0.5, 0.1, 400)
    said = gates._decay(Scores({"brier": 0.5}, losses), {"brier": 0.2}, "brier", 4)
    assert said.startswith("version 4 has brier 0.5000 on the newest validation rows, 0.2000 on")
    assert not gates._decay(Scores({"brier": 0.5}, losses), {"brier": 0.45}, "brier", 4)
    assert not gates._decay(Scores({"rmse": 0.7}, losses), {"rmse": 0.7}, "rmse", 4)
    few = Scores({"rmse": 0.7}, np.array([0.01, 0.01, 1.5]))
    assert not gates._decay(few, {"rmse": 0.5}, "rmse", 4)


def test_only_columns_that_never_change_are_doubted_whatever_the_first_row_lacks() -> None:
    flags = {"flag": pd.array([None, True, False] * 20, "boolean"), "some": [None, 1.0] * 30}
    split = SimpleNamespace(
        rows=lambda _: pd.DataFrame(flags | {"same": 1.0}), counts={"train": 60}, strategy="key"
    )
    columns = SimpleNamespace(inputs=["flag", "some", "same"])
    tables = {"t": SimpleNamespace(rows=60)}
    given: Any = SimpleNamespace(columns=columns, split=split, tables=tables)
    assert [*training_warnings(given, SplitSettings())] == ["same is 1.0 in all 60 training rows"]


def test_a_segment_of_one_class_is_left_to_the_model_of_all() -> None:
    X, y = np.array([[0.0, 1], [1, 2], [1, 3], [0, 4]]), np.array([0, 1, 1, 1])
    few = Member("by=few", HistGradientBoostingClassifier(random_state=0), {}, 1)
    assert "answers in the shape" in fit_member(few, (X, y), (X[:1], y[:1]), 1).reason
