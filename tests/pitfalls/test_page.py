"""The page on the pitfalls says what the tests do."""

import re

import pytest

from . import (
    test_a_data,
    test_b_splits,
    test_c_training,
    test_d_release,
    test_e_production,
    test_f_monitoring,
)
from .conftest import LETTERS, PAGE, WRITES, Stopped, mistakes, page

DECLARED = mistakes(
    test_a_data,
    test_b_splits,
    test_c_training,
    test_d_release,
    test_e_production,
    test_f_monitoring,
)


def cells(text: str) -> list[tuple[str, ...]]:
    """Rows, pitfalls, mistakes and gates of a page; not what was said, nor the seconds."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if re.match(r"\| \w\d", line)]
    return [tuple(cell.strip() for cell in row[:4]) for row in rows]


def test_every_row_is_held_by_a_test() -> None:
    rows = {row for rows in LETTERS.values() for row in rows if row != "title"}
    assert {one.row for one in DECLARED} == rows
    assert len({(one.row, one.mistake) for one in DECLARED}) == len(DECLARED)


def test_the_page_is_written(held: list[Stopped]) -> None:
    if not WRITES:
        pytest.skip("SLIPWAY_WRITE_DOCS=1 writes the page, once all mistakes were tried")
    tried = {(one.row, one.mistake) for one in held}
    assert tried == {(one.row, one.mistake) for one in DECLARED}, "run all of tests/pitfalls"
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    order = [(one.row, one.mistake) for one in DECLARED]
    PAGE.write_text(page(sorted(held, key=lambda one: order.index((one.row, one.mistake)))))


def test_the_page_names_the_same_mistakes_and_gates() -> None:
    assert PAGE.exists(), "SLIPWAY_WRITE_DOCS=1 make test ARGS=tests/pitfalls"
    assert cells(PAGE.read_text()) == cells(page(DECLARED))
