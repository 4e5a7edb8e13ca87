"""Two fingerprints in, what differs out: in statistics, and in words one can act on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .fingerprint import SAMPLE, Column, Fingerprint, Sums, Value

TOLERATED = {"within tolerance", "type only"}
FLOATS, TIMES = {"float", "float32"}, {"timestamp", "timestamp with zone", "date"}
FAMILIES = [FLOATS | {"integer", "boolean", "halffloat"}, TIMES, {"text", "binary"}]
FLOAT32 = 2.0**-24  # how far off, relative to its size, a float32 may be


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


def compare(a: Fingerprint, b: Fingerprint, rtol: float = 1e-9) -> Comparison:
    """Compare two fingerprints; `rtol` is how far statistics of floats may be apart."""
    found = [*_renamed(a, b), *_rows(a, b), *_swapped(a, b)]
    done = {difference.column for difference in found if difference.kind == "columns swapped"}
    for name in a.columns:
        if name in b.columns and name not in done:
            found += _column(name, a, b, rtol)
    if a.rows.key != b.rows.key and {difference.kind for difference in found} <= {"type only"}:
        apart, of = _unseen(a.rows, b.rows)
        sentence = (
            "Every column holds the same values, but they are put together into other rows "
            f"(about {apart / of:.0%} of them). Was one column sorted or joined on its own?"
        )
        found.append(Difference(None, "rows", a.rows.key, b.rows.key, "rows re-paired", sentence))
    if {difference.kind for difference in found} - TOLERATED:
        return Comparison("different", tuple(found))
    return Comparison("equal within tolerance" if found else "identical", tuple(found))


def describe(comparison: Comparison) -> str:
    """Write a comparison as a short table with the sentences below it."""
    head = ("column", "statistic", "A", "B")
    rows = [
        (d.column or "(table)", d.statistic, _text(d.a), _text(d.b)) for d in comparison.differences
    ]
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in [head, *rows]]
    sentences = dict.fromkeys(difference.sentence for difference in comparison.differences)
    return "\n".join(
        [f"Verdict: {comparison.verdict}", *(["", *table, ""] if rows else []), *sentences]
    )


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    text = "-" if value is None else f"{value:,}" if isinstance(value, int) else value
    return text if len(text) <= 40 else text[:39] + "…"


def _same(a: Column, b: Column) -> bool:
    return a.content.key == b.content.key and a.nulls == b.nulls


def _unseen(a: Sums, b: Sums) -> tuple[int, int]:
    """Of the values sampled in `b`, count those `a` does not have; and all."""
    bar = min(sums.sample[-1] if len(sums.sample) == SAMPLE else 2**64 for sums in (a, b))
    sampled = {value for value in b.sample if value <= bar}
    return len(sampled - set(a.sample)), max(len(sampled), 1)


def _renamed(a: Fingerprint, b: Fingerprint) -> Iterator[Difference]:
    new = [name for name in b.columns if name not in a.columns]
    for name in [name for name in a.columns if name not in b.columns]:
        twin = next((other for other in new if _same(a.columns[name], b.columns[other])), None)
        if twin is None:
            gone = f"Column `{name}` is gone."
            yield Difference(name, "column", name, None, "column gone", gone)
        else:
            new.remove(twin)
            sentence = f"Column `{name}` is called `{twin}` in B; its values are the same."
            yield Difference(name, "column", name, twin, "column renamed", sentence)
    for name in new:
        yield Difference(name, "column", None, name, "column new", f"Column `{name}` is new in B.")


def _swapped(a: Fingerprint, b: Fingerprint) -> Iterator[Difference]:
    changed = [
        name
        for name in a.columns
        if name in b.columns and not _same(a.columns[name], b.columns[name])
    ]
    for name in changed:
        for other in changed:
            if other != name and _same(a.columns[name], b.columns[other]):
                sentence = f"B has in `{other}` the values that A has in `{name}`."
                yield Difference(name, "column", name, other, "columns swapped", sentence)
                break


def _rows(a: Fingerprint, b: Fingerprint) -> Iterator[Difference]:
    before, after = a.rows.count, b.rows.count
    if before == after:
        return
    gap = abs(after - before)
    # Fewer than five of the extra rows in the sample would not be proof that they are copies.
    sure = len(b.rows.sample) < SAMPLE or gap * SAMPLE >= 5 * b.rows.distinct
    copies = sure and a.rows.sample == b.rows.sample
    count = f"A has {before:,} rows, B {after:,}"
    if after > before:
        kind = "rows duplicated" if copies else "rows added"
        hint = "none of them is new: they are copies" if copies else "some or all of them are new"
        sentence = f"{count}: {gap:,} more, and {hint}."
        yield Difference(None, "rows", before, after, kind, sentence)
        return
    hint = " Every distinct row is still there: copies were removed." if copies else ""
    sentence = f"{count}: {gap:,} rows ({gap / before:.2%}) are lost.{hint}"
    yield Difference(None, "rows", before, after, "rows lost", sentence)
    for name, old in a.columns.items():
        new = b.columns.get(name)
        if new and new.type == old.type and _is_cut(old, new, gap / before):
            sentence = (
                f"`{name}` ends at {_text(new.max)}, not {_text(old.max)}: is the end cut off?"
            )
            yield Difference(name, "max", old.max, new.max, "rows lost", sentence)


def _is_cut(a: Column, b: Column, lost: float) -> bool:
    """Tell a missing end, where a counter or a date stops early, from rows missing anywhere."""
    low, high, now = _number(a, a.min), _number(a, a.max), _number(b, b.max)
    if a.type not in TIMES | {"integer"} or a.min != b.min or None in {low, high, now}:
        return False
    return bool(high - now > 0.5 * lost * (high - low))


def _number(column: Column, value: Value) -> Any:
    """Return a minimum or maximum as a number, of a time in seconds; None if there is none."""
    if column.type in TIMES and isinstance(value, str):
        return float(np.datetime64(value, "s").astype(np.int64))
    return None if isinstance(value, str) else value


def _column(name: str, a: Fingerprint, b: Fingerprint, rtol: float) -> Iterator[Difference]:
    old, new = a.columns[name], b.columns[name]
    same = _same(old, new)
    if old.type != new.type and old.content.count and new.content.count:
        kind = "type only" if same else "type changed"
        sentence = f"`{name}` is {old.type} in A and {new.type} in B"
        sentence += "; the values are the same." if same else "."
        yield Difference(name, "type", old.type, new.type, kind, sentence)
        if not any({old.type, new.type} <= family for family in FAMILIES):
            return
    if same:
        return
    if a.rows.count != b.rows.count:
        yield from _foreign(name, a, b)
        return
    moved = list(_moved(old, new, rtol))
    kind, what = _explain(old, new, {statistic for statistic, _, _ in moved})
    for statistic, x, y in moved or [("content", old.content.key, new.content.key)]:
        yield Difference(name, statistic, x, y, kind, f"`{name}`: {what}.")


def _foreign(name: str, a: Fingerprint, b: Fingerprint) -> Iterator[Difference]:
    """Find values changed where rows are missing too: the smaller table should hold nothing new."""
    old, new = a.columns[name], b.columns[name]
    small, large = (new, old) if b.rows.count < a.rows.count else (old, new)
    apart, of = _unseen(large.content, small.content)
    besides = f"`{name}`: besides, the table with fewer rows holds"
    if apart:
        sentence = f"{besides} values the other lacks, about {apart / of:.0%} of the distinct ones."
        keys = old.content.key, new.content.key
        yield Difference(name, "content", *keys, "values changed", sentence)
    elif small.nulls > large.nulls:
        sentence = f"{besides} more nulls than the other."
        yield Difference(name, "nulls", old.nulls, new.nulls, "nulls appeared", sentence)


def _statistics(column: Column) -> dict[str, Value]:
    return {
        "nulls": column.nulls,
        "distinct": column.content.distinct,
        "infinite": column.infinite,
        "min": column.min,
        "max": column.max,
        "mean": column.mean,
        "std": column.std,
    }


def _moved(a: Column, b: Column, rtol: float) -> Iterator[tuple[str, Value, Value]]:
    """Yield the statistics that are further apart than rounding or estimating explains."""
    new = _statistics(b)
    for statistic, x in _statistics(a).items():
        y = new[statistic]
        if isinstance(x, float) and isinstance(y, float):
            near = abs(x - y) <= rtol * _size(a, b)
        else:
            pair = a.content.distinct, b.content.distinct
            estimated = statistic == "distinct" and min(pair) >= SAMPLE
            near = x == y or (estimated and max(pair) < 1.2 * min(pair))
        if not near:
            yield statistic, _readable(a, statistic, x), _readable(b, statistic, y)


def _readable(column: Column, statistic: str, value: Value) -> Value:
    if statistic == "mean" and column.type in TIMES and isinstance(value, float):
        return str(np.datetime64(round(value), "s"))
    return value


def _size(a: Column, b: Column) -> float:
    """Return what a deviation is relative to: the largest number, or how far times are spread."""
    if a.type in TIMES:
        return max(a.std or 0, b.std or 0)
    ends = (a.min, a.max, b.min, b.max)
    return max((abs(end) for end in ends if isinstance(end, int | float)), default=0)


def _explain(a: Column, b: Column, moved: set[str]) -> tuple[str, str]:
    """Return the kind of difference between columns of as many rows, and words on it."""
    if a.nulls != b.nulls:
        return _explain_nulls(a, b)
    if {a.type, b.type} <= FLOATS:
        for better, worse, where in ((a, b, "B"), (b, a, "A")):
            if loss := _precision(better, worse):
                return "precision lost", f"in {where}, {loss}"
        if a.coarse == b.coarse and moved <= {"distinct"}:
            return "within tolerance", "values differ from about the 9th digit on, no more"
    if shift := _shift(a, b):
        return "time shifted", f"all times moved by {shift:+g} hours, as another time zone does"
    apart, of = _unseen(a.content, b.content)
    gone, _ = _unseen(b.content, a.content)
    if apart and gone and a.type == "text" and of < SAMPLE and 2 * of <= a.content.count:
        return "category relabelled", f"of {of} texts {apart} new and {gone} gone, so relabelled"
    share = f", about {apart / of:.0%} of the distinct ones are new" if apart else ""
    return "values changed", f"as many rows, but values changed{share}"


def _explain_nulls(a: Column, b: Column) -> tuple[str, str]:
    gap = abs(b.nulls - a.nulls)
    if b.nulls > a.nulls:
        return "nulls appeared", f"{gap:,} more null than in A"
    if a.mean is None or b.mean is None or a.type in TIMES | {"text", "binary"}:
        return "nulls filled", f"{gap:,} fewer null than in A"
    total = b.mean * b.content.count - a.mean * a.content.count
    return "nulls filled", f"{gap:,} fewer null than in A, filled on average with {total / gap:.4g}"


def _precision(better: Column, worse: Column) -> str:
    """Say how `worse` lost digits of `better`, if rounding explains all that moved."""
    apart, of = _unseen(better.content, worse.content)
    gone, had = _unseen(worse.content, better.content)
    if max(apart, gone) < min(2, of) or better.mean is None or worse.mean is None:
        return ""  # one value that changed is a change, even if the new one is a rounder number
    size = _size(better, worse)
    gaps = [abs(getattr(better, end) - getattr(worse, end)) for end in ("min", "max", "mean")]
    half = 0.5 * 10.0**-worse.decimals
    if worse.decimals < better.decimals and max(gaps) <= half + 1e-12 * size:
        return f"rounded to {worse.decimals} decimals, each value by up to {half:g},"
    gained = worse.single - better.single
    allowed = FLOAT32 * size * gained / worse.content.count + 1e-14 * size
    explained = gained > 0.5 * max(apart / of, gone / had) * worse.content.count
    if explained and gaps[2] <= allowed and max(gaps) <= FLOAT32 * size:
        off = f"each off by up to {FLOAT32:.0e} of its size ({FLOAT32 * size:.1g})"
        return f"{gained:,} values went through float32, {off},"
    return ""


def _shift(a: Column, b: Column) -> float:
    """Return by how many hours all times moved, if it is what a time zone would do; else 0."""
    if not {a.type, b.type} <= TIMES or a.std is None or b.std is None:
        return 0
    gaps = [_number(b, getattr(b, end)) - _number(a, getattr(a, end)) for end in ("min", "max")]
    like_zone = all(gap % 900 == 0 and abs(gap) <= 15 * 3600 for gap in gaps)
    return gaps[0] / 3600 if like_zone and abs(a.std - b.std) <= 3600 else 0
