"""Sixty days of the sample project: what `monitor` said each day, beside what was true."""

import json
import os
import shutil
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Project

PAGE = ROOT / "docs" / "explanation" / "sixty-days.md"
WRITES = os.environ.get("SLIPWAY_WRITE_DOCS") == "1"
WINDOW = 7
SILENT, HEAVIER, LATE = (range(11, 16), range(26, 31), range(39, 61))
REFUSED, PROMOTED = 44, 47
INTRODUCTION = """\
# Sixty days of a model

Made by `tests/test_story.py`: a fresh sample project answers 300 rows a day, outcomes are known in
the evening, and then `monitor` looks at the last seven days with the default settings. What is over
stays in those seven days for as long. Written by `SLIPWAY_WRITE_DOCS=1 make test
ARGS=tests/test_story.py`.

| days | what was true | what `monitor` said | champion |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Day:
    """One day: what was true, and the alarms of the evening."""

    number: int
    truth: str
    retraining: dict[str, Any] | None
    version: int
    rows: int
    alarms: list[tuple[str, str]]

    @property
    def said(self) -> str:
        named = [
            f"{kind} ({what.split()[0]})" if kind in {"silence", "drift"} else kind
            for kind, what in self.alarms
        ]
        return ", ".join(dict.fromkeys(named)) or "ok"

    @property
    def true(self) -> str:
        done = self.retraining
        if done is None:
            return self.truth
        end = "promoted" if done["promoted"] else f"refused: {done['reasons'][0].split(':')[0]}"
        return f"{self.truth}; retrained on {done['on']}, {end}"


@pytest.fixture(scope="module")
def days(born: Project, first_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Day]:
    """Live the days in a copy of the data and models of the sample project."""
    var = tmp_path_factory.mktemp("story") / "var"
    shutil.copytree(first_model, var)
    done = born.run(
        *[born.path / ".venv/bin/python", "-W", "ignore", Path(__file__).parent / "sixty_days.py"],
        **{f"{born.package.upper()}__PATHS__VAR": str(var)},
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [
        Day(
            one["day"],
            one["truth"],
            one["retraining"],
            one["version"],
            one["rows"],
            [(kind, what) for kind, what in one["alarms"] if kind != "dirty commit"],
        )
        for one in told
    ]


def told(days: list[Day], some: range, kind: str, about: str = "") -> list[int]:
    """Return the days of some on which there was such an alarm."""
    return [
        day.number
        for day in days
        if day.number in some
        and any(found == kind and what.startswith(about) for found, what in day.alarms)
    ]


def test_every_day_is_watched(days: list[Day]) -> None:
    assert [day.number for day in days] == list(range(1, 61))
    assert [day.rows for day in days] == [300 * min(day.number, WINDOW) for day in days]


def test_quiet_days_are_quiet(days: list[Day]) -> None:
    begun = [*SILENT, *HEAVIER, *LATE]
    echo = {day + later for day in begun for later in range(WINDOW)}
    quiet = [day for day in days if day.number not in echo]
    assert len(quiet) == 16
    assert [day for day in quiet if day.alarms] == []


def test_a_silent_column_is_named_the_same_day(days: list[Day]) -> None:
    assert told(days, SILENT, "silence", "weight_kg") == list(SILENT)


def test_drift_is_named_within_three_days_and_nothing_else_is(days: list[Day]) -> None:
    found = told(days, range(26, 39), "drift", "weight_kg")
    assert found[0] <= HEAVIER[0] + 3
    assert set(HEAVIER[3:]) <= set(found)
    assert {kind for day in days if day.number in HEAVIER for kind, _ in day.alarms} <= {"drift"}
    assert max(found) < HEAVIER[-1] + WINDOW


def test_another_meaning_of_the_label_shows_in_performance_and_worth(days: list[Day]) -> None:
    stays = range(LATE[0], PROMOTED)
    for kind, days_later in [("performance", 2), ("worth", 3), ("outcomes", 4)]:
        found = told(days, stays, kind)
        assert found == list(range(found[0], PROMOTED)), kind
        assert found[0] <= LATE[0] + days_later, kind
    assert told(days, stays, "drift") == []


def test_a_bad_retraining_is_refused_and_a_good_one_recovers(days: list[Day]) -> None:
    refused, promoted = days[REFUSED - 1].retraining, days[PROMOTED - 1].retraining
    assert refused is not None
    assert promoted is not None
    assert not refused["promoted"]
    assert "Baseline gate" in refused["reasons"][0]
    assert promoted["promoted"], promoted["reasons"]
    assert {day.version for day in days if day.number < PROMOTED} == {1}
    assert {day.version for day in days if day.number >= PROMOTED} == {3}
    assert [day for day in days if day.number > PROMOTED and day.alarms] == []


def test_the_page_tells_of_the_same_days(days: list[Day]) -> None:
    rows = []
    for (true, said, version), some in groupby(days, lambda d: (d.true, d.said, d.version)):
        numbers = [day.number for day in some]
        span = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        rows.append(f"| {span} | {true} | {said} | {version} |")
    if WRITES:
        PAGE.write_text(INTRODUCTION + "\n".join(rows) + "\n")
    page = PAGE.read_text()
    assert page.startswith(INTRODUCTION)
    written = [line.split(" | ")[1] for line in page.splitlines() if line[:3].strip("| ").isdigit()]
    true = [row.split(" | ")[1] for row in rows]
    assert list(dict.fromkeys(written)) == list(dict.fromkeys(true))
