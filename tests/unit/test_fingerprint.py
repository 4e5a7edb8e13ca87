"""The fingerprint: equal for equal content however it is stored, and right about what differs."""

import datetime
import decimal
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_template.data.check import fingerprint_of
from slipway_template.data.compare import compare, describe
from slipway_template.data.fingerprint import Fingerprint, fingerprint, merge
from slipway_template.utils.errors import UsageError

SAVED = Path(__file__).with_name("fingerprint.json")
ROWS = 1_000_000
SMALL = 20_000

cells = st.fixed_dictionaries(
    {
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "float": st.none() | st.floats(),
        "text": st.none() | st.text(max_size=40),
        "flag": st.none() | st.booleans(),
        "time": st.none() | st.datetimes(),
        "list": st.none() | st.lists(st.integers(-9, 9), max_size=3),
    }
)
SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("float", pa.float64()),
        ("text", pa.string()),
        ("flag", pa.bool_()),
        ("time", pa.timestamp("us")),
        ("list", pa.list_(pa.int64())),
    ]
)


def people(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return a table with the kinds of columns a project has."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10, 1, rows)
    income[rng.random(rows) < 0.05] = np.nan
    return pd.DataFrame(
        {
            "customer_id": np.arange(rows) + 1_000_000_000,
            "age": rng.integers(18, 90, rows),
            "income": income,
            "price": np.round(rng.gamma(2, 50, rows), 2),
            "score": rng.normal(size=rows),
            "region": np.array(["north", "south", "east", "west"])[rng.integers(0, 4, rows)],
            "name": [f"person {number}" for number in rng.integers(0, 10**9, rows)],
            "active": rng.random(rows) < 0.3,
            "since": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(rng.integers(0, 3 * 10**7, rows), unit="s"),
        }
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return people(SMALL)


@pytest.fixture(scope="module")
def original(table: pd.DataFrame) -> Fingerprint:
    return fingerprint(table)


# What leaves no trace: order, partitions, storage


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, max_size=30), st.randoms(use_true_random=False), st.integers(0, 30))
def test_order_and_partitions_leave_no_trace(
    rows: list[dict[str, object]], shuffler: random.Random, cut: int
) -> None:
    whole = fingerprint(pa.Table.from_pylist(rows, SCHEMA))
    first, rest = (
        fingerprint(pa.Table.from_pylist(part, SCHEMA)) for part in (rows[:cut], rows[cut:])
    )
    mixed = rows.copy()
    shuffler.shuffle(mixed)
    for other in (
        merge(first, rest),
        merge(rest, first),
        fingerprint(pa.Table.from_pylist(mixed, SCHEMA)),
        fingerprint(pa.Table.from_pylist(rows, SCHEMA).select(SCHEMA.names[::-1])),
        Fingerprint.from_json(whole.to_json()),
    ):
        assert other.digest == whole.digest
        assert compare(whole, other).verdict == "identical"
        for name, column in whole.columns.items():
            assert other.columns[name].content == column.content
            assert other.columns[name].type == column.type
            assert (other.columns[name].min, other.columns[name].max) == (column.min, column.max)


def test_blocks_of_a_large_table_leave_no_trace(original: Fingerprint) -> None:
    large = people(300_000)
    whole = pa.Table.from_pandas(large, preserve_index=False)
    pieces = fingerprint(whole.to_batches(max_chunksize=70_001))
    shuffled = fingerprint(large.sample(frac=1, random_state=1))
    assert fingerprint(whole).digest == pieces.digest == shuffled.digest != original.digest
    income = pieces.columns["income"]
    assert income.mean == pytest.approx(large["income"].mean(), rel=1e-12)
    assert income.nulls == large["income"].isna().sum()
    assert pieces.columns["region"].distinct == 4
    assert pieces.columns["customer_id"].distinct == pytest.approx(300_000, rel=0.15)


