"""How often monitoring raises an alarm, with and without drift, beside named peers.

    uv run python benchmarks/drift.py [--repeats 100] [--evidently 40] [--only ours plain]

Fifteen columns (ten normal, five with four categories), and windows of 300, 2,000 and 20,000 rows
in which one column was changed, each held against a reference of 14,000 rows, or of 100,000 for the
largest windows. An alarm is any column that the contender calls different:

- ours: `monitoring/drift.py` with the default settings
- evidently: `DataDriftPreset`'s choice of tests and limits; on fewer windows, as it is slow
- nannyml: `UnivariateDriftCalculator` with its defaults, one chunk for each window
- plain: Kolmogorov-Smirnov and chi-squared, each column at 5 %, which people write first

Evidently and NannyML don't work with this project's pandas: each gets an environment of its own, is
given Parquet files, and answers with a line for each. All contenders see the same windows.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import conftest  # noqa: E402, F401 (makes the template importable in place)
from slipway_template.data.profile import distribution  # noqa: E402
from slipway_template.monitoring.drift import judge, shift  # noqa: E402
from slipway_template.utils.config import Monitoring  # noqa: E402

SIZES = (300, 2_000, 20_000)
BLOCK = 20
"""Windows that share a reference."""
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
PACKAGES = {
    "evidently": ["evidently>=0.7", "pandas<3"],
    "nannyml": ["nannyml>=0.13", "statsmodels"],
}
READS = """
import contextlib, json, logging, sys, warnings
warnings.filterwarnings("ignore")
logging.disable()
import pandas as pd
for line in sys.stdin:
    reference, current, rows = json.loads(line)
    before, now = pd.read_parquet(reference), pd.read_parquet(current)
    with contextlib.redirect_stdout(sys.stderr):
        found = alarms(before, now, rows)
    print(json.dumps([bool(one) for one in found]), flush=True)
"""
EVIDENTLY = """
from evidently import Report
from evidently.metrics import DriftedColumnsCount  # what the preset shows, without its pictures
def alarms(before, now, rows):
    for start in range(0, len(now), rows):
        window = now.iloc[start : start + rows].reset_index(drop=True)
        done = Report([DriftedColumnsCount()]).run(window, before).dict()
        yield done["metrics"][0]["value"]["count"]
"""
NANNYML = """
from nannyml import UnivariateDriftCalculator
def alarms(before, now, rows):
    calculator = UnivariateDriftCalculator(column_names=list(before), chunk_size=rows).fit(before)
    found = calculator.calculate(now).filter(period="analysis").to_df()
    return found.xs("alert", axis=1, level=2).any(axis=1)
"""
Windows = list[pd.DataFrame]
Contender = Callable[[pd.DataFrame, Windows], list[bool]]


def main() -> None:
    """Print the share of windows with an alarm."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=100, help="windows of each kind")
    parser.add_argument("--evidently", type=int, default=40, help="how many of them it sees")
    parser.add_argument("--only", nargs="*", default=["ours", "evidently", "nannyml", "plain"])
    options = parser.parse_args()
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        contenders: dict[str, Contender] = {"ours": ours, "plain": plain}
        for name, code in [("evidently", EVIDENTLY), ("nannyml", NANNYML)]:
            if name in options.only:
                contenders[name] = stack.enter_context(peer(PACKAGES[name], code))
        print(f"\nShare of windows with any alarm: {' / '.join(options.only)}\n")
        print(f"| change | {' | '.join(f'{rows:,} rows' for rows in SIZES)} |\n|{' --- |' * 4}")
        for number, (change, how) in enumerate(CHANGES.items()):
            cells = []
            for rows in SIZES:
                found: dict[str, list[bool]] = {name: [] for name in options.only}
                for reference, windows in blocks([number, rows], rows, options.repeats, how):
                    asked = []
                    for name in found:
                        most = options.evidently if name == "evidently" else options.repeats
                        given = windows[: BLOCK * most // options.repeats]
                        asked.append(pool.submit(contenders[name], reference, given))
                    for alarms, done in zip(found.values(), asked, strict=True):
                        alarms.extend(done.result())
                cells.append(" / ".join(f"{np.mean(alarms):.1%}" for alarms in found.values()))
            print(f"| {change} | {' | '.join(cells)} |", flush=True)


def blocks(
    seed: list[int], rows: int, repeats: int, how: dict[str, float]
) -> Iterator[tuple[pd.DataFrame, Windows]]:
    """Yield references, and some windows for each."""
    rng = np.random.default_rng(seed)
    for _ in range(repeats // BLOCK):
        reference = window(rng, max(14_000, 5 * rows))
        yield reference, [window(rng, rows, **how) for _ in range(BLOCK)]


def window(rng: np.random.Generator, rows: int, **change: float) -> pd.DataFrame:
    """Draw rows, with the first number and the first category changed."""
    columns: dict[str, np.ndarray] = {f"n{i}": rng.normal(size=rows) for i in range(10)}
    columns |= {f"c{i}": rng.choice(LETTERS, rows) for i in range(5)}
    columns["n0"] = columns["n0"] * change.get("spread", 1) + change.get("mean", 0)
    columns["n0"][rng.random(rows) < change.get("tail", 0)] = 6
    if points := change.get("points", 0):
        columns["c0"] = rng.choice(LETTERS, rows, p=[0.25 + points, 0.25 - points, 0.25, 0.25])
    return pd.DataFrame(columns)


def ours(reference: pd.DataFrame, windows: Windows) -> list[bool]:
    kinds = {name: "number" if name.startswith("n") else "category" for name in reference}
    profile = {name: distribution(reference[name], kinds[name]) for name in reference}
    rules = Monitoring()
    return [
        any(
            one.alarming
            for one in judge(
                [shift(name, part, part.count(now[name]), rules) for name, part in profile.items()]
            )
        )
        for now in windows
    ]


def plain(reference: pd.DataFrame, windows: Windows) -> list[bool]:
    def differs(name: str, now: pd.DataFrame) -> bool:
        if name.startswith("n"):
            return bool(stats.ks_2samp(reference[name], now[name]).pvalue < 0.05)
        table = [part[name].value_counts().reindex(LETTERS) for part in (reference, now)]
        return bool(stats.chi2_contingency(table).pvalue < 0.05)

    return [any(differs(name, now) for name in reference) for now in windows]


@contextmanager
def peer(packages: list[str], code: str) -> Iterator[Contender]:
    """Start a peer in an environment of its own."""
    wanted = [f"--with={package}" for package in [*packages, "pyarrow"]]
    command = ["uv", "run", "--quiet", "--isolated", "--no-project", "--python=3.11", *wanted]
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        (folder / "peer.py").write_text(code + READS)
        with (folder / "said").open("w") as said:
            process = subprocess.Popen(
                [*command, "python", "peer.py"],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

        def ask(reference: pd.DataFrame, windows: Windows) -> list[bool]:
            files = [str(folder / "reference.parquet"), str(folder / "current.parquet")]
            reference.to_parquet(files[0])
            pd.concat(windows, ignore_index=True).to_parquet(files[1])
            process.stdin.write(json.dumps([*files, len(windows[0])]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise SystemExit(f"{packages[0]} ended: {(folder / 'said').read_text()[-2000:]}")
            return json.loads(answer)

        yield ask
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
