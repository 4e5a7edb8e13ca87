"""How long a fingerprint takes beside reading the same file with pandas, and what it finds.

Run from the root: python benchmarks/fingerprint.py [--rows 1000000] [--rounds 15]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "unit")]
import conftest  # noqa: E402, F401 (makes the template importable in place)

# isort: split
from test_fingerprint import INJECTED, people  # noqa: E402

from slipway_template.data.compare import compare  # noqa: E402
from slipway_template.data.fingerprint import fingerprint  # noqa: E402


def mixed(rows: int) -> pd.DataFrame:
    """Make 15 columns: numbers, some with nulls, few and many texts, flags, times."""
    rng = np.random.default_rng(0)
    cities = np.array([f"city {number}" for number in range(200)])
    return people(rows).assign(
        count=rng.poisson(3, rows),
        big=rng.integers(0, 2**62, rows),
        rate=np.where(rng.random(rows) < 0.05, np.nan, rng.random(rows)),
        city=cities[rng.integers(0, 200, rows)],
        plan=pd.Categorical.from_codes(rng.integers(0, 3, rows), ["basic", "plus", "pro"]),
        churned=pd.array(rng.random(rows) < 0.3, dtype="boolean"),
    )


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print the times, then what was named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.parquet"
        mixed(options.rows).to_parquet(file)
        table = pq.read_table(file)
        pairs = [
            (seconds(lambda: pd.read_parquet(file)), seconds(lambda: fingerprint(table)))
            for _ in range(options.rounds + 1)
        ][1:]  # the first one warms up
    reading, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = sorted(mine / theirs for theirs, mine in pairs)
    middle = statistics.median(ratios)
    print("| | s | beside reading | goal |\n| --- | --- | --- | --- |")
    print(f"| pandas.read_parquet | {reading:.3f} | 1 | |")
    print(f"| fingerprint | {ours:.3f} | {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | 2 |")
    print(f"\n{options.rows:,} rows x {table.num_columns} columns, {options.rounds} pairs.\n")

    frame = people(options.rows)
    before = fingerprint(frame)
    print("| injected | named | rightly |\n| --- | --- | --- |")
    right = 0
    for name, (damage, kinds, columns) in INJECTED.items():
        found = compare(before, fingerprint(damage(frame))).differences
        good = {d.kind for d in found} == kinds and {d.column for d in found} == columns
        right += good
        named = sorted({f"{d.kind}: {d.column or 'table'}" for d in found})
        print(f"| {name} | {', '.join(named)} | {'yes' if good else 'NO'} |")
    print(f"\n{right} of {len(INJECTED)} named rightly.")
    sys.exit(right < len(INJECTED))


if __name__ == "__main__":
    main()
