"""Rows keep their side: the definition's vectors, its invariances, the refusals and the leaks."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import PredefinedSplit

from slipway_template.training import hashing
from slipway_template.training.hashing import SAMPLE, content
from slipway_template.training.leaks import find_leaks
from slipway_template.training.splitting import (
    PARTS,
    Split,
    SplitSettings,
    buckets,
    folds,
    hash_keys,
    split,
)
from slipway_template.utils.errors import GateRefused, UsageError

STRATEGIES = ["key", "group", "time", "stratified"]
START = pd.Timestamp("2026-01-01")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def customers(rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(rows) + seed * 1_000_000,
            "customer": rng.integers(0, rows // 4, rows),
            "created": START + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="s"),
            "amount": rng.normal(size=rows),
            "kind": rng.choice(["a", "b", None], rows),
            "label": rng.choice(["no", "yes", "maybe"], rows, p=[0.9, 0.08, 0.02]),
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        ["a", "é", "", "a,b", "\x1f"],
        [0, -1, 2**63 - 1, 42, 7],
        [True, False, True, True, False],
        [date(2026, 1, day) for day in range(1, 6)],
        [NOON + timedelta(microseconds=step) for step in range(5)],
    ],
    ids=["text", "integers", "booleans", "dates", "timestamps"],
)
def test_hashes_are_the_same_with_and_without_duckdb(
    keys: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hashing.duckdb is not None
    frame = pd.DataFrame({"k": keys, "second": [3, 1, 4, 1, 5]})
    for chosen in (frame[["k"]], frame):
        with monkeypatch.context() as without:
            without.setattr(hashing, "duckdb", None)
            plain = hash_keys(chosen, "v1")
        np.testing.assert_array_equal(plain, hash_keys(chosen, "v1"))
        assert plain.dtype == np.uint32


def divide(
    frame: pd.DataFrame, strategy: str = "key", manifest: Path | None = None, **changed: Any
) -> Split:
    options = {"key": ["id"], "group": "customer", "time": "created", "target": "label"}
    options |= {"cuts": None}
    options = {name: changed.pop(name, value) for name, value in options.items()}
    return split(
        frame, settings=SplitSettings(strategy=strategy, **changed), manifest=manifest, **options
    )


def bucket(*parts: Any, seed: str = "v1") -> int:
    return int(buckets(hash_keys(pd.DataFrame([parts]), seed))[0])


def reference(seed: str, *texts: str) -> int:
    return int(hashlib.sha256("\x1f".join([seed, *texts]).encode()).hexdigest()[:8], 16)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["a"], 2038), ([42], 652), (["42"], 652), ([-1], 6529), (["é"], 5330), ([True], 9699),
        (["a", "b"], 6781), ([1, 23], 3654), ([12, 3], 8871),
    ],
)  # fmt: skip
def test_the_vectors_of_the_definition(parts: list[Any], expected: int) -> None:
    assert bucket(*parts) == expected


def test_another_seed_and_the_hash_behind_a_bucket() -> None:
    assert bucket(42, seed="v2") == 5314
    assert hash_keys(pd.DataFrame(["é"]), "v1").tolist() == [0x8877F4A7]
    assert hash_keys(pd.DataFrame(["é"]), "v1").dtype == np.uint32
    assert buckets(np.array([0, 2**32 - 1], dtype=np.uint32)).tolist() == [0, 9999]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ("x\0y", "x\0y"),
        ("long " * 50, "long " * 50),
        (2**64 - 1, "18446744073709551615"),
        (10**30, "1" + "0" * 30),
        (np.int8(-5), "-5"),
        (np.bool_(False), "false"),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31), "2026-01-31T00:00:00"),  # noqa: DTZ001
        (datetime(2026, 1, 31, 8, 0, 0, 120), "2026-01-31T08:00:00.000120"),  # noqa: DTZ001
        (pd.Timestamp("2026-01-31 08:00:00.000000999"), "2026-01-31T08:00:00"),
        (NOON, "2026-01-31T12:00:00+00:00"),
        (NOON.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-01-31T12:00:00+00:00"),
        (pd.Timestamp("2026-01-31 13:00", tz="Europe/Berlin"), "2026-01-31T12:00:00+00:00"),
    ],
)
def test_the_text_of_a_value_alone_and_among_others(value: Any, text: str) -> None:
    alone = pd.DataFrame({"k": pd.Series([value])})
    mixed = pd.DataFrame({"k": pd.Series(["x", value, 7, True], dtype=object)})

    assert hash_keys(alone, "v1")[0] == reference("v1", text)
    assert hash_keys(mixed, "v1").tolist() == [reference("v1", t) for t in ("x", text, "7", "true")]


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ([3, 1, 2, 1], ["int64", "int8", "uint16", "uint64", "Int64", "UInt8", "object"]),
        ([3, 1, 2, 1], ["int64", "category", "str", "int64[pyarrow]"]),
        ([True, False, True], ["bool", "boolean", "object", "category", "bool[pyarrow]"]),
        (["b", "é", "b", ""], ["str", "string", "object", "category"]),
        (["b", "é", "b", ""], ["str", "string[pyarrow]", "string[python]"]),
        ([START, START + timedelta(hours=8)], [*(f"datetime64[{u}]" for u in ("ns", "us", "s"))]),
        ([START, START + timedelta(hours=8)], ["datetime64[us]", "object", "category"]),
        ([date(2026, 1, 31), date(2026, 2, 1)], ["object", "category", "date32[pyarrow]"]),
        (
            [NOON, NOON + timedelta(microseconds=5)],
            ["datetime64[us, UTC]", "datetime64[ns, Asia/Tokyo]", "object"],
        ),
    ],
)  # fmt: skip
def test_the_type_that_stores_a_key_does_not_matter(values: list[Any], types: list[str]) -> None:
    stored = [pd.Series(values, dtype=object).astype(name) for name in types]
    hashes = [hash_keys(pd.DataFrame({"k": column}), "v1").tolist() for column in stored]

    assert hashes == [hashes[0]] * len(types)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", None], "key column 'k': row 1 (the first is 0) is empty"),
        (pd.array([1, 2, None], dtype="Int64"), "key column 'k': row 2 (the first is 0) is empty"),
        (pd.to_datetime(["2026-01-01", None]), "row 1 (the first is 0) is empty"),
        (pd.Categorical(["a", None]), "row 1 (the first is 0) is empty"),
        ([1.0, 2.0], "key column 'k': row 0 (the first is 0) is 1.0, and a key is text"),
        ([1.0, np.nan], "row 1 (the first is 0) is empty"),
        (["a", 7, 1.5], "key column 'k': row 2 (the first is 0) is 1.5, and a key is text"),
        (pd.Categorical([2.5, 2.5]), "row 0 (the first is 0) is 2.5, and"),
        ([b"a"], "row 0 (the first is 0) is b'a', and"),
        ([Decimal(1)], "row 0 (the first is 0) is 1, and"),
        ([("a", "b")], "row 0 (the first is 0) is ('a', 'b'), and"),
        ([], "there are no rows to split"),
    ],
)
def test_what_is_no_key_is_refused_with_its_column_and_row(values: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        hash_keys(pd.DataFrame({"k": pd.Series(values)}), "v1")

    assert message in str(caught.value)


values = st.one_of(st.text(), st.integers(), st.booleans(), st.dates(), st.datetimes())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values), min_size=1, max_size=20), st.text(min_size=1))
def test_any_key_hashes_as_the_definition_says(keys: list[tuple[Any, Any]], seed: str) -> None:
    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return value.isoformat() if isinstance(value, date) else str(value)

    frame = pd.DataFrame({i: pd.Series([key[i] for key in keys], dtype=object) for i in (0, 1)})

    assert hash_keys(frame, seed).tolist() == [reference(seed, *map(text, key)) for key in keys]


def test_many_repeated_keys_hash_as_each_one_alone() -> None:
    rng = np.random.default_rng(0)
    rows = 3 * SAMPLE
    frame = pd.DataFrame(
        {"a": rng.integers(0, 30, rows), "b": rng.integers(0, 30, rows).astype(str)}
    )
    known = {(a, str(b)): reference("v1", str(a), str(b)) for a in range(30) for b in range(30)}

    expected = [known[pair] for pair in zip(frame["a"], frame["b"], strict=True)]
    assert hash_keys(frame, "v1").tolist() == expected


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["key", "group", "no key"]), st.integers(0, 2**32 - 1), st.data())
def test_a_row_stays_whatever_happens_to_the_others(
    how: str, seed: int, data: st.DataObject
) -> None:
    frame = customers(300)
    options = {"strategy": "key", "key": []} if how == "no key" else {"strategy": how}
    before = divide(frame, **options).part
    kept = frame.sample(data.draw(st.integers(150, 300)), random_state=seed)
    added = customers(data.draw(st.integers(4, 50)), seed=1)

    after = divide(pd.concat([added, kept]), **options).part.iloc[len(added) :]

    assert after.to_dict() == before[kept.index].to_dict()


@pytest.mark.parametrize("key", [["id"], ["customer"], []])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rows_come_in_one_order_from_any_order(strategy: str, key: list[str]) -> None:
    frame = customers()
    frame = pd.concat([frame, frame.head(50)], ignore_index=True)  # the same content twice
    shuffled = frame.sample(frac=1, random_state=1)
    one, other = (divide(f, strategy, key=key) for f in (frame, shuffled))

    for name in PARTS:
        rows = one.rows(name)
        pd.testing.assert_frame_equal(
            rows.reset_index(drop=True), other.rows(name).reset_index(drop=True)
        )
        assert set(rows.index) == set(one.part.index[one.part == name])
        assert (np.diff(one.h[rows.index].astype(np.int64)) >= 0).all()
    assert one.counts == other.counts
    assert sum(one.counts.values()) == len(frame)
    assert one.part.index.equals(frame.index)


def test_shares_are_near_what_was_asked() -> None:
    whole = divide(customers(40_000), validation=0.1, test=0.2)
    assert whole.counts["validation"] == pytest.approx(4000, rel=0.06)
    assert whole.counts["test"] == pytest.approx(8000, rel=0.06)


@pytest.mark.parametrize("strategy", ["key", "group", "stratified"])
def test_another_seed_is_another_split(strategy: str) -> None:
    one, other = (divide(customers(), strategy, seed=seed).part for seed in ("v1", "v2"))
    assert 0.2 < (one.astype("str") != other.astype("str")).mean() < 0.7


def test_a_row_without_key_is_known_by_its_values_and_not_by_its_target() -> None:
    frame = customers(200).assign(n=1)
    retyped = frame.assign(
        n=pd.array([1.0] * 200, dtype="Float64"),
        kind=frame["kind"].astype("category"),
        created=frame["created"].astype("datetime64[ns]"),
    )[frame.columns[::-1]]
    relabelled = frame.assign(label="no")

    part = divide(frame, key=[]).part
    assert divide(retyped, key=[]).part.tolist() == part.tolist()
    assert divide(relabelled, key=[]).part.tolist() == part.tolist()
    assert content(pd.DataFrame({"x": [0.0]})) == content(pd.DataFrame({"x": [-0.0]}))


def test_group_keeps_an_entity_together() -> None:
    frame = customers()
    whole = divide(frame, "group")
    assert whole.part.groupby(frame["customer"]).nunique().max() == 1
    assert find_leaks(frame, whole, group="customer", time=None, inputs=["amount"]) == []


@pytest.mark.parametrize("as_what", ["timestamp", "objects", "zone", "zones", "date", "integer"])
def test_time_tests_on_the_newest_rows_and_later_rows_move_nobody(
    as_what: str, tmp_path: Path
) -> None:
    change: dict[str, Callable[[pd.Series], Any]] = {
        "timestamp": lambda t: t,
        "objects": lambda t: t.astype(object),
        "zone": lambda t: t.dt.tz_localize("Europe/Berlin"),
        "zones": lambda t: [
            moment.tz_localize("UTC").tz_convert(zone)
            for moment, zone in zip(t, itertools.cycle(["Europe/Berlin", "Asia/Tokyo"]))
        ],
        "date": lambda t: t.dt.date,
        "integer": lambda t: t.astype("int64"),
    }
    frame, later = customers(), customers(seed=1)
    later["created"] += pd.Timedelta(days=30)
    for table in (frame, later):
        table["created"] = change[as_what](table["created"])
    manifest = tmp_path / "very" / "deep" / "split.json"

    first = divide(frame, "time", manifest)
    both = pd.concat([later, frame], ignore_index=True)
    second = divide(both, "time", manifest)

    ends = frame["created"].groupby(first.part, observed=True).agg(["min", "max"])
    assert ends["max"]["train"] < ends["min"]["validation"]
    assert ends["max"]["validation"] < ends["min"]["test"]
    if as_what != "date":  # days are not divided
        assert first.counts == {"train": 2100, "validation": 450, "test": 450}
    assert second.part.iloc[len(later) :].tolist() == first.part.tolist()
    assert set(second.part.iloc[: len(later)]) == {"test"}
    assert [path.name for path in manifest.parent.iterdir()] == ["split.json"]
    again = divide(both, "time", tmp_path / "none.json", cuts=first.cuts)
    assert again.part.equals(second.part)
    assert not (tmp_path / "none.json").exists()


def test_stratified_has_exact_shares_and_later_rows_move_nobody(tmp_path: Path) -> None:
    frame, later = customers(), customers(seed=1)
    later.loc[later["label"] == "maybe", "label"] = "new"
    manifest = tmp_path / "split.json"

    first = divide(frame, "stratified", manifest)
    both = pd.concat([later, frame], ignore_index=True)
    second = divide(both, "stratified", manifest)

    for _, part in first.part.groupby(frame["label"]):
        assert (part == "test").sum() == round(0.15 * len(part))
        assert (part != "train").sum() == round(0.3 * len(part))
    assert second.part.iloc[len(later) :].tolist() == first.part.tolist()
    # Where a class is rare its first cut is coarse, but later rows still reach every part.
    assert all((second.part[both["label"] == name] == "test").any() for name in ("maybe", "new"))
    assert json.loads(manifest.read_text())["cuts"]["strata"].keys() == {
        "maybe",
        "new",
        "no",
        "yes",
    }
    assert divide(both, "stratified", manifest).part.equals(second.part)


def test_stratified_divides_a_number_by_bins_that_stay(tmp_path: Path) -> None:
    frame, later = customers(), customers(seed=1)
    later["amount"] += 5
    manifest = tmp_path / "split.json"

    first = divide(frame, "stratified", manifest, target="amount")
    second = divide(pd.concat([frame, later]), "stratified", manifest, target="amount")

    tenths = pd.qcut(frame["amount"], 10)
    assert (pd.crosstab(tenths, first.part)["test"] == 45).all()
    assert second.part.iloc[: len(frame)].tolist() == first.part.tolist()


def test_the_manifest_of_time_says_from_when(tmp_path: Path) -> None:
    manifest = tmp_path / "split.json"
    days = pd.DataFrame({"id": range(20), "created": pd.date_range("2026-01-01", periods=20)})
    divide(days, "time", manifest, target=None)
    kept = {
        "made_with": {
            "strategy": "time", "seed": "v1", "validation": 0.15, "test": 0.15,
            "key": ["id"], "column": "created",
        },
        "cuts": {
            "test_from": "2026-01-18T00:00:00.000000",
            "validation_from": "2026-01-15T00:00:00.000000",
        },
    }  # fmt: skip
    assert manifest.read_text() == json.dumps(kept, indent=2) + "\n"


def test_cuts_hold_where_later_numbers_are_stored_smaller(tmp_path: Path) -> None:
    frame = customers(300)
    frame["created"] = np.arange(300)
    first = divide(frame, "time", tmp_path / "split.json")
    small = frame.head(100).astype({"created": "int8"})
    assert set(divide(pd.concat([small, frame]), "time", tmp_path / "split.json").part) == {*PARTS}
    with pytest.raises(UsageError, match=r"would be empty with the cuts kept in .*split\.json"):
        divide(small, "time", tmp_path / "split.json")
    assert first.part.iloc[0] == "train"


def test_the_manifest_of_classes_cuts_near_the_plain_share(tmp_path: Path) -> None:
    frame, manifest = customers(), tmp_path / "split.json"
    whole = divide(frame, "stratified", manifest)
    text = manifest.read_text()
    manifest.unlink()
    divide(frame.sample(frac=1, random_state=0), "stratified", manifest)
    assert manifest.read_text() == text  # so that git sees no change
    cuts = json.loads(text)["cuts"]
    assert cuts["edges"] == []
    for name, rows in frame.groupby("label").indices.items():
        ordered = sorted(whole.h[rows].tolist())
        for cut, share in zip(cuts["strata"][name], (0.15, 0.3), strict=True):
            below = round(share * len(rows))
            assert cut == np.clip(round(share * 2**32), ordered[below - 1] + 1, ordered[below])

    frame["label"] = "new"
    divide(frame, "stratified", manifest)
    cuts = json.loads(manifest.read_text())["cuts"]
    assert cuts["strata"]["new"] == [round(0.15 * 2**32), round(0.3 * 2**32)]


@pytest.mark.parametrize("distinct", [20, 21])
def test_a_number_of_few_values_has_classes_one_of_many_has_bins(
    distinct: int, tmp_path: Path
) -> None:
    manifest = tmp_path / "split.json"
    frame = customers().assign(label=np.arange(3000) % distinct / 2)
    whole = divide(frame, "stratified", manifest)
    cuts = json.loads(manifest.read_text())["cuts"]
    lowest = whole.part[frame["label"] < (1 if distinct == 21 else 0.5)]
    assert (lowest == "test").sum() == round(0.15 * len(lowest))
    classes = {f"{value / 2:g}" for value in range(20)}
    assert cuts["strata"].keys() == (
        classes if distinct == 20 else {f"bin {number}" for number in range(10)}
    )
    assert cuts["edges"] == (list(range(1, 10)) if distinct == 21 else [])


@pytest.mark.parametrize("types", [("int64", "float64"), ("bool", "int64"), ("str", "category")])
def test_a_class_is_the_same_however_it_is_stored(types: tuple[str, str], tmp_path: Path) -> None:
    frame = customers().assign(label=np.arange(3000) % 2)
    one, other = (
        divide(frame.astype({"label": name}), "stratified", tmp_path / "m.json") for name in types
    )
    assert one.part.tolist() == other.part.tolist()


def test_bins_are_the_same_however_a_number_is_stored(tmp_path: Path) -> None:
    frame = customers().astype({"amount": "float32"})
    for name in ("float32", "float64", "Float64"):
        manifest = tmp_path / f"{name}.json"
        divide(frame.astype({"amount": name}), "stratified", manifest, target="amount")
        assert manifest.read_text() == (tmp_path / "float32.json").read_text()


def test_a_rare_class_is_cut_near_the_plain_share() -> None:
    frame = customers().assign(label=["rare", *["common"] * 2999])
    assert divide(frame, "stratified").part[0] in PARTS


def test_other_settings_than_the_manifests_are_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "split.json"
    divide(customers(), "time", manifest)
    before = manifest.read_text()

    for changed, words in [
        ({"test": 0.2}, "test: 0.15 then, 0.2 now"),
        ({"seed": "v2"}, "seed: 'v1' then, 'v2' now"),
        (
            {"strategy": "stratified"},
            "strategy: 'time' then, 'stratified' now; column: 'created' then, 'label' now",
        ),
        ({"time": "id"}, "column: 'created' then, 'id' now"),
        ({"key": ["customer"]}, "key: ['id'] then, ['customer'] now"),
    ]:
        with pytest.raises(GateRefused) as caught:
            divide(customers(), **{"strategy": "time", **changed}, manifest=manifest)
        assert str(caught.value) == (
            f"split: {manifest} was made with other settings ({words}), and the new ones would "
            "move rows between train and test. To do that on purpose, delete the file"
        )

    divide(customers(), "time", manifest, folds=7)  # folds are no matter of the parts
    assert manifest.read_text() == before
    for nonsense in ("{", "[]", "{}", '{"made_with": {}}', '{"made_with": 1, "cuts": {}}'):
        manifest.write_text(nonsense)
        with pytest.raises(UsageError) as wrong:
            divide(customers(), "time", manifest)
        assert str(wrong.value) == f"{manifest} is no split manifest: delete it to make a new one"


def test_a_refused_split_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train and validation would be empty.*\[split\]"):
        divide(customers().assign(created=pd.Timestamp("2026-01-01")), "time", tmp_path / "m.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_too_little_data_is_refused_with_a_way_out(strategy: str) -> None:
    with pytest.raises(UsageError) as caught:
        divide(customers(8).head(2), strategy)
    empty, told = str(caught.value).split(" would be empty: ")
    assert empty in {"validation", "validation and test", "test"}
    assert told == (
        "2 rows are too few, or too alike, for validation = 0.15 and test = 0.15. Add rows, raise "
        "the shares, or change strategy or seed in [split]"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"strategy": "group", "group": None},
            "strategy 'group' needs a group column: name it in [data]",
        ),
        (
            {"strategy": "time", "time": None},
            "strategy 'time' needs a time column: name it in [data]",
        ),
        (
            {"strategy": "stratified", "target": None},
            "strategy 'stratified' needs a target column: name it in [data]",
        ),
        (
            {"key": ["ID"]},
            "there is no column 'ID', only id, customer, created, amount, kind, label",
        ),
        (
            {"strategy": "time", "time": "label"},
            "time column 'label' holds str: declare it as a date, a timestamp or an integer in "
            "schema.py",
        ),
        (
            {"strategy": "time", "time": "amount"},
            "time column 'amount' holds float64: declare it as a date, a timestamp or an integer "
            "in schema.py",
        ),
        ({"strategy": "time", "time": "gap"}, "time column 'gap': row 1 (the first is 0) is empty"),
        (
            {"strategy": "stratified", "target": "gap"},
            "target column 'gap': row 1 (the first is 0) is empty",
        ),
    ],
)
def test_wrong_roles_are_refused(options: dict[str, Any], message: str) -> None:
    gap = [START, None, *[START] * 2998]
    with pytest.raises(UsageError) as caught:
        divide(customers().assign(gap=gap), **options)
    assert str(caught.value).replace(", gap", "") == message


@pytest.mark.parametrize(
    "nonsense",
    [
        {"test": 0}, {"test": -0.1}, {"validation": 1}, {"test": 0.6, "validation": 0.4},
        {"folds": 1}, {"seed": ""}, {"strategy": "random"}, {"shuffle": True},
        {"test": float("nan")},
    ],
)  # fmt: skip
def test_settings_refuse_nonsense(nonsense: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        SplitSettings(**nonsense)


def test_auto_follows_the_roles() -> None:
    auto = SplitSettings()
    assert [auto.resolve("g", "t"), auto.resolve(None, "t"), auto.resolve(None, None)] == [
        "group",
        "time",
        "key",
    ]
    roles = [{}, {"group": None}, {"group": None, "time": None}]
    found = [divide(customers(), "auto", **missing).strategy for missing in roles]
    assert found == ["group", "time", "key"]


def test_folds_are_stable_even_and_keep_entities_together() -> None:
    frame = customers(6000)
    options = {"key": ["id"], "settings": SplitSettings(folds=4)}
    fold = folds(frame, **options)
    shuffled = frame.sample(frac=1, random_state=0)

    assert (folds(shuffled, **options) == fold[shuffled.index]).all()
    assert np.bincount(fold) == pytest.approx([1500] * 4, rel=0.1)
    together = pd.Series(folds(frame, **options, group="customer")).groupby(frame["customer"])
    assert together.nunique().max() == 1
    # Another seed than the split's: each part has rows of every fold.
    assert (pd.crosstab(divide(frame).part, fold) > 0).all(axis=None)
    for train, test in PredefinedSplit(fold).split():
        assert not set(train) & set(test)
        assert len(train) + len(test) == len(frame)
    assert fold.dtype == np.int64
    other = folds(frame, key=["id"], settings=SplitSettings(folds=4, seed="v2"))
    assert (pd.crosstab(fold, other) > 0).all(axis=None)
    unkeyed = [
        folds(f, key=[], settings=SplitSettings(), target="label")
        for f in (frame, frame.assign(label="no"))
    ]
    assert (unkeyed[0] == unkeyed[1]).all()
    for rows in (3, 6):
        with pytest.raises(UsageError) as caught:
            folds(frame.head(rows), **options)
        assert str(caught.value) == (
            f"{rows} rows are too few, or too alike, for 4 folds: lower folds in [split]"
        )


def test_leaks_name_the_entity_and_both_sides() -> None:
    frame = customers(400).assign(customer=4711)
    by_key = divide(frame)
    (leak,) = find_leaks(frame, by_key, group="customer", time=None, inputs=[])
    assert leak.kind == "entity"
    assert leak.rows == 400
    assert "customer 4711 is on both sides of the split (train, validation, test)" in leak.message
    assert 'strategy = "group"' in leak.message
    assert find_leaks(frame, by_key, group=None, time=None, inputs=[]) == []


def test_rows_without_an_entity_are_no_leak() -> None:
    frame = customers(400).assign(customer=None)
    assert find_leaks(frame, divide(frame), group="customer", time=None, inputs=[]) == []


def test_leaks_name_twins_by_their_key_in_any_order() -> None:
    frame = customers(400)
    twins = frame.head(40).assign(id=frame["id"].head(40) + 1000)
    frame = pd.concat([frame, twins], ignore_index=True)
    shuffled = frame.sample(frac=1, random_state=0)
    one, other = (
        find_leaks(f, divide(f), group=None, time=None, inputs=["amount", "kind"])
        for f in (frame, shuffled)
    )

    part = divide(frame).part
    apart = (part[:40].to_numpy() != part[400:].to_numpy()).sum()
    (leak,) = one
    assert one == other
    assert (leak.kind, leak.rows) == ("inputs", 2 * apart)
    assert "have the same inputs on both sides of the split" in leak.message
    assert leak.message.startswith("id ")


def test_leaks_tell_when_training_knows_the_future() -> None:
    frame = customers()
    by_time = divide(frame, "time")
    assert find_leaks(frame, by_time, group=None, time="created", inputs=[]) == []
    newest = int(frame["created"].argmax())
    part = by_time.part.copy()
    part.iloc[newest] = "train"

    (leak,) = find_leaks(
        frame, dataclasses.replace(by_time, part=part), group=None, time="created", inputs=[]
    )
    assert (leak.kind, leak.rows) == ("time", 1)
    assert leak.message.startswith(
        f"train knows the future: it has rows up to {frame['created'].max()}"
    )
