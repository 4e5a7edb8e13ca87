"""Turns a fitted pipeline into an ONNX graph, and proves that both answer alike."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from onnx import TensorProto, load_model_from_string, numpy_helper, shape_inference
from onnx.utils import Extractor
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.tree._tree import Tree

from ..data.columns import Columns
from ..data.validation import MISSING
from .evaluation import answers
from .graph import Graph
from .masks import Masks, make_masks

OPSET = {"": 21, "ai.onnx.ml": 3}
ONNX_TYPES = {"category": StringTensorType, "date": Int64TensorType}


def to_graph(pipeline: Pipeline, columns: Columns) -> bytes:
    """Return the pipeline (features and model, without rules) as an ONNX graph.

    Raises whatever the converter does where it doesn't know a step.
    """
    # Trees that part missing values from all others have such thresholds, and the converter would
    # look for the next number below for ever.
    if any(not np.isfinite(tree.threshold).all() for tree in _trees(pipeline)):
        raise NotImplementedError("trees that split at infinity have no ONNX form")
    inputs = [
        (name, ONNX_TYPES.get(kind, DoubleTensorType)([None, 1]))
        for name, kind in columns.kinds.items()
    ]
    plain = {id(pipeline): {"zipmap": False}} if hasattr(pipeline, "predict_proba") else None
    model = convert_sklearn(pipeline, initial_types=inputs, options=plain, target_opset=OPSET)
    return bytes(model.SerializeToString())


def _trees(part: Any) -> Iterator[Tree]:
    """Yield the trees of scikit-learn's that a fitted estimator is made of."""
    if isinstance(part, Tree):
        yield part
    elif isinstance(part, BaseEstimator | dict):
        yield from _trees([*(part if isinstance(part, dict) else vars(part)).values()])
    elif isinstance(part, list | tuple) or (isinstance(part, np.ndarray) and part.dtype == object):
        for one in part:
            yield from _trees(one)


def differs(graph: bytes, pipeline: Pipeline, golden: pd.DataFrame, tolerance: float) -> str | None:
    """Say by how much the graph answers otherwise than the pipeline, None where it does not.

    Asked are the golden sample and what live data brings: missing values, categories that were
    never seen, and extremes.
    """
    running = Graph(graph)
    for name, rows in {"the golden sample": golden, **_stress(golden)}.items():
        wanted = answers(pipeline, rows)
        if not np.isfinite(wanted).all():
            continue  # such an answer never leaves, whichever runtime made it
        given = running.run(rows)
        if not np.allclose(given, wanted, rtol=tolerance, atol=tolerance):
            return f"on {name} its answers differ by up to {np.abs(given - wanted).max():.2g}"
    return None


def to_masks(pipeline: Pipeline, graph: bytes, golden: pd.DataFrame) -> bytes | None:
    """Return the same model for many rows at once, as `Masks` reads it.

    None where it does not end in boosted trees, or these are too large, or an answer to the
    questions of `differs` is not the graph's, to the bit.
    """
    model = pipeline[-1]
    if not isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        return None
    made: dict[str, Any] | None = make_masks(_nodes(model))
    if made is None:
        return None
    whole = Extractor(shape_inference.infer_shapes(load_model_from_string(graph)))
    trees = [node for node in whole.graph.node if node.op_type == "TreeEnsembleRegressor"][-1]
    asked, last = [end.name for end in whole.graph.input], [whole.graph.output[-1].name]
    made["base"] = np.ravel(model._baseline_prediction)
    for name, ends in {"before": (asked, trees.input), "after": (trees.output, last)}.items():
        part = whole.extract_model(*ends).SerializeToString()
        made[name] = np.frombuffer(part, "uint8")
    stream = io.BytesIO()
    np.savez_compressed(stream, **made)
    stream.seek(0)
    masks, running = Masks(stream), Graph(graph)
    questions = [golden, *_stress(golden).values()]
    alike = all(np.array_equal(masks.run(rows), running.run(rows)) for rows in questions)
    return stream.getvalue() if alike else None


def _nodes(model: Any) -> list[np.ndarray]:
    return [tree.nodes for step in model._predictors for tree in step]


