"""How often monitoring raises an alarm, with and without drift, beside plain tests per column.

    uv run python benchmarks/drift.py [--repeats 200]

Fifteen columns (ten normal, five with four categories), a reference of 14,000 rows, and windows of
300, 2,000 and 20,000 rows in which one column was changed. The plain tests are what people write
first: Kolmogorov-Smirnov for numbers and chi-squared for categories, each column at 5 %.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import conftest  # noqa: E402, F401 (makes the template importable in place)
from slipway_template.data.profile import Distribution, distribution  # noqa: E402
from slipway_template.monitoring.drift import judge, shift  # noqa: E402

LETTERS = np.array(["a", "b", "c", "d"])
CHANGES = {
    "none": {},
    "mean + 0.1 sd": {"mean": 0.1},
    "mean + 0.25 sd": {"mean": 0.25},
    "mean + 0.5 sd": {"mean": 0.5},
    "variance x 1.3": {"spread": 1.3**0.5},
    "2 % tail": {"tail": 0.02},
    "category ± 5 points": {"points": 0.05},
    "category ± 10 points": {"points": 0.10},
    "mean + 0.03 sd (irrelevant)": {"mean": 0.03},
}


def window(rng: np.random.Generator, rows: int, **change: float) -> pd.DataFrame:
    """Draw rows, with the first number and the first category changed."""
    columns: dict[str, np.ndarray] = {f"n{i}": rng.normal(size=rows) for i in range(10)}
    columns |= {f"c{i}": rng.choice(LETTERS, rows) for i in range(5)}
    columns["n0"] = columns["n0"] * change.get("spread", 1) + change.get("mean", 0)
    columns["n0"][rng.random(rows) < change.get("tail", 0)] = 6
    if points := change.get("points", 0):
        columns["c0"] = rng.choice(LETTERS, rows, p=[0.25 + points, 0.25 - points, 0.25, 0.25])
    return pd.DataFrame(columns)


def ours(profile: dict[str, Distribution], current: pd.DataFrame) -> bool:
    shifts = [shift(name, part, part.count(current[name])) for name, part in profile.items()]
    return any(one.alarming for one in judge(shifts))


def plain(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    for name in reference:
        if name.startswith("n"):
            p = stats.ks_2samp(reference[name], current[name]).pvalue
        else:
            table = [part[name].value_counts().reindex(LETTERS) for part in (reference, current)]
            p = stats.chi2_contingency(table).pvalue
        if p < 0.05:
            return True
    return False


def main() -> None:
    """Print the share of windows with an alarm."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    print("| change | " + " | ".join(f"{n:,} rows" for n in (300, 2_000, 20_000)) + " |")
    print("| --- | --- | --- | --- |")
    for change, how in CHANGES.items():
        cells = []
        for rows in (300, 2_000, 20_000):
            rng = np.random.default_rng([rows, len(change)])
            found = np.zeros(2)
            for number in range(repeats):
                if number % 20 == 0:
                    reference = window(rng, 14_000)
                    kinds = {n: "number" if n.startswith("n") else "category" for n in reference}
                    profile = {n: distribution(reference[n], kinds[n]) for n in reference}
                current = window(rng, rows, **how)
                found += [ours(profile, current), plain(reference, current)]
            cells.append("{:.1%} / {:.1%}".format(*(found / repeats)))
        print(f"| {change} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