MOMENTS = ["2024-02-29 12:00:01", None, "1969-07-20 20:17:40"]


@pytest.mark.parametrize(
    "same",
    [
        [pd.Series([3, None, 0], dtype="Int64"), pd.Series([3.0, np.nan, -0.0]),
         pd.Series([3, None, 0], dtype="Int8"), pd.Series([3, None, 0], dtype=object),
         pd.Series([3, None, 0], dtype="int64[pyarrow]")],
        [pd.Series(["b", None, "ä"], dtype=kind)
         for kind in ("str", "object", "string", "category", "string[pyarrow]")],
        [pd.Series(pd.to_datetime(MOMENTS)).astype(f"datetime64[{unit}]")
         for unit in ("s", "ms", "us", "ns")],
        [pd.Series([True, None, False], dtype=kind) for kind in ("boolean", "object")],
        [pd.Series([True, False]), pd.Series([True, False], dtype="boolean")],
        [pd.Series([np.nan, None], dtype=object), pd.Series([np.nan, np.nan]),
         pd.Series([pd.NaT, pd.NaT]), pd.Series([pd.NA, pd.NA], dtype="string")],
        [pd.Series([2**62]), pd.Series([2.0**62]), pd.Series([2**62], dtype="uint64")],
        [pd.Series([1 / 3, 1e300]), pd.Series([0.33333333333, 1e300 * (1 + 1e-15)])],
    ],
)  # fmt: skip
def test_storage_leaves_no_trace(same: list[pd.Series]) -> None:
    digests = {fingerprint(pd.DataFrame({"x": series})).digest for series in same}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "values",
    [
        [2**53, 2**53 + 1],
        [2**63 - 1, 2**63 - 2],
        [-(2**63), -(2**63) + 1],
        ["", None],
        ["a", "a\0"],
        ["x" * 1024, "x" * 1025],
        ["x" * 5000, "x" * 4999 + "y"],
        ["1234567", "12345678"],
        ["123456789", "12345678x"],
        [b"\xff\x00", b"\xff"],
        [float("inf"), float("-inf")],
        [0.0, None],
        [1.00000001, 1.00000002],
        [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)],
        [decimal.Decimal("1.10"), decimal.Decimal("1.11")],
        [datetime.timedelta(1), datetime.timedelta(2)],
        [datetime.time(1), datetime.time(2)],
        [[1, 2], [2, 1]],
        [{"a": 1}, {"a": 2}],
    ],
)
def test_different_values_differ(values: list[object]) -> None:
    kind = pa.array(values).type
    prints = [fingerprint(pa.table({"x": pa.array([value], kind)})) for value in values]
    assert prints[0].digest != prints[1].digest
    assert compare(*prints).verdict == "different"
    assert describe(compare(*prints))
    both = fingerprint(pa.table({"x": pa.array(values, kind)}))
    assert merge(*prints).digest == both.digest
    assert Fingerprint.from_json(both.to_json()) == both


def of_all_kinds() -> pa.Table:
    start, landing = (datetime.datetime(year, 7, 20, tzinfo=datetime.UTC) for year in (2024, 1969))
    day, second = datetime.timedelta(1), datetime.timedelta(0, 1, 5)
    return pa.table(
        {
            "number": pa.array([3, -7, None, 2**53 + 1]),
            "unsigned": pa.array([0, 1, 2**64 - 1, None], pa.uint64()),
            "float": pa.array([1 / 3, -0.0, 123456789012.5, None]),
            "infinite": pa.array([1.5, float("-inf"), float("nan"), 2.0]),
            "large": pa.array([2.0**63, 1e19, -(2.0**63), 2.0**62]),
            "huge": pa.array([1e300, None, -1e-300, -2.5e-310]),
            "single": pa.array([0.1, 1e30, None, 5.0], pa.float32()),
            "price": pa.array([1.25, 1234567.5, None, 0.001]),
            "text": pa.array(["", "ä" * 90, None, "12345678"]),
            "flag": pa.array([True, False, None, True]),
            "time": pa.array([start + second, None, landing, start], pa.timestamp("us")),
            "zone": pa.array([start, None, None, start], pa.timestamp("ms", "Europe/Berlin")),
            "day": pa.array([landing.date(), None, start.date(), None]),
            "span": pa.array([day, None, second, None]),
            "decimal": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-2.00"), None]),
            "list": pa.array([[1, 2], [], None, [3]]),
            "code": pa.array(["b", "a", None, "b"]).dictionary_encode(),
            "nothing": pa.nulls(4),
        }
    )


