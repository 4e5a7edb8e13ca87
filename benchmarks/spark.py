"""Batch scoring in Spark beside one process, in rows per second and core.

    uv run python benchmarks/spark.py [--rows 5000000]

A project with `scale = spark` is made, set up and trained. Both read the same Parquet file, check
every row, and write Parquet; the frames are compared to the bit. Both get one core (the JVM, its
Python workers and all), so that rows per second are those of a core. To start Spark takes as long
for five thousand rows as for five million: a run on few rows is taken off, for both.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd
from first_hour import copy, run

CLI = ".venv/bin/shipment-delays"
FEW = 5_000


def score(project: Path, *command: str) -> float:
    """Return the seconds that a run takes on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    start = time.perf_counter()
    try:
        subprocess.run([CLI, "predict", *command], cwd=project, check=True, capture_output=True)
    finally:
        os.sched_setaffinity(0, cores)
    return time.perf_counter() - start


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_000_000)
    options = parser.parse_args()
    os.environ.pop("VIRTUAL_ENV", None)
    os.environ |= {"PYTHONWARNINGS": "ignore", "SPARK_LOCAL_IP": "127.0.0.1"}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy(project, "scale=spark")
        run("make", "setup", cwd=project)
        run(CLI, "train", "--allow-dirty", cwd=project)
        seconds = {}
        for rows in (FEW, options.rows):
            source = Path(folder) / f"{rows}.parquet"
            run(CLI, "data", "sample", str(source), "--rows", str(rows), "--seed", "9", cwd=project)
            frame = pd.read_parquet(source)
            frame.to_parquet(source, index=False, row_group_size=50_000)
            del frame
            for name, where in ("one", []), ("spark", ["--spark", "local[1]"]):
                output = str(Path(folder) / f"{name}.parquet")
                seconds[name, rows] = score(project, str(source), output, *where)
        one, spark = (pd.read_parquet(Path(folder) / f"{n}.parquet") for n in ("one", "spark"))
        pd.testing.assert_frame_equal(
            one, spark.sort_values("row", ignore_index=True), check_exact=True
        )
        print("| rows | by | s | rows/s per core |")
        print("| --- | --- | --- | --- |")
        speed = {}
        for name in ("one", "spark"):
            taken = seconds[name, options.rows] - seconds[name, FEW]
            speed[name] = (options.rows - FEW) / taken
            print(f"| {options.rows:,} | {name} | {taken:.1f} | {speed[name]:,.0f} |")
        print(
            f"\nSpark per core: {speed['spark'] / speed['one']:.2f} of one process; same answers."
        )


if __name__ == "__main__":
    main()
