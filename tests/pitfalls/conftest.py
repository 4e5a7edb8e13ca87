"""Makes the mistakes, and keeps what stopped each: the table of docs/explanation/pitfalls.md.

A test says which row it tries, which mistake it makes and which gate it expects:

    @pytest.mark.pitfall("A1", "one value of a million changed", gate="data check")
    def test_...(project: Project, stopped: Stopped) -> None:
        with stopped:
            done = project.cli("data", "check", "a", "b", code=1)
        stopped.says(done.stdout, "weight_kg")
"""

import os
import re
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pandas as pd
import pytest

from conftest import ROOT, Project

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "explanation" / "pitfalls.md"
LETTERS: dict[str, dict[str, str]] = tomllib.loads((HERE / "pitfalls.toml").read_text())
WRITES = os.environ.get("SLIPWAY_WRITE_DOCS") == "1"
LONGEST = 180

INTRODUCTION = """\
# The pitfalls, and what stops each

Made by the tests in `tests/pitfalls/`, which make each mistake in a fresh project as a person
would: `SLIPWAY_WRITE_DOCS=1 make test ARGS=tests/pitfalls`. A row without a test says so. The
seconds are what the gate took on two cores, from the command to the answer.
"""


@dataclass
class Stopped:
    """One mistake: what it was, and what the gate said when it was tried."""

    row: str
    mistake: str
    gate: str
    message: str = ""
    seconds: float = 0
    begun: float = field(default=0, repr=False)

    def __enter__(self) -> Self:
        """Start the clock: from here on the gate is at work."""
        self.begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.begun

    def says(self, text: str, *wanted: str) -> str:
        """Find the line in which the gate says all of this, and keep it for the table."""
        for line in text.splitlines():
            if all(word in line for word in wanted):
                self.message = self.message or plain(line)
                return line
        raise AssertionError(f"no line says {' and '.join(map(repr, wanted))}:\n{text}")


def plain(line: str) -> str:
    """Shorten a line to what is the same on every machine."""
    line = re.sub(r"(?<!\w)(/[\w.+-]+){2,}/", "", line.strip())
    line = re.sub(r"\b[0-9a-f]{32}\b", "…", line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST].rsplit(' ', 1)[0]} …"


def mistakes(*modules: ModuleType) -> list[Stopped]:
    """Return what the tests of some modules declare, without running them."""
    tests = [test for module in modules for test in vars(module).values() if callable(test)]
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", [])]
    return [Stopped(*m.args, **m.kwargs) for m in marks if m.name == "pitfall"]


def page(held: list[Stopped]) -> str:
    """Write the table."""
    lines = [INTRODUCTION]
    for letter, rows in LETTERS.items():
        lines += [f"## {letter}. {rows['title']}", ""]
        lines += ["| # | pitfall | the mistake | the gate | what it says | s |"]
        lines += ["|---|---|---|---|---|---|"]
        for row, title in rows.items():
            if row == "title":
                continue
            tried = [one for one in held if one.row == row]
            lines += [_line(row, title, one) for one in tried]
            lines += [] if tried else [f"| {row} | {title} | | not held yet | | |"]
        lines.append("")
    return "\n".join(lines)


def _line(row: str, title: str, one: Stopped) -> str:
    said = one.message.replace("|", "\\|")
    return f"| {row} | {title} | {one.mistake} | {one.gate} | {said} | {one.seconds:.1f} |"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pitfall(row, mistake, gate): a mistake a gate must stop")
    config.stash[HELD] = {}


HELD = pytest.StashKey[dict[str, Stopped]]()


@pytest.fixture
def stopped(request: pytest.FixtureRequest) -> Iterator[Stopped]:
    """What the test's gate said; a test that ends without a word of it fails."""
    mark = request.node.get_closest_marker("pitfall")
    one = Stopped(*mark.args, **mark.kwargs)
    failed = request.session.testsfailed
    yield one
    if request.session.testsfailed == failed:
        assert one.message, "nothing was said"
        request.config.stash[HELD].setdefault(f"{one.row} {one.mistake}", one)


@pytest.fixture(scope="session")
def held(request: pytest.FixtureRequest) -> list[Stopped]:
    """What was stopped in this session, in the order of the tests."""
    return list(request.config.stash[HELD].values())


@pytest.fixture(scope="session")
def rows(born: Project) -> pd.DataFrame:
    """Twenty thousand invented rows, the ones that the project invents for itself."""
    file = born.path.parent / "rows.parquet"
    born.cli("data", "sample", file)
    return pd.read_parquet(file)


Deliver = Callable[[pd.DataFrame], Any]


@pytest.fixture
def deliver(project: Project) -> Deliver:
    """Hand rows to the project as the next version of its table."""

    def deliver(rows: pd.DataFrame) -> Any:
        file = project.path / "var/delivered.parquet"  # var/ is in no commit
        file.parent.mkdir(exist_ok=True)
        rows.to_parquet(file, index=False)
        return project.json("data", "ingest", file)["tables"][0]

    return deliver
