"""What `monitor` costs for a window of a million predictions, beside Evidently.

    uv run python benchmarks/monitor.py [--rows 1000000]

Makes a project for a table of fifteen inputs (ten numbers, five categories), trains it, and puts
predictions of one week into the journal of its service. Then `monitor` reads that journal and
writes its report. Evidently is given the same inputs as two Parquet files, of the training rows
and of the week, and makes its report of them (`DataDriftPreset`, saved as HTML); it has an
environment of its own. Seconds are those of the processor, all threads together, and memory is the
most of any process, from start to end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import copier
import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from conftest import Project  # noqa: E402

TRAINING_ROWS = 20_000
FILL = """
import json, sys, time
import numpy as np, pandas as pd
from shipment_delays.service.journal import Entry, new_id, open_journal
from shipment_delays.service.scoring import load_scorer
from shipment_delays.preprocessing.schema import Rows
from shipment_delays.training import tracking
from shipment_delays.utils import config
settings = config.load()
scorer = load_scorer(tracking.connect(settings), settings, Rows.to_schema())
week, journal, now = pd.read_parquet(sys.argv[1]), open_journal(settings), time.time()
times = now - 6 * 86400 * np.linspace(1, 0, len(week))
for start in range(0, len(week), 10_000):
    part = week.iloc[start : start + 10_000]
    made = scorer.predict(part)
    sent = part.to_json(orient="records", lines=True).splitlines()
    journal.write([
        Entry(new_id(when), when, scorer.version, scorer.runtime, "champion", None, *texts)
        for when, *texts in zip(
            times[start : start + 10_000].tolist(), sent, map(json.dumps, made.labels),
            map(json.dumps, made.shares(scorer.classes)),
        )
    ])
"""
EVIDENTLY = """
import sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
before, now = map(pd.read_parquet, sys.argv[1:])
Report([DataDriftPreset()]).run(now, before).save_html("report.html")
"""


def main() -> None:
    """Print a line for each contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        training, week = place / "training.parquet", place / "week.parquet"
        invented(TRAINING_ROWS, 1).to_parquet(training, index=False)
        invented(rows, 2).drop(columns=["id", "bought"]).to_parquet(week, index=False)
        project = made(place / "project", training)
        script = project.write("fill.py", FILL)
        project.run(project.path / ".venv/bin/python", "-W", "ignore", script, week)
        peer = project.write("peer.py", EVIDENTLY)
        ours = [project.path / ".venv/bin" / project.slug, "monitor", "--json"]
        theirs = ["uv", "run", "--quiet", "--isolated", "--no-project", "--python=3.11"]
        theirs += ["--with=evidently>=0.7", "--with=pandas<3", "--with=pyarrow", "python"]
        subprocess.run([*theirs, "-c", "import evidently"], check=True)
        inputs = pd.read_parquet(training).drop(columns=["id", "bought"])
        inputs.to_parquet(training, index=False)
        print(f"{rows:,} predictions with 15 inputs\n\n| | seconds | MB |\n| --- | --- | --- |")
        for name, command in [("ours", ours), ("Evidently", [*theirs, peer, training, week])]:
            seconds, megabytes = measured(command, project.path)
            print(f"| {name} | {seconds:.1f} | {megabytes:.0f} |", flush=True)


def invented(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {"id": np.arange(rows)}
    columns |= {f"n{i}": rng.normal(size=rows) for i in range(10)}
    columns |= {f"c{i}": rng.choice(["a", "b", "c", "d"], rows) for i in range(5)}
    score = columns["n0"] + (columns["c0"] == "a") + rng.normal(size=rows)
    return pd.DataFrame(columns | {"bought": np.where(score > 0.25, "yes", "no")})


def made(path: Path, training: Path) -> Project:
    copier.run_copy(str(ROOT), path, defaults=True, quiet=True, vcs_ref="HEAD")
    project = Project(path, "shipment_delays")
    project.make("setup")
    project.cli("data", "adopt", training, "--target", "bought", "--key", "id")
    project.cli("train", "--allow-dirty")
    return project


def measured(command: list[str | Path], folder: Path) -> tuple[float, float]:
    """Return the seconds of processor a command takes, and the most memory it had."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        said.seek(0)
        if os.waitstatus_to_exitcode(status) not in {0, 1}:
            raise SystemExit(f"{command[0]}: {said.read().decode()[-2_000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1_000


if __name__ == "__main__":
    main()
