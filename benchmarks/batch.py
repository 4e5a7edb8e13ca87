"""Batch scoring beside the pipeline's own `predict` on the whole frame, and its memory.

    uv run python benchmarks/batch.py [--rows 1000000 4000000]

A default project is made, set up and trained. `predict` reads Parquet, checks every row against the
schema and writes Parquet; the pipeline predicts a frame that is in memory and writes nothing.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from first_hour import copy, run

CODE = """
import json, resource, sys, time, pandas as pd, skops.io
from {package}.data.columns import describe
from {package}.data.validation import screen, to_inputs
from {package}.estimators.model import TRUSTED
from {package}.preprocessing.schema import Rows
from {package}.service.batch import score_file
from {package}.service.scoring import input_schema, load_scorer
from {package}.training import registry, tracking
from {package}.utils import config
from pathlib import Path
settings, schema = config.load(), Rows.to_schema()
client = tracking.connect(settings)
scorer = load_scorer(client, settings, schema)
what, file = sys.argv[1:3]
if what == "ours":
    start = time.perf_counter()
    done = score_file(file, Path("var/out.parquet"), scorer, schema, settings.service.chunk_rows)
    taken = time.perf_counter() - start
    assert done.scored == done.rows
else:
    folder = settings.var / "models" / registry.champion(client).digest
    pipeline = skops.io.load(folder / "model.skops", trusted=TRUSTED)
    asked = input_schema(schema, scorer.artifact.columns)
    inputs = to_inputs(screen(pd.read_parquet(file), asked).good, scorer.artifact.columns)
    start = time.perf_counter()
    pipeline.predict(inputs)
    taken = time.perf_counter() - start
print(json.dumps([taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def measure(project: Path, what: str, file: Path) -> tuple[float, float]:
    """Return seconds and megabytes of one process."""
    command = [".venv/bin/python", "-c", CODE.format(package="shipment_delays"), what, str(file)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    taken, peak = json.loads(done.stdout.splitlines()[-1])
    return taken, peak


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    sizes = parser.parse_args().rows
    os.environ.pop("VIRTUAL_ENV", None)
    os.environ["PYTHONWARNINGS"] = "ignore"
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy(project)
        run("make", "setup", cwd=project)
        run(".venv/bin/shipment-delays", "train", "--allow-dirty", cwd=project)
        print("| rows | ours, rows/s | whole frame, rows/s | ratio | ours, MB | whole frame, MB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for rows in sizes:
            file = Path(folder) / "rows.parquet"
            sample = [".venv/bin/shipment-delays", "data", "sample", str(file)]
            run(*sample, "--rows", str(rows), "--seed", "9", cwd=project)
            ours, whole = (measure(project, what, file) for what in ("ours", "whole"))
            print(
                f"| {rows:,} | {rows / ours[0]:,.0f} | {rows / whole[0]:,.0f} "
                f"| {whole[0] / ours[0]:.2f} | {ours[1]:.0f} | {whole[1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
