"""A converted model answers as the pipeline does, or is not used."""

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from slipway_template.data import sample
from slipway_template.data.columns import Columns, describe
from slipway_template.data.validation import to_inputs
from slipway_template.estimators.model import make_model
from slipway_template.preprocessing.schema import Rows
from slipway_template.training import convert, masks, ruled
from slipway_template.training.convert import differs, to_graph, to_masks
from slipway_template.training.evaluation import answers
from slipway_template.training.graph import Graph
from slipway_template.training.masks import Masks
from slipway_template.utils.config import Roles

TARGETS = {"classification": "late", "regression": "delivery_days", "several": "carrier"}
LINEAR = {"classification": LogisticRegression(max_iter=2_000), "regression": Ridge()}
FOREST = {
    "classification": RandomForestClassifier(20, random_state=1),
    "regression": RandomForestRegressor(20, random_state=1),
}


def columns_for(target: str) -> Columns:
    roles = Roles(
        target=target,
        key=["shipment_id"],
        group="customer_id",
        time="ordered_at",
        exclude=sorted({"late", "delivery_days"} - {target}),
    )
    return describe(Rows.to_schema(), roles)


def rows_of(columns: Columns, count: int, seed: int) -> pd.DataFrame:
    return sample.generate(Rows.to_schema(), columns, count, seed=seed)


def fitted(task: str, model: object | None = None) -> tuple[Pipeline, Columns]:
    columns = columns_for(TARGETS[task])
    rows = rows_of(columns, 3_000, seed=1)
    inputs = to_inputs(rows, columns)
    target = rows[TARGETS[task]]
    kind = "regression" if task == "regression" else "classification"
    model = model or make_model(kind, seed=1)
    pipeline = Pipeline([("features", ruled.make_features(columns)), ("model", model)])
    if kind == "classification":
        target = np.unique(target.to_numpy(dtype=object), return_inverse=True)[1]
    return pipeline.fit(inputs, target), columns


def odd_rows(columns: Columns, count: int) -> pd.DataFrame:
    """Rows with nulls, extremes and categories that training never saw."""
    rows = rows_of(columns, count, seed=2)
    rows.loc[::7, ["weight_kg", "items", "goods"]] = None
    rows.loc[::13, "distance_km"] = 0.0
    rows.loc[1::13, "distance_km"] = 5_000.0
    for name in columns.of("category"):
        rows.loc[::11, name] = "never seen before"
    return to_inputs(rows, columns)


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("kind", ["boosted trees", "linear"])
def test_twenty_thousand_rows_get_the_same_answers(task: str, kind: str) -> None:
    linear = LINEAR["regression" if task == "regression" else "classification"]
    scaled = make_pipeline(SimpleImputer(), StandardScaler(), linear)
    pipeline, columns = fitted(task, scaled if kind == "linear" else None)
    golden = to_inputs(rows_of(columns, 300, seed=3), columns)
    graph = to_graph(pipeline, columns)
    assert differs(graph, pipeline, golden, 1e-6) is None
    rows = odd_rows(columns, 20_000)
    given, wanted = Graph(graph).run(rows), answers(pipeline, rows)
    np.testing.assert_allclose(given, wanted, rtol=1e-6, atol=1e-6)
    if task != "regression":
        assert (given.argmax(axis=1) == wanted.argmax(axis=1)).all()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_graph_that_answers_otherwise_is_found_out(task: str) -> None:
    pipeline, columns = fitted(task, make_pipeline(SimpleImputer(), FOREST[task]))
    other, _ = fitted(task, make_pipeline(SimpleImputer(), LINEAR[task]))
    golden = to_inputs(rows_of(columns, 300, seed=3), columns)
    said = differs(to_graph(other, columns), pipeline, golden, 1e-6)
    assert said is not None
    assert "the golden sample its answers differ by up to" in said


def test_a_row_alone_is_answered_as_among_others() -> None:
    pipeline, columns = fitted("classification")
    graph = Graph(to_graph(pipeline, columns))
    rows = odd_rows(columns, 200)
    together = graph.run(rows)
    alone = np.concatenate([graph.run(rows.iloc[[number]]) for number in range(len(rows))])
    np.testing.assert_allclose(alone, together, rtol=1e-12)


def test_a_model_without_a_converter_says_which() -> None:
    class Own(MLPClassifier):
        """A class that no converter knows."""

    model = make_pipeline(SimpleImputer(), Own(max_iter=5, random_state=1))
    pipeline, columns = fitted("classification", model)
    with pytest.raises(Exception, match="Own"):
        to_graph(pipeline, columns)


