"""Boosted trees for many rows at once: masks of leaves in place of walks from node to node.

At many nodes of a walk the processor guesses the way wrong. Here each feature's value picks, for
all trees together, the leaves that it leaves open, one bit each; of those that all features leave
open, the leftmost is the answer of its tree. The method is QuickScorer (Lucchese et al., SIGIR
2015), with the masks of a feature joined beforehand for each interval of its values.
"""

from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from .graph import FILE as GRAPH_FILE
from .graph import Arrays, Graph

FILE = "masks.npz"
MANY = 64
"""From so many rows on masks are the faster way."""
LEAVES = 32  # as many as a tree may have
LARGEST = 64e6
"""Bytes of masks; more are not made."""
CACHED = 2**16
"""Rows times trees that are answered together, so that they stay in the processor's cache."""


def make_masks(trees: list[np.ndarray]) -> dict[str, np.ndarray] | None:
    """Return leaves, and cuts and masks of each feature; None where there are too many of them.

    `trees` are scikit-learn's tables of nodes: behind each node comes all that is left of it, then
    all that is right of it.
    """
    nodes, sizes = np.concatenate(trees), [len(tree) for tree in trees]
    tree, start = (np.repeat(one, sizes) for one in (range(len(trees)), np.cumsum(sizes) - sizes))
    leaf = nodes["is_leaf"].astype(bool)
    place = np.cumsum(leaf) - leaf
    place -= place[start]  # leaves of the same tree that come before
    if place[leaf].max() >= LEAVES:
        return None
    found: dict[str, np.ndarray] = {"leaves": np.zeros((len(trees), LEAVES))}
    found["leaves"][tree[leaf], place[leaf]] = nodes["value"][leaf]
    first, end = (2 ** place[start + nodes[side]].astype("uint64") for side in ("left", "right"))
    closed = ~(end - first).astype("uint32")  # who goes right can reach none of these
    for feature in np.unique(nodes["feature_idx"][~leaf]):
        here = np.flatnonzero(~leaf & (nodes["feature_idx"] == feature))
        cuts, above = np.unique(nodes["num_threshold"][here], return_inverse=True)
        masks = np.full((len(cuts) + 2, len(trees)), np.uint32(2**LEAVES - 1))
        np.bitwise_and.at(masks, (above + 1, tree[here]), closed[here])
        masks[:-1] = np.bitwise_and.accumulate(masks[:-1])
        right = here[nodes["missing_go_to_left"][here] == 0]
        np.bitwise_and.at(masks[-1], tree[right], closed[right])
        # A missing value sorts behind infinity, to the last mask.
        found |= {f"cuts {feature}": np.append(cuts, np.inf), f"masks {feature}": masks}
    return found if sum(array.nbytes for array in found.values()) <= LARGEST else None


def fast_runtime(folder: Path) -> Callable[[Arrays], np.ndarray]:
    """Return what answers rows: the graph, or for many of them the masks, where there are any."""
    graph = Graph(folder / GRAPH_FILE)
    if not (folder / FILE).exists():
        return graph.run
    masks = Masks(folder / FILE)
    return lambda rows: (masks if len(rows[graph.inputs[0]]) >= MANY else graph).run(rows)


class Masks:
    """A model that ends in boosted trees, in memory, made for many rows at once.

    `source` holds what `make_masks` returns, `base` (n_outputs,), and the graphs `before` and
    `after` the trees.
    """

    def __init__(self, source: IO[bytes] | Path) -> None:
        with np.load(source) as stored:
            kept = dict(stored)
        self._before, self._after = Graph(kept["before"].tobytes()), Graph(kept["after"].tobytes())
        self._base, self._leaves = kept["base"], kept["leaves"]
        features = [int(name.removeprefix("cuts ")) for name in kept if name.startswith("cuts ")]
        self._steps = [(one, kept[f"cuts {one}"], kept[f"masks {one}"]) for one in features]

    def run(self, inputs: Arrays) -> np.ndarray:
        """Return what `Graph.run` returns for the same model, to the bit."""
        numbers = self._before.run(inputs)
        numbers = numbers.reshape(len(numbers), -1)
        parts = -(-len(numbers) * len(self._leaves) // CACHED)
        raw = [self._sum(part) for part in np.array_split(numbers, parts)]
        answered = np.concatenate(raw, axis=1).T.astype("float32")
        return self._after.run({self._after.inputs[0]: answered})

    def _sum(self, numbers: np.ndarray) -> np.ndarray:
        """From features (n_rows, n_features) to the trees' sums (n_outputs, n_rows)."""
        open_leaves = np.full((len(numbers), len(self._leaves)), np.uint32(2**LEAVES - 1))
        for feature, cuts, masks in self._steps:
            open_leaves &= masks.take(cuts.searchsorted(numbers[:, feature]), axis=0)
        leftmost = np.bitwise_count(~open_leaves & (open_leaves - np.uint32(1))).T
        answers = self._leaves.take(leftmost + LEAVES * np.arange(len(self._leaves))[:, None])
        # One after the other, as ONNX Runtime does: another order has other last digits.
        return answers.reshape(-1, len(self._base), len(numbers)).sum(axis=0) + self._base[:, None]
