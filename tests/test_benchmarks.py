"""The benchmarks run on few rows, and each has its place on the page."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import page

SOON = {"splitting", "fingerprint"}
NAMES = [pytest.param(name, marks=[] if name in SOON else pytest.mark.long) for name in page.QUICK]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_prints_a_table_with_figures(name: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/page.py", "--quick", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if re.match(r"\| .*\d", line)]
    assert rows, done.stdout


def test_the_page_has_a_place_for_each_and_each_was_measured() -> None:
    scripts = {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - {"page"}
    places = {found[2]: found[0] for found in page.PLACE.finditer(page.PAGE.read_text())}
    assert scripts == set(page.FULL) == set(places)
    for name, text in places.items():
        assert f"benchmarks/{name}.py" in text, f"make bench ARGS={name} was never run"
        assert "\n| --- |" in text
