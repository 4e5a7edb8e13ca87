"""What a newcomer waits for: copy, set-up, checks and demo of a fresh project, one after another.

    make bench            or: uv run python benchmarks/first_hour.py

The package cache is warm (a project is set up once before the clock starts), the project is new.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
STARTS = 15
LIMIT_SECONDS, LIMIT_MB, LIMIT_STARTS = 60, 900, 3


def run(*command: str, cwd: Path) -> None:
    """Run a command, and stop with what it said where it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


def own_shell() -> None:
    """Forget what the surrounding `uv run` and make say to those below them."""
    for name in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "ARGS", "MAKEFLAGS", "MAKEOVERRIDES"):
        os.environ.pop(name, None)


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copy(where: Path, *answers: str) -> None:
    command = ["copier", "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD"]
    command += [f"--data={answer}" for answer in answers]
    run(*command, str(ROOT), str(where), cwd=where.parent)


def megabytes(folder: Path) -> float:
    """Return the sizes of what was installed; what Python compiled since is left out."""
    installed = (path for path in folder.rglob("*") if path.suffix != ".pyc")
    return sum(path.lstat().st_size for path in installed) / 1e6


def start_ratio(project: Path) -> tuple[float, float]:
    """Return the medians of a bare interpreter's start and of the command's help, in ms."""
    bare, told = [], []
    for _ in range(STARTS):
        bare.append(seconds(lambda: run(".venv/bin/python", "-c", "pass", cwd=project)))
        told.append(seconds(lambda: run(".venv/bin/shipment-delays", "--help", cwd=project)))
    return 1000 * statistics.median(bare), 1000 * statistics.median(told)


def main() -> None:
    """Print one table."""
    own_shell()
    os.environ["PYTHONWARNINGS"] = "ignore"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("warm", "project"):
            shutil.rmtree(Path(folder) / "warm", ignore_errors=True)
            project = Path(folder) / name
            took = {"copier copy": seconds(lambda place=project: copy(place))}
            targets = ["setup", "check", "demo"] if name == "project" else ["setup"]
            for target in targets:
                took[f"make {target}"] = seconds(
                    lambda target=target, place=project: run("make", target, cwd=place)
                )
        size = megabytes(project / ".venv")
        bare, told = start_ratio(project)
    print("| step | seconds |\n| --- | --- |")
    for step, spent in took.items():
        print(f"| {step} | {spent:.1f} |")
    first = sum(took[step] for step in ("copier copy", "make setup", "make check"))
    print(f"| from copy to a green check (goal: {LIMIT_SECONDS}) | {first:.1f} |")
    print(f"\nEnvironment: {size:.0f} MB (goal: below {LIMIT_MB}).")
    print(
        f"Start: `--help` {told:.0f} ms, a bare interpreter {bare:.0f} ms, "
        f"ratio {told / bare:.1f} (goal: {LIMIT_STARTS})."
    )


if __name__ == "__main__":
    main()
