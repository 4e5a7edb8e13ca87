"""What share of small faults the tests notice, in the modules that all else rests on.

    uv run python benchmarks/mutants.py [training/registry ...] [--survivors]

mutmut makes a mutant of each thing it can change in a function (an operator, a number, a text, an
argument), and runs the tests that come by that function until one fails. A mutant that no test
notices survives; one that runs without end is noticed. The tests are the generated project's own
and those in tests/unit. A default project is rendered whose package has the name that tests/unit
import, so that both see the same mutants. What was found out is kept in build/mutants while sources
and tests are the same: a run that was stopped goes on where it was.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import copier

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from conftest import environment  # noqa: E402

PLACE = ROOT / "build/mutants"
PACKAGE = "slipway_template"
MODULES = {
    "training/splitting": ["unit/test_splitting.py", "model/test_splitting.py"],
    "training/hashing": [
        "unit/test_hashing.py",
        "unit/test_splitting.py",
        "model/test_splitting.py",
    ],
    "training/registry": ["unit/test_registry.py", "model/test_registry.py"],
    "service/journal": ["unit/test_journal.py", "service/test_journal.py"],
    "service/intake": ["unit/test_intake.py", "unit/test_journal.py"],
    "data/fingerprint": ["unit/test_fingerprint.py", "data/test_fingerprint.py"],
}
GOAL = 0.85
SETTINGS = """[mutmut]
source_paths=src
only_mutate=src/{package}/{module}.py
also_copy=pytest.ini
pytest_add_cli_args=
    --import-mode=importlib
    -knot million
pytest_add_cli_args_test_selection=
    {tests}
process_isolation=forkserver
timeout_constant=2
use_git_change_detection=false
"""
"""Each mutant is tried in a fork of a process that has imported all, for half a minute or more.
Tests of a million rows are left out: the same tests of fewer rows notice what they do."""
QUICKLY = '''
"""Quick tests first, those with a trained model last; examples that fail are not made smaller."""

import json
import shutil
from pathlib import Path

import hypothesis
import pytest

from slipway_template.training import tracking

hypothesis.settings.register_profile(
    "mutants", derandomize=True, database=None, phases=[hypothesis.Phase.generate]
)
hypothesis.settings.load_profile("mutants")

# MLflow's store is made once, not for each mutant.
STORE = Path(__file__).with_name("mlflow.db")
if not STORE.exists():
    tracking._make_store(STORE, STORE.parent.as_uri())


def copy_store(database: Path, artifacts: str) -> None:  # whose paths are fixed as after a move
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(STORE, database)


tracking._make_store = copy_store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    stats = Path("mutmut-stats.json")
    took = json.loads(stats.read_text())["duration_by_test"] if stats.exists() else {}
    items.sort(key=lambda item: ("trained" in item.fixturenames, took.get(item.nodeid, 0)))
'''


def main() -> None:
    """Print a row for each module, and what survived where asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--like", default="*", help="only those of such names: *x_split_*, *[05]")
    parser.add_argument("--survivors", action="store_true", help="show them as diffs")
    options = parser.parse_args()
    project = rendered()
    print("| module | mutants | killed | survived | share | goal |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    diffs = []
    for module in options.modules or MODULES:
        folder = prepared(project, module)
        found = tested(folder, options.like)
        left = [name for name, status in found.items() if status not in {"killed", "timeout"}]
        killed = len(found) - len(left)
        row = [module, len(found), killed, len(left), f"{killed / len(found):.1%}", f"{GOAL:.0%}"]
        print("|", " | ".join(map(str, row)), "|", flush=True)
        if options.survivors:
            diffs += [mutmut("show", name, cwd=folder) for name in left]
    print("", *diffs, sep="\n")


def rendered() -> Path:
    """Return a default project that has the tests of tests/unit too."""
    project = PLACE / "project"
    shutil.rmtree(project, ignore_errors=True)
    answers = {"package_name": PACKAGE}
    copier.run_copy(str(ROOT), project, data=answers, defaults=True, quiet=True, vcs_ref="HEAD")
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tests/unit", project / "tests/unit", ignore=compiled)
    (project / "tests/unit/conftest.py").write_text(QUICKLY)
    about = project / f"src/{PACKAGE}-0.dist-info/METADATA"  # as if it were installed
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.4\nName: {PACKAGE}\nVersion: 0\n")
    command("uv", "lock", "--quiet", cwd=project)  # a run without it is not promoted
    return project


def prepared(project: Path, module: str) -> Path:
    """Return a copy of the project for the mutants of one module, named by what they depend on."""
    settings = SETTINGS.format(
        package=PACKAGE,
        module=module,
        tests="\n    ".join(f"tests/{name}" for name in MODULES[module]),
    )
    tests = [project / "tests" / name for name in [*MODULES[module], "conftest.py"]]
    files = [*(project / "src").rglob("*.py"), *tests, *(project / "tests/unit").glob("c*.py")]
    files += (project / "tests/unit").glob("*.json")
    content = settings.encode() + b"".join(path.read_bytes() for path in sorted(files))
    name = f"{module.replace('/', '-')}-{hashlib.sha256(content).hexdigest()[:8]}"
    folder = project.with_name(name)
    if not folder.exists():
        shutil.copytree(project, folder)
        (folder / "setup.cfg").write_text(settings)
    return folder


def tested(folder: Path, like: str) -> dict[str, str]:
    """Return what became of each mutant, by its name."""
    found = results(folder, like)
    if not found or "not checked" in found.values():
        mutmut("run", "--max-children=2", *([] if like == "*" else [like]), cwd=folder)
        found = results(folder, like)
    return found


def results(folder: Path, like: str) -> dict[str, str]:
    lines = mutmut("results", "--all=true", cwd=folder).splitlines()
    found = dict(line.strip().split(": ") for line in lines if ": " in line)
    return {name: status for name, status in found.items() if fnmatch(name, like)}


def mutmut(*arguments: str, cwd: Path) -> str:
    group = ["--quiet", "--project", str(ROOT), "--group", "mutants"]
    return command("uv", "run", *group, "mutmut", *arguments, cwd=cwd)


def command(*words: str, cwd: Path) -> str:
    """Return what a command says, and stop where it fails."""
    done = subprocess.run(
        words, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
