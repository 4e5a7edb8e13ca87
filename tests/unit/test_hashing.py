"""Hashes of keys and rows: the same whatever type, zone or way of counting brought them there."""

import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slipway_template.training import hashing
from slipway_template.training.hashing import content, hash_keys
from slipway_template.utils.errors import UsageError

FEW = hashing.SAMPLE
"""As many rows as are looked at to guess whether keys repeat."""


@pytest.fixture(params=["duckdb", "hashlib"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With DuckDB or without it; nothing is hashed by it here."""
    monkeypatch.setattr(hashing, "duckdb", object() if request.param == "duckdb" else None)
    return str(request.param)


def each(times: int, rows: int) -> pd.Series:
    """Whole numbers, each of which stands as many times, mixed."""
    numbers = np.arange(rows) // times
    return pd.Series(np.random.default_rng(5).permutation(numbers))


def named(*columns: Any) -> pd.DataFrame:
    return pd.DataFrame({f"k{place}": column for place, column in enumerate(columns)})


@pytest.mark.parametrize(
    ("times", "rows", "repeated"),
    [
        (1, 10 * FEW, False),
        (3, 10 * FEW, False),
        (5, 10 * FEW, True),
        (10, 10 * FEW, True),
        (FEW, 3 * FEW, True),
        (FEW, FEW - 1, False),
    ],
)
@pytest.mark.usefixtures("engine")
def test_numbers_are_found_to_repeat_from_four_times_on(
    times: int, rows: int, repeated: bool
) -> None:
    assert hashing._are_repeated(named(each(times, rows))) is repeated


def test_numbers_that_stand_four_and_five_times_repeat(engine: str) -> None:
    half = 10 * FEW
    both = pd.concat([each(4, half), each(5, half) + half], ignore_index=True)
    assert hashing._are_repeated(named(both)), engine


def test_texts_that_repeat_are_found_only_where_they_are_hashed_here(engine: str) -> None:
    texts = each(10, 10 * FEW).astype(str)
    assert hashing._are_repeated(named(texts)) == (engine == "hashlib")
    assert not hashing._are_repeated(named(texts, texts))


@pytest.mark.parametrize("repeated", [True, False])
def test_keys_that_repeat_are_hashed_once(monkeypatch: pytest.MonkeyPatch, repeated: bool) -> None:
    hashed: list[int] = []

    def hash_texts(keys: pd.DataFrame, seed: str) -> np.ndarray:
        hashed.append(len(keys))
        return whole(keys, seed)

    whole = hashing._hash_texts
    monkeypatch.setattr(hashing, "duckdb", None)
    monkeypatch.setattr(hashing, "_hash_texts", hash_texts)
    times = 10 if repeated else 1
    keys = named(each(times, 10 * FEW))
    assert (hash_keys(keys, "seed") == whole(keys, "seed")).all()
    assert hashed == [10 * FEW // times]


def test_duckdb_hashes_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_hash_texts", lambda *_: "hashlib")
    monkeypatch.setattr(hashing, "_hash_in_duckdb", lambda *_: "duckdb")
    for installed, by in (object(), "duckdb"), (None, "hashlib"):
        monkeypatch.setattr(hashing, "duckdb", installed)
        assert hash_keys(named([1, 2]), "seed") == by


@pytest.mark.parametrize(
    ("keys", "distinct"),
    [
        ([7, 3, 7, 5], [3, 5, 7]),  # close together: ticked off, so in order
        ([1_001, 1_000, 1_001], [1_000, 1_001]),
        ([-4, 11, -4, 3], [-4, 3, 11]),
        ([-4, 12, -4, 3], [-4, 12, 3]),  # as wide as four times the rows: as they came
        ([2**63 - 1, -(2**63), 0], [2**63 - 1, -(2**63), 0]),
        (["b", "a", "b"], ["b", "a"]),
    ],
)
def test_distinct_keys_and_where_each_row_has_its_own(keys: list[Any], distinct: list[Any]) -> None:
    places, values = hashing._distinct(pd.Series(keys))
    assert list(values) == ["k0"]
    assert values["k0"].tolist() == distinct
    assert values["k0"].iloc[places].tolist() == keys


def test_places_of_many_rows_take_four_bytes_each() -> None:
    places, _ = hashing._distinct(pd.Series([3, 4, 3], dtype="int64"))
    assert places.dtype == np.uint32


@pytest.mark.parametrize(
    ("stored", "plain"),
    [("int8", "int64"), ("Int64", "int64"), ("uint32", "uint64"), ("UInt64", "uint64")],
)
def test_whole_numbers_stay_numbers_of_full_width(stored: str, plain: str) -> None:
    assert hashing._plain(pd.Series([1, 2], dtype=stored)).dtype == plain


def test_text_stays_as_it_is() -> None:
    texts = pd.Series(["a", "b"], index=[7, 8], dtype="str")
    assert isinstance(found := hashing._plain(texts), pd.Series)
    assert found.dtype == texts.dtype
    assert found.index.tolist() == [0, 1]


def test_each_value_is_put_into_words_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[object] = Counter()
    text = hashing._text

    def counted(value: object) -> str | None:
        seen[value] += 1
        return text(value)

    monkeypatch.setattr(hashing, "_text", counted)
    days = pd.to_datetime(pd.Series(["2026-01-31", "2026-02-01"] * 500))
    assert hashing._plain(days)[:2].tolist() == ["2026-01-31T00:00:00", "2026-02-01T00:00:00"]
    assert set(seen.values()) == {1}


def test_one_and_true_are_two_keys() -> None:
    mixed = pd.Series([1, True, date(2026, 1, 31)], dtype=object)
    assert hashing._plain(mixed).tolist() == ["1", "true", "2026-01-31"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_moment_has_one_name_in_every_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = datetime(2026, 1, 31, 17, 0, 0, 5, tzinfo=timezone(timedelta(hours=9)))
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert hashing._text(there) == "2026-01-31T08:00:00.000005+00:00"
        assert hashing._text(there.replace(tzinfo=None)) == "2026-01-31T17:00:00.000005"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_rows_can_not_be_split() -> None:
    with pytest.raises(UsageError) as caught:
        hash_keys(named([]), "seed")
    assert str(caught.value) == "there are no rows to split"


@pytest.mark.parametrize(
    "alike",
    [
        [pd.Series([0.0, 1.0]), pd.Series([-0.0, 1.0]), pd.Series([0, 1]),
         pd.Series([False, True])],
        [pd.Series([1.0, np.nan]), pd.Series([1, None], dtype="Int64"),
         pd.Series([True, None], dtype="boolean"), pd.Series([1.0, None], dtype="Float32")],
        [pd.Series(["a", None], dtype="str"), pd.Series(["a", None], dtype=object),
         pd.Series(["a", np.nan], dtype=object), pd.Series(["a", None], dtype="category")],
        [pd.to_datetime(pd.Series(["2026-01-31 08:00", None])),
         pd.to_datetime(pd.Series(["2026-01-31 08:00", None])).dt.as_unit("ns"),
         pd.Series([datetime(2026, 1, 31, 8, tzinfo=UTC), None]).dt.tz_convert("Asia/Tokyo")],
    ],
)  # fmt: skip
def test_content_is_the_same_whatever_type_holds_it(alike: list[pd.Series]) -> None:
    first, *others = (content(pd.DataFrame({"x": column})).tolist() for column in alike)
    assert len(set(first)) == 2
    assert others == [first] * len(others)
