"""How fast rows are split by key, and how many a change of the data moves, beside scikit-learn.

Run from the root: python benchmarks/splitting.py [--rows 10000000] [--rounds 5]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import conftest  # noqa: E402, F401 (makes the template importable in place)
from slipway_template.training.splitting import PARTS, SplitSettings, split  # noqa: E402

SETTINGS = SplitSettings(strategy="key")


def frames(rows: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Make frames of three columns: a key, a feature, a target."""
    rng = np.random.default_rng(0)
    distinct = rng.permutation(3 * rows)[:rows]
    for name, key in {
        "integers, distinct": distinct,
        "integers, each ten times": rng.choice(distinct[: rows // 10], rows),
    }.items():
        frame = pd.DataFrame({"id": key, "x": rng.random(rows), "y": rng.integers(0, 2, rows)})
        yield name, frame
        yield name.replace("integers", "text"), frame.astype({"id": "str"})


def ours(frame: pd.DataFrame) -> pd.Series:
    """Say which rows Slipway tests on."""
    return split(frame, key=["id"], settings=SETTINGS).part == "test"


def theirs(frame: pd.DataFrame) -> pd.Series:
    """Say which rows a seeded train_test_split tests on."""
    _, test = train_test_split(frame, test_size=0.15, random_state=0)
    return pd.Series(frame.index.isin(test.index), index=frame.index)


def speed(frame: pd.DataFrame, rounds: int) -> tuple[float, float, float]:
    """Measure millions of rows a second: parts given, parts laid out in order, scikit-learn."""

    def lay_out() -> None:
        whole = split(frame, key=["id"], settings=SETTINGS)
        for name in PARTS:
            whole.rows(name)

    work: list[Callable[[], object]] = [
        lambda: split(frame, key=["id"], settings=SETTINGS),
        lay_out,
        lambda: train_test_split(frame, test_size=0.15, random_state=0),
    ]
    times: list[list[float]] = [[] for _ in work]
    for _ in range(rounds):  # in turn, so that a noisy neighbour disturbs all
        for do, taken in zip(work, times, strict=True):
            start = time.perf_counter()
            do()
            taken.append(time.perf_counter() - start)
    given, ordered, sklearn = (len(frame) / 1e6 / statistics.median(taken) for taken in times)
    return given, ordered, sklearn


def moved(tested: Callable[[pd.DataFrame], pd.Series], rows: int = 100_000) -> tuple[float, float]:
    """Measure the share of old training rows that turn test rows: one row more, another order."""
    frame = pd.DataFrame({"id": np.arange(rows), "x": 0.0, "y": 0})
    one_more = pd.concat([frame, pd.DataFrame({"id": [rows], "x": 0.0, "y": 0})])
    shuffled = frame.sample(frac=1, random_state=1)
    train = frame["id"][~tested(frame)]
    shares = []
    for changed in (one_more, shuffled):
        test = changed["id"][tested(changed).to_numpy()]
        shares.append(float(train.isin(test).mean()))
    return shares[0], shares[1]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| keys | split, M rows/s | split and rows in order | train_test_split | ratio | goal |")
    print("|" + " --- |" * 6)
    for name, frame in frames(arguments.rows):
        given, ordered, sklearn = speed(frame, arguments.rounds)
        goal = 1.0 if "ten times" in name else 0.5
        figures = f"{given:.1f} | {ordered:.1f} | {sklearn:.1f} | {given / sklearn:.2f} | {goal}"
        print(f"| {name} | {figures} |", flush=True)
    ours_moved, theirs_moved = moved(ours), moved(theirs)
    for change, mine, other in zip(
        ("one row appended", "rows reordered"), ours_moved, theirs_moved, strict=True
    ):
        print(f"| training rows moved to test, {change} | {mine:.1%} | | {other:.1%} | | 0 % |")


if __name__ == "__main__":
    main()