def test_a_fingerprint_saved_with_an_earlier_version_is_still_the_same() -> None:
    table = of_all_kinds()
    saved, now = SAVED.read_text(), fingerprint(table)
    assert Fingerprint.from_json(saved) == now
    assert json.loads(saved) == json.loads(now.to_json())
    assert merge(*(fingerprint(part) for part in (table[:2], table[2:]))) == now


def test_the_sample_has_the_smallest_hashes_of_any_pieces() -> None:
    numbers = np.arange(60_000) * 7919 % 59_999
    table = pa.table({"number": numbers, "few": numbers % 700, "text": numbers.astype(str)})
    whole = fingerprint(table)
    assert {len(column.sample) for column in whole.columns.values()} == {512}
    for rows in (300, 5_000):
        assert fingerprint(table.to_batches(rows)) == whole
    assert fingerprint(table.slice(0, 400)).columns["number"].distinct == 400
    assert fingerprint(table.slice(0, 511)).columns["number"].distinct == 511
    few = whole.columns["few"]
    assert few.distinct == round(511 * 2**64 / few.sample[-1]) == pytest.approx(700, rel=0.1)


def test_odd_tables() -> None:
    empty = fingerprint(people(0))
    assert empty.rows.count == 0
    assert list(empty.columns) == list(people(0).columns)
    assert compare(empty, empty).verdict == "identical"
    assert compare(empty, fingerprint(people(3))).verdict == "different"
    assert compare(fingerprint(people(3)), empty).verdict == "different"
    nothing = fingerprint(pd.DataFrame())
    assert compare(nothing, fingerprint([])).verdict == "identical"
    odd = pa.table(
        {
            "half": pa.array([1.5, None], pa.float16()),
            "fixed": pa.array([b"ab", None], pa.binary(2)),
            "view": pa.array(["ab", None], pa.string_view()),
            "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
            "interval": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
            "codes": pa.array(["a", None]).dictionary_encode(),
            "nothing": pa.nulls(2),
            "unsigned": pa.array([2**64 - 1, None], pa.uint64()),
            "far": pa.array(
                [datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC), None], pa.timestamp("us")
            ),
            "huge": pa.array([1e308, -1e308]),
            "time": pa.array([5, None], pa.time32("s")),
        }
    )
    print_ = fingerprint(odd)
    assert json.loads(print_.to_json())["digest"] == print_.digest
    assert compare(print_, fingerprint(odd.slice(1))).verdict == "different"
    assert compare(print_, Fingerprint.from_json(print_.to_json())).verdict == "identical"
    chunked = pa.concat_tables([odd.slice(1), odd.slice(0, 1)])
    assert fingerprint(chunked).digest == print_.digest


def test_no_texts_as_other_libraries_may_hand_them_over() -> None:
    none = pa.py_buffer(b"")
    bare = pa.Array.from_buffers(pa.large_string(), 0, [None, none, none])
    assert fingerprint(pa.table({"x": bare})) == fingerprint(pa.table({"x": bare.cast("string")}))


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="In one piece of the table a is integer, in another text"):
        merge(*(fingerprint(pa.table({"a": values})) for values in ([1], ["1"])))
    for text in ("", "[]", "{}", '{"format": 99}', '{"format": 1, "columns": {"a": 1}}'):
        with pytest.raises(UsageError) as caught:
            Fingerprint.from_json(text)
        assert str(caught.value) == ("This is no saved fingerprint that this version can read.")


