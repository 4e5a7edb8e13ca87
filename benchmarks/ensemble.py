"""An ensemble trained on all cores beside the same one trained model by model.

    uv run python benchmarks/ensemble.py [--models 50] [--rows 20000 100000]

A default project is made and set up; only the step `fit` is timed, which brings in the processes,
trains the members and records them. The digests of all members must be the same.
"""

import argparse
import json
import os
import re
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from first_hour import copy, run

MEMBERS = """
    SELECT runs.name, tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
    JOIN tags AS parent ON parent.run_uuid = runs.run_uuid AND parent.value = ?
    WHERE tags.key = 'digest' AND parent.key = 'mlflow.parentRunId'
"""


def train(project: Path, models: int, jobs: int) -> tuple[float, dict[str, str]]:
    """Return the seconds of `fit`, and the digest of each member."""
    rates = [round(0.2 * number / models, 4) for number in range(1, models + 1)]
    settings = {"GRID": json.dumps({"learning_rate": rates}), "JOBS": str(jobs)}
    settings = {f"SHIPMENT_DELAYS__ENSEMBLE__{name}": value for name, value in settings.items()}
    command = [".venv/bin/shipment-delays", "train", "--no-promote", "--json"]
    done = subprocess.run(
        command, cwd=project, env=os.environ | settings, capture_output=True, text=True, check=True
    )
    seconds = float(re.search(r"fit \.\.\. ([\d.]+) s", done.stderr)[1])
    run_id = json.loads(done.stdout.splitlines()[-1])["run_id"]
    with sqlite3.connect(project / "var/mlflow.db") as database:
        return seconds, dict(database.execute(MEMBERS, [run_id]).fetchall())


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    options = parser.parse_args()
    os.environ.pop("VIRTUAL_ENV", None)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy(project)
        run("make", "setup", cwd=project)
        config = project / "src/shipment_delays/resources/config.toml"
        default = config.read_text()
        print("| models | rows | one by one, s | on all cores, s | ratio | same to the bit |")
        print("| --- | --- | --- | --- | --- | --- |")
        for rows in options.rows:
            config.write_text(default.replace("sample:20000", f"sample:{rows}"))
            run("make", "data", cwd=project)
            one, alone = train(project, options.models, 1)
            many, beside = train(project, options.models, -1)
            print(
                f"| {len(beside)} | {rows:,} | {one:.1f} | {many:.1f} | {many / one:.2f} "
                f"| {'yes' if alone == beside else 'NO'} |"
            )


if __name__ == "__main__":
    main()
