"""How much a user has to read, and what stands behind it: sizes of generated projects, their tests.

    make bench ARGS=project            or: uv run python benchmarks/project.py [--sizes]

Three projects: the fewest answers one can give, the default ones, and everything switched on.
Lines are those that are not blank; code is what is left without comments and docstrings; files of
one line, which only say what a room is for, are not among the modules. The tests are the project's
own, as `make test` runs them, and once more under coverage with all processes that they start.
"""

import argparse
import ast
import io
import json
import re
import statistics
import subprocess
import tempfile
import tokenize
from collections import Counter
from pathlib import Path

from first_hour import copy, own_shell, run, seconds

KINDS = {
    "least": ["delivery=batch", "ci=none"],
    "default": [],
    "everything": ["scale=spark", "remote_training=kubernetes"],
}
GOALS = {
    "Python lines in src/": "2,500 default, 3,200 everything",
    "median module, lines": "100",
    "seconds of the project's tests": "60",
    "share of src/ they cover": "90 %",
}
PASSIVE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
COVERAGE = """[run]
source = src
parallel = True
concurrency = multiprocessing,thread
sigterm = True
patch = subprocess
"""


def lines_of(source: str) -> int:
    return sum(1 for line in source.splitlines() if line.strip())


def code_of(source: str) -> int:
    """Count the lines that hold more than comments and docstrings."""
    said = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    told = {line for node in said for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    held = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in PASSIVE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(held - told)


def sizes(project: Path) -> tuple[dict[str, str], Counter[str]]:
    """Return what there is to read, by kind, and the lines of each room."""
    tracked = subprocess.check_output(["git", "ls-files", "-z"], cwd=project, text=True)
    files = [name for name in tracked.split("\0") if name]
    modules = {name: (project / name).read_text() for name in files if re.match("src/.*py$", name)}
    lengths = [lines for lines in map(lines_of, modules.values()) if lines > 1]
    rooms: Counter[str] = Counter()
    for name, source in modules.items():
        rooms[name.split("/")[2] if name.count("/") > 2 else "(package)"] += lines_of(source)
    tests = [
        lines_of((project / name).read_text()) for name in files if re.match("tests/.*py$", name)
    ]
    return {
        "files": f"{len(files)}",
        "Python lines in src/": f"{sum(rooms.values()):,}",
        "of them code": f"{sum(map(code_of, modules.values())):,}",
        "modules": f"{len(lengths)}",
        "median module, lines": f"{statistics.median(lengths):.0f}",
        "longest module, lines": f"{max(lengths)}",
        "Python lines in tests/": f"{sum(tests):,}",
    }, rooms


def held_up(project: Path) -> dict[str, str]:
    """Set a project up, and return how many settings it has and what its tests take and cover."""
    run("make", "setup", cwd=project)
    shown = subprocess.check_output(["uv", "run", "-q", "python", "-c", SETTINGS], cwd=project)
    (project / ".coveragerc").write_text(COVERAGE)
    took = seconds(lambda: run("make", "test", cwd=project))
    covered = ["uv", "run", "-q", "--with", "coverage", "coverage"]
    run(*covered, "run", "-m", "pytest", cwd=project)
    run(*covered, "combine", cwd=project)
    run(*covered, "json", "-q", "-o", "build/coverage.json", cwd=project)
    totals = json.loads((project / "build/coverage.json").read_text())["totals"]
    return {
        "settings": shown.decode().strip(),
        "seconds of the project's tests": f"{took:.0f}",
        "share of src/ they cover": f"{totals['percent_covered']:.1f} %",
    }


SETTINGS = """
from shipment_delays.utils.config import Settings
print(sum(len(field.annotation.model_fields) for field in Settings.model_fields.values()))
"""


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", action="store_true", help="without running the tests")
    options = parser.parse_args()
    own_shell()
    found: dict[str, dict[str, str]] = {}
    rooms: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, answers in KINDS.items():
            project = Path(folder) / kind
            copy(project, "project_name=Shipment Delays", *answers)
            run("git", "init", "--quiet", cwd=project)
            run("git", "add", "--all", cwd=project)
            found[kind], rooms[kind] = sizes(project)
            if not options.sizes:
                found[kind] |= held_up(project)
    print(f"| | {' | '.join(KINDS)} | goal |\n| --- | --- | --- | --- | --- |")
    for row in found["everything"]:
        print(
            f"| {row} | {' | '.join(one[row] for one in found.values())} | {GOALS.get(row, '')} |"
        )
    print(f"\n| lines in room | {' | '.join(KINDS)} |\n| --- | --- | --- | --- |")
    for room in sorted(rooms["everything"]):
        print(f"| {room} | {' | '.join(f'{one[room]:,}' for one in rooms.values())} |")


if __name__ == "__main__":
    main()