# What is found, and what it is called


def one_value(frame: pd.DataFrame, column: str = "score", by: float = 0.01) -> pd.DataFrame:
    """Change one value in the middle."""
    values = frame[column].copy()
    values.iloc[len(frame) // 2] += by
    return frame.assign(**{column: values})


def repaired(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort one column on its own."""
    return frame.assign(score=np.sort(frame["score"]))


INJECTED = {
    "one value in a million": (one_value, {"values changed"}, {"score"}),
    "1 % of rows missing": (lambda f: f.sample(frac=0.99, random_state=3), {"rows lost"}, {None}),
    "file cut short": (lambda f: f.iloc[: int(len(f) * 0.9)], {"rows lost"},
                       {None, "customer_id"}),
    "float64 through float32": (lambda f: f.assign(score=f["score"].astype("f4").astype("f8")),
                                {"precision lost"}, {"score"}),
    "stored as float32": (lambda f: f.assign(score=f["score"].astype("f4")),
                          {"precision lost", "type changed"}, {"score"}),
    "rounded to 2 digits": (lambda f: f.assign(score=f["score"].round(2)),
                            {"precision lost"}, {"score"}),
    "number as text": (lambda f: f.assign(age=f["age"].astype(str)), {"type changed"}, {"age"}),
    "column gone": (lambda f: f.drop(columns="age"), {"column gone"}, {"age"}),
    "column renamed": (lambda f: f.rename(columns={"age": "years"}), {"column renamed"}, {"age"}),
    "rows duplicated": (lambda f: pd.concat([f, f.iloc[: len(f) // 50]]), {"rows duplicated"},
                        {None}),
    "category relabelled": (lambda f: f.assign(region=f["region"].replace("north", "North")),
                            {"category relabelled"}, {"region"}),
    "time zone shift": (lambda f: f.assign(since=f["since"] + pd.Timedelta(hours=2)),
                        {"time shifted"}, {"since"}),
    "columns swapped": (lambda f: f.assign(price=f["score"], score=f["price"]),
                        {"columns swapped"}, {"price", "score"}),
    "values re-paired between rows": (repaired, {"rows re-paired"}, {None}),
    "nulls filled with 0": (lambda f: f.assign(income=f["income"].fillna(0)), {"nulls filled"},
                            {"income"}),
    "nulls appeared": (lambda f: f.assign(age=f["age"].where(f.index != 7)),
                       {"nulls appeared", "type changed"}, {"age"}),
}  # fmt: skip


@pytest.mark.parametrize("injected", INJECTED)
def test_injected_difference_is_named(
    injected: str, table: pd.DataFrame, original: Fingerprint
) -> None:
    damage, kinds, columns = INJECTED[injected]
    result = compare(original, fingerprint(damage(table)))
    assert result.verdict == "different"
    assert {difference.kind for difference in result.differences} == kinds, describe(result)
    assert {difference.column for difference in result.differences} == columns, describe(result)
    for difference in result.differences:
        assert difference.a != difference.b
        assert difference.sentence in describe(result)


@pytest.mark.parametrize(
    ("column", "by"),
    [("score", 0.001), ("price", 1.005), ("price", 1), ("age", 1), ("customer_id", 2 * ROWS),
     ("since", pd.Timedelta(seconds=1)), ("since", pd.Timedelta(hours=1))],
)  # fmt: skip
def test_one_value_of_a_million_is_found_and_named(
    column: str, by: object, million: tuple[pd.DataFrame, Fingerprint]
) -> None:
    frame, before = million
    result = compare(before, fingerprint(one_value(frame, column, by)))
    assert result.verdict == "different"
    assert {(found.column, found.kind) for found in result.differences} == {
        (column, "values changed")
    }, describe(result)


@pytest.fixture(scope="module")
def million() -> tuple[pd.DataFrame, Fingerprint]:
    frame = people(ROWS)
    return frame, fingerprint(frame)


def test_rounding_of_a_million_is_found_and_named(
    million: tuple[pd.DataFrame, Fingerprint],
) -> None:
    frame, before = million
    result = compare(before, fingerprint(frame.assign(score=frame["score"].round(2))))
    assert {found.kind for found in result.differences} == {"precision lost"}, describe(result)


def test_rows_lost_and_values_changed_are_told_apart(
    table: pd.DataFrame, original: Fingerprint
) -> None:
    fewer = table.sample(frac=0.99, random_state=3)
    result = compare(original, fingerprint(fewer.assign(price=fewer["price"] * 2)))
    kinds = {(difference.column, difference.kind) for difference in result.differences}
    assert kinds == {(None, "rows lost"), ("price", "values changed")}


@pytest.mark.parametrize("value", [12_345_678.25, 1_767_225_600.125, 987_654_321_098.5])
def test_cents_of_large_numbers_count(value: float) -> None:
    """Nine digits would not reach them: balances in cents, times in seconds."""
    values = pd.DataFrame({"x": [value]})
    noisy = values * (1 + 2e-16)
    assert not noisy.equals(values)
    assert fingerprint(noisy).digest == fingerprint(values).digest
    assert compare(fingerprint(values), fingerprint(values + 0.01)).verdict != "identical"


def test_noise_of_arithmetic_is_within_tolerance(table: pd.DataFrame) -> None:
    half = table.assign(price=table["price"] + 5e-10 * table["price"].round(-1))
    noisy = half.assign(price=half["price"] * 3 / 3 * (1 + 2e-16))
    for x, y in ((table, table.assign(price=table["price"] * 3 / 3)), (half, noisy)):
        assert compare(fingerprint(x), fingerprint(y)).verdict != "different"
    halves = pd.DataFrame({"x": [1.2345678851, 2.0]})  # the tenth digit rounds up, then down
    result = compare(fingerprint(halves), fingerprint(halves - 2e-10))
    assert result.verdict == "equal within tolerance"
    assert result.differences[0].column == "x"


def test_values_equal_in_another_type_are_equal_within_tolerance() -> None:
    whole, floats = (fingerprint(pa.table({"x": pa.array([1, None], kind)}))
                     for kind in (pa.int64(), pa.float64()))  # fmt: skip
    result = compare(whole, floats)
    assert result.verdict == "equal within tolerance"
    assert [(d.statistic, d.a, d.b) for d in result.differences] == [("type", "integer", "float")]


def of(folder: Path, name: str, content: bytes) -> Fingerprint:
    """Return the fingerprint of a file of these bytes."""
    (folder / name).write_bytes(content)
    schema = pandera.DataFrameSchema({"id": pandera.Column(int), "weight": pandera.Column(float)})
    return fingerprint_of(str(folder / name), schema, str(folder))


def test_values_of_another_type_are_compared_as_they_came(tmp_path: Path) -> None:
    """As missing values they would all be alike."""
    text = b"id,weight\n1,2.5\n2,%s\n"
    known, *others = (
        of(tmp_path, f"{place}.CSV", text % word)
        for place, word in enumerate([b"12 kg", b"13 kg", b"NA", b"1"])
    )
    assert [compare(known, other).verdict for other in others] == ["different"] * 3
    assert known.columns["id"].type == "integer"
    assert others[1].columns["weight"].nulls == 1


@pytest.mark.parametrize(("name", "content"), [("a.csv", b"id,weight\n"), ("a.json", b"{\xe9}")])
def test_files_without_rows_or_of_other_bytes_are_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    with pytest.raises(UsageError, match=r"holds no rows|no saved fingerprint"):
        of(tmp_path, name, content)
