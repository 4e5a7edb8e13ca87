"""Runs the benchmarks and puts what they print into docs/benchmarks.md, where each has its place.

make bench                      all of them, with nothing else on the machine
make bench ARGS="batch spark"   these
make bench ARGS=--quick         few rows of each, to see that they still run; writes nothing
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
PLACE = re.compile(r"(<!-- measured by (\w+)\.py -->\n).*?(<!-- end -->)", re.DOTALL)
FULL = {
    "first_hour": "",
    "project": "",
    "splitting": "",
    "fingerprint": "",
    "seeds_gate": "",
    "serving": "--seconds 3 --rounds 3",
    "batch": "--rows 1000000 10000000",
    "drift": "--repeats 40 --evidently 20",
    "monitor": "",
    "image": "",
    "update": "",
    "ensemble": "",
    "spark": "",
    "mutants": "",
}
QUICK = {
    "first_hour": "",
    "project": "--sizes",
    "splitting": "--rows 20000 --rounds 1",
    "fingerprint": "--rows 20000 --rounds 1",
    "seeds_gate": "",
    "serving": "--seconds 1 --rounds 1 --only ours mlflow echo",
    "batch": "--rows 50000",
    "drift": "--repeats 20 --only ours plain",
    "monitor": "--rows 20000",
    "update": "",
    "ensemble": "--models 4 --rows 2000",
    "spark": "--rows 50000",
    "mutants": "training/hashing --like *x_buckets_*",
}
"""The image is left out: a test builds and starts it."""


def measure(name: str, arguments: str) -> str:
    """Run one benchmark, with its output shown as it comes, and return what it printed."""
    command = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), *arguments.split()]
    print(f"== {name}.py {arguments}", flush=True)
    start, said = time.perf_counter(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            said.append(line)
    if process.returncode:
        raise SystemExit(f"{name}.py ended with exit code {process.returncode}.")
    print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)
    return "".join(said).strip()


def write(name: str, arguments: str, commit: str, said: str) -> None:
    """Put the output of a benchmark, with its command and circumstances, into its place."""
    command = f"uv run python benchmarks/{name}.py {arguments}".strip()
    when = datetime.datetime.now(datetime.UTC).date()
    python = platform.python_version()
    where = f"{when}, commit {commit}, {os.cpu_count()} cores, Python {python}"
    text = f"`{command}` ({where})\n\n{said}\n"
    page = PAGE.read_text()
    assert f"<!-- measured by {name}.py -->" in page, f"{PAGE} has no place for {name}.py"
    PAGE.write_text(
        PLACE.sub(lambda found: found[1] + text + found[3] if found[2] == name else found[0], page)
    )


def main() -> None:
    """Run what is asked for, one after another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FULL))
    parser.add_argument("--quick", action="store_true", help="few rows, and nothing is written")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    if unknown := set(options.names) - set(sizes):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    # Asked for before the page is written, which would be an uncommitted change.
    commit = subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip()
    for name in options.names or sizes:
        said = measure(name, sizes[name])
        if not options.quick:
            write(name, sizes[name], commit, said)


if __name__ == "__main__":
    main()
