"""Two fingerprints in, what differs out: in statistics, and in words one can act on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from .fingerprint import SAMPLE, Column, Fingerprint

STATISTICS = ["nulls", "distinct", "min", "max", "mean"]
TOLERANCE = 1e-9  # how far means may be apart, relative to the largest number
TOLERATED = {"within tolerance", "type only"}
FLOAT32 = 2.0**-24  # how far off, relative to its size, a float32 may be
HOUR = 3600 * 10**9  # in nanoseconds, as times are
FAMILIES = {
    **dict.fromkeys(["integer", "boolean", "float", "float32", "halffloat"], "number"),
    **dict.fromkeys(["timestamp", "timestamp with zone", "date"], "time"),
}

Value = int | float | str | None


def compare(a: Fingerprint, b: Fingerprint) -> Comparison:
    """Compare two fingerprints."""
    found = [*_rows(a, b), *_columns(a, b)]
    x, y = a.rows.content, b.rows.content
    if x != y and all(difference.kind == "type only" for difference in found):
        new, of = _new(a.rows, b.rows)
        sentence = (
            "Every column holds the same values, but they are put together into other rows "
            f"(about {new / of:.0%} of them). Was one column sorted or joined on its own?"
        )
        found.append(Difference(None, "rows", x, y, "rows re-paired", sentence))
    if {difference.kind for difference in found} - TOLERATED:
        return Comparison("different", tuple(found))
    return Comparison("equal within tolerance" if found else "identical", tuple(found))


def describe(comparison: Comparison) -> str:
    """Write a comparison as a short table with the sentences below it."""
    verdict, found = f"Verdict: {comparison.verdict}", comparison.differences
    if not found:
        return verdict
    rows = [(d.column or "(table)", d.statistic, d.a, d.b) for d in found]
    table = pd.DataFrame(rows, columns=["column", "statistic", "A", "B"], dtype=object).fillna("-")
    shown = table.to_string(index=False, float_format="{:.10g}".format, max_colwidth=40)
    return "\n".join([verdict, "", shown, "", *dict.fromkeys(d.sentence for d in found)])


def _rows(a: Fingerprint, b: Fingerprint) -> Iterator[Difference]:
    before, after = a.rows.count, b.rows.count
    if before == after:
        return
    # Fewer than five of the extra rows in the sample would not be proof that they are copies.
    sure = len(b.rows.sample) < SAMPLE or abs(after - before) * SAMPLE >= 5 * b.rows.distinct
    copies = sure and a.rows.sample == b.rows.sample
    kind = "rows lost" if after < before else "rows duplicated" if copies else "rows added"
    gap, what = abs(after - before), "are lost" if after < before else "are new"
    sentence = f"A has {before:,} rows, B {after:,}: {gap:,} rows ({gap / max(before, 1):.2%}) "
    sentence += "are copies of others." if copies else f"{what}."
    yield Difference(None, "rows", before, after, kind, sentence)
    if after > before:
        return
    for name, old in a.columns.items():
        if (new := b.columns.get(name)) and _is_cut(old, new, 1 - after / before):
            x, y = _readable(old, "max"), _readable(new, "max")
            sentence = f"`{name}` ends at {y}, not {x}: is the end cut off?"
            yield Difference(name, "max", x, y, kind, sentence)


def _is_cut(a: Column, b: Column, lost: float) -> bool:
    """Tell a missing end, where a counter or a date stops early, from rows missing anywhere."""
    counts = a.type == b.type and (a.type == "integer" or FAMILIES.get(a.type) == "time")
    if not counts or a.min is None or a.min != b.min:
        return False
    return bool(a.max - b.max > 0.5 * lost * (a.max - a.min))


def _columns(a: Fingerprint, b: Fingerprint) -> Iterator[Difference]:
    before = {name: column.content for name, column in a.columns.items()}
    changed = [name for name, new in b.columns.items() if new.content != before.get(name)]
    for name, old in a.columns.items():
        new = b.columns.get(name)
        twins = [other for other in changed if b.columns[other].content == old.content]
        if twins and not (new and new.content == old.content):
            changed.remove(twins[0])
            kind = "columns swapped" if new else "column renamed"
            sentence = f"B has in `{twins[0]}` the values that A has in `{name}`."
            yield Difference(name, "column", name, twins[0], kind, sentence)
        elif new:
            yield from _values(name, old, new)
        else:
            yield Difference(name, "column", name, None, "column gone", f"`{name}` is gone.")
    for name in changed:
        if name not in a.columns:
            yield Difference(name, "column", None, name, "column new", f"`{name}` is new in B.")


def _new(a: Column, b: Column) -> tuple[int, int]:
    """Of the values sampled in `b`, count those `a` does not have; and all."""
    bar = min(x.sample[-1] if len(x.sample) == SAMPLE else 2**64 for x in (a, b))
    sampled = {value for value in b.sample if value <= bar}
    return len(sampled - set(a.sample)), max(len(sampled), 1)


def _values(name: str, a: Column, b: Column) -> Iterator[Difference]:
    families = {FAMILIES.get(kind, kind.partition("(")[0]) for kind in (a.type, b.type)}
    if a.type != b.type and a.count and b.count:
        kind = "type only" if a.content == b.content and len(families) == 1 else "type changed"
        sentence = f"`{name}` is {a.type} in A and {b.type} in B."
        yield Difference(name, "type", a.type, b.type, kind, sentence)
        if len(families) > 1:
            return
    if a.content == b.content:
        return
    moved = [statistic for statistic in STATISTICS if _is_moved(statistic, a, b)]
    rows = [column.count + column.nulls for column in (a, b)]
    if rows[0] == rows[1]:
        kind, what = _explain(a, b, moved)
    else:  # other rows explain most; but the table with fewer of them should hold nothing new
        fewer, more = (a, b) if rows[0] < rows[1] else (b, a)
        new, _ = _new(more, fewer)
        kind, what = "values changed", "values changed: the table with fewer rows has new ones"
        if fewer.nulls > more.nulls:
            kind, what = "nulls appeared", "the table with fewer rows has more nulls"
        elif not new:
            return
    for statistic in moved or ["content"]:
        x, y = _readable(a, statistic), _readable(b, statistic)
        yield Difference(name, statistic, x, y, kind, f"`{name}`: {what}.")


def _is_moved(statistic: str, a: Column, b: Column) -> bool:
    """Tell whether a statistic is further apart than rounding or estimating explains."""
    x, y = getattr(a, statistic), getattr(b, statistic)
    if statistic == "distinct" and min(x, y) >= SAMPLE:
        return bool(max(x, y) > 1.2 * min(x, y))
    if isinstance(x, float) and isinstance(y, float):
        return x != y and not abs(x - y) <= TOLERANCE * _size(a, b)
    return bool(x != y)


def _size(a: Column, b: Column) -> float:
    ends = (a.min, a.max, b.min, b.max)
    return max((abs(end) for end in ends if isinstance(end, int | float)), default=0)


def _readable(column: Column, statistic: str) -> Value:
    value: Any = getattr(column, statistic)
    time = FAMILIES.get(column.type) == "time" and statistic in {"min", "max", "mean"}
    return str(np.datetime64(int(value) // 1000, "us")) if time and column.count else value


def _explain(a: Column, b: Column, moved: list[str]) -> tuple[str, str]:
    """Return the kind of difference between columns of as many rows, and words on it."""
    if gap := abs(a.nulls - b.nulls):
        if a.nulls > b.nulls:
            return "nulls filled", f"{gap:,} nulls are filled"
        return "nulls appeared", f"{gap:,} more nulls than in A"
    (new, of), (gone, _) = _new(a, b), _new(b, a)
    if {a.type, b.type} <= {"float", "float32"}:
        if a.coarse == b.coarse and set(moved) <= {"distinct"}:
            return "within tolerance", "values differ from about the 9th digit on, no more"
        # One value that changed is a change, even where the new one is a rounder number.
        for better, worse, where in ((a, b, "B"), (b, a, "A")):
            if max(new, gone) >= min(2, of) and (loss := _precision(better, worse)):
                return "precision lost", f"in {where}, {loss}"
    if FAMILIES.get(a.type) == "time" and (hours := _shift(a, b)):
        return "time shifted", f"all times moved by {hours:+g} hours, as in another time zone"
    if new and gone and a.type == "text" and of < SAMPLE and 2 * of <= a.count:
        return "category relabelled", f"of {of} texts {new} are new, and {gone} are gone"
    return "values changed", f"values changed: about {new / of:.0%} of the distinct ones are new"


def _gaps(a: Column, b: Column) -> list[float]:
    return [getattr(b, name) - getattr(a, name) for name in ("min", "max", "mean")]


def _precision(better: Column, worse: Column) -> str:
    """Say how `worse` lost digits of `better`, if rounding explains all that moved."""
    size, gap = _size(better, worse), max(map(abs, _gaps(better, worse)))
    half = 0.5 * 10.0**-worse.decimals
    if worse.decimals < better.decimals and gap <= half + 1e-12 * size:
        return f"values are rounded to {worse.decimals} decimals"
    if worse.single and not better.single and gap <= FLOAT32 * size:
        return f"values went through float32, each off by up to {FLOAT32:.0e} of its size"
    return ""


def _shift(a: Column, b: Column) -> float:
    """Return by how many hours all times moved, if it is what a time zone would do; else 0."""
    first, last, mean = (gap / HOUR for gap in _gaps(a, b))
    like_zone = all(gap % 0.25 == 0 and abs(gap) <= 15 for gap in (first, last))
    return first if like_zone and abs(mean - first) <= 1 else 0


@dataclass(frozen=True)
class Difference:
    """One statistic that differs; `column` is None where it is the whole table's."""

    column: str | None
    statistic: str
    a: Value
    b: Value
    kind: str
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """The verdict on two tables, and all that led to it."""

    verdict: Literal["identical", "equal within tolerance", "different"]
    differences: tuple[Difference, ...]