def _stress(golden: pd.DataFrame) -> dict[str, pd.DataFrame]:
    numbers = golden.select_dtypes("number").columns
    texts = golden.select_dtypes(object).columns
    lowest, highest = golden[numbers].min(), golden[numbers].max()
    odd = {
        "missing categories": golden.assign(**dict.fromkeys(texts, MISSING)),
        "unseen categories": golden.assign(**dict.fromkeys(texts, "never seen before")),
        "the lowest values": golden.assign(**lowest),
        "the highest values": golden.assign(**highest),
        "far extremes": golden.assign(**(golden[numbers] * 1e6 + 1)),
        "values in between": golden.assign(**(golden[numbers] * (2 / 3))),
    }
    if golden[numbers].isna().to_numpy().any():  # else the model may refuse them
        odd["missing numbers"] = golden.assign(**dict.fromkeys(numbers, np.nan))
    return odd


def _boosted_trees(scope: Any, operator: Any, container: Any) -> None:
    """Write histogram gradient boosting with thresholds and leaves in double precision.

    The converter that skl2onnx brings rounds both to single precision, which sends some rows down
    another branch.
    """
    model = operator.raw_operator
    trees = _nodes(model)
    nodes, sizes = np.concatenate(trees), [len(tree) for tree in trees]
    tree = np.repeat(np.arange(len(trees)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    leaf = nodes["is_leaf"].astype(bool)
    if nodes["is_categorical"].any():
        raise NotImplementedError("trees that split by category have no ONNX form")
    base = np.ravel(model._baseline_prediction)
    single, raw = (scope.get_unique_variable_name(name) for name in ("single", "raw"))
    container.add_node(
        "TreeEnsembleRegressor",
        operator.inputs[0].full_name,
        single,
        op_domain="ai.onnx.ml",
        op_version=3,
        n_targets=len(base),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=place.tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_featureids=np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        nodes_values_as_tensor=_doubles(np.where(leaf, 0, nodes["num_threshold"])),
        nodes_truenodeids=np.where(leaf, 0, nodes["left"]).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, nodes["right"]).tolist(),
        nodes_missing_value_tracks_true=nodes["missing_go_to_left"].astype(int).tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=place[leaf].tolist(),
        target_ids=(tree[leaf] % len(base)).tolist(),  # each step has a tree for each output
        target_weights_as_tensor=_doubles(nodes["value"][leaf]),
        base_values_as_tensor=_doubles(base),
    )
    container.add_node("Cast", single, raw, to=TensorProto.DOUBLE, op_version=13)
    first, shares = operator.outputs[0].full_name, operator.outputs[-1].full_name
    if first == shares:
        link = "Exp" if type(model._loss.link).__name__ == "LogLink" else "Identity"
        container.add_node(link, raw, first)
        return
    if len(base) > 1:
        container.add_node("Softmax", raw, shares, axis=1, op_version=13)
    else:
        signs, both = (scope.get_unique_variable_name(name) for name in ("signs", "both"))
        container.add_initializer(signs, TensorProto.DOUBLE, [1, 2], [-1.0, 1.0])
        container.add_node("Mul", [raw, signs], both, op_version=14)
        container.add_node("Sigmoid", both, shares, op_version=13)
    container.add_node("ArgMax", shares, first, axis=1, keepdims=0, op_version=13)


def _imputer(scope: Any, operator: Any, container: Any) -> None:
    """Fill missing numbers in double precision, which ONNX's own imputer does not know."""
    model, numbers = operator.raw_operator, operator.inputs[0].full_name
    if model.indicator_ is not None or not np.isnan(model.missing_values):
        raise NotImplementedError("this SimpleImputer has no ONNX form")
    filled, missing = (scope.get_unique_variable_name(name) for name in ("filled", "missing"))
    values, complete = model.statistics_.tolist(), operator.outputs[0].full_name
    container.add_initializer(filled, TensorProto.DOUBLE, [1, len(values)], values)
    container.add_node("IsNaN", numbers, missing, op_version=13)
    container.add_node("Where", [missing, filled, numbers], complete, op_version=16)


def _doubles(values: np.ndarray) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype="float64"))


update_registered_converter(
    HistGradientBoostingClassifier,
    "DoubleBoostedTreesClassifier",
    calculate_linear_classifier_output_shapes,
    _boosted_trees,
    options={"zipmap": [True, False], "nocl": [True, False], "raw_scores": [True, False]},
)
update_registered_converter(
    HistGradientBoostingRegressor,
    "DoubleBoostedTreesRegressor",
    calculate_linear_regressor_output_shapes,
    _boosted_trees,
)
update_registered_converter(
    SimpleImputer, "DoubleImputer", calculate_sklearn_imputer_output_shapes, _imputer
)