def masked(pipeline: Pipeline, columns: Columns) -> tuple[Graph, Masks]:
    graph = to_graph(pipeline, columns)
    made = to_masks(pipeline, graph, to_inputs(rows_of(columns, 300, seed=3), columns))
    assert made is not None
    return Graph(graph), Masks(io.BytesIO(made))


@pytest.mark.parametrize("task", TARGETS)
def test_masks_answer_many_rows_as_the_graph_does_to_the_bit(task: str) -> None:
    pipeline, columns = fitted(task)
    graph, many = masked(pipeline, columns)
    rows = odd_rows(columns, 20_000)
    for name in columns.of("number"):
        rows.loc[3::17, name] = np.inf
        rows.loc[5::17, name] = -np.inf
        rows.loc[7::17, name] = np.nan
    given = many.run(rows)
    np.testing.assert_array_equal(given, graph.run(rows))
    alone = np.concatenate([graph.run(rows.iloc[[number]]) for number in range(500)])
    np.testing.assert_array_equal(given[:500], alone)
    np.testing.assert_array_equal(given[:67], many.run(rows.iloc[:67]))
    np.testing.assert_array_equal(given[:1], many.run(rows.iloc[:1]))


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=5_000),
        HistGradientBoostingRegressor(max_iter=1, max_leaf_nodes=2, min_samples_leaf=1),
        HistGradientBoostingRegressor(max_iter=300, learning_rate=0.02, max_leaf_nodes=32),
        HistGradientBoostingRegressor(loss="gamma", max_iter=20),
        HistGradientBoostingRegressor(max_depth=2, max_bins=4),
    ],
    ids=["no split", "one split", "many trees", "logarithm", "shallow"],
)
def test_masks_know_every_kind_of_boosted_trees(model: HistGradientBoostingRegressor) -> None:
    pipeline, columns = fitted("regression", model)
    graph, many = masked(pipeline, columns)
    rows = odd_rows(columns, 3_000)
    np.testing.assert_array_equal(many.run(rows), graph.run(rows))


def test_a_split_that_asks_only_whether_a_value_is_missing() -> None:
    numbers = np.where(np.arange(400) % 3 == 0, np.nan, 1.0)[:, None]
    model = HistGradientBoostingRegressor(max_iter=3).fit(numbers, np.isnan(numbers[:, 0]))
    nodes = [tree.nodes for step in model._predictors for tree in step]
    assert np.isinf(nodes[0]["num_threshold"]).any()
    made = masks.make_masks(nodes)
    assert made is not None
    cuts, table = made["cuts 0"], made["masks 0"]
    told, missing, infinite = (table[cuts.searchsorted(one)] for one in (1.0, np.nan, np.inf))
    assert (told == infinite).all()
    assert (told != missing).all()


def test_what_is_too_large_for_masks_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = to_inputs(rows_of(columns_for("late"), 300, seed=3), columns_for("late"))
    for model in (
        HistGradientBoostingClassifier(max_leaf_nodes=33, min_samples_leaf=2, random_state=1),
        make_pipeline(SimpleImputer(), FOREST["classification"]),
    ):
        pipeline, columns = fitted("classification", model)
        assert to_masks(pipeline, to_graph(pipeline, columns), golden) is None
    pipeline, columns = fitted("classification")
    graph = to_graph(pipeline, columns)
    assert to_masks(pipeline, graph, golden) is not None
    monkeypatch.setattr(masks, "LARGEST", 1_000)
    assert to_masks(pipeline, graph, golden) is None


def test_masks_that_answer_otherwise_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(trees: list[np.ndarray]) -> dict[str, np.ndarray] | None:
        made = masks.make_masks(trees)
        assert made is not None
        made["leaves"][0] *= 1 + 1e-4
        return made

    pipeline, columns = fitted("classification")
    golden = to_inputs(rows_of(columns, 300, seed=3), columns)
    monkeypatch.setattr(convert, "make_masks", changed)
    assert to_masks(pipeline, to_graph(pipeline, columns), golden) is None


@pytest.mark.parametrize("many", [False, True])
def test_trees_that_part_the_missing_from_the_rest_stay_as_they_are(*, many: bool) -> None:
    """skl2onnx would look for ever for the number next to infinity."""
    pipeline, columns = fitted("classification")
    inputs = to_inputs(rows_of(columns, 500, seed=1), columns)
    inputs["weight_kg"] = inputs["weight_kg"].where(inputs["express"] == 0)
    forest = RandomForestClassifier(5, random_state=1)
    model = VotingClassifier([("one", forest)], flatten_transform=False) if many else forest
    pipeline.set_params(model=model).fit(inputs, inputs["weight_kg"].isna())

    with pytest.raises(NotImplementedError, match="infinity"):
        to_graph(pipeline, columns)
