"""Monitoring: what is chance or noise raises no alarm, what is neither does."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from slipway_template.data.profile import Profile, distribution
from slipway_template.monitoring.alarms import of_columns
from slipway_template.monitoring.drift import shift
from slipway_template.monitoring.outcomes import take_in
from slipway_template.monitoring.window import Window
from slipway_template.service.journal import Entry, Journal, new_id
from slipway_template.service.tally import Tally, _of_entries
from slipway_template.utils.config import Monitoring, Roles
from slipway_template.utils.errors import UsageError

RULES = Monitoring()


@pytest.mark.parametrize(
    "shared",
    [
        1 / (1 + np.exp(-np.linspace(-2, 1, 16))),  # few different answers
        np.r_[[1e-9, 1 - 1e-9], np.linspace(0.1, 0.9, 40)],  # saturated ones
        1e6 + np.arange(20) ** 2,
        [0.3],
    ],
)
def test_answers_in_single_precision_fall_into_the_same_bins(shared: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    answers = pd.Series(rng.choice(np.asarray(shared), 5_000))
    reference = distribution(answers, "number")
    for noisy in (answers.astype("float32"), answers * (1 + 4e-7), answers * (1 - 4e-7)):
        assert reference.count(noisy).tolist() == reference.counts


def test_an_empty_text_is_missing_to_monitoring_as_it_is_to_the_model() -> None:
    number, text = pd.Series([0.0, 1.0]), pd.Series(["a", "b"])
    some = distribution(number, "number")
    profile = Profile(
        columns={"area": distribution(text, "category")}, answer=some, label=None, target=some
    )
    asked = [
        Entry("i", 0, 1, "onnx", "champion", None, f'{{"area":"{area}"}}', "0", None)
        for area in ("a", "")
    ]
    missing = profile.columns["area"].count(pd.Series([None, "a"])).tolist()
    assert _of_entries(profile, 1, asked).counts["area"] == missing


def test_bins_of_many_different_values_hold_what_their_quantiles_say() -> None:
    values = pd.Series(np.random.default_rng(0).lognormal(sigma=3, size=100_000))
    shares = np.array(distribution(values, "number").counts)[:-2] / len(values)
    assert shares == pytest.approx([0.005, 0.045, *[0.05] * 18, 0.045, 0.005], abs=1e-3)


def test_an_outer_bin_that_was_full_in_training_is_no_tail() -> None:
    flags = distribution(pd.Series([0.0, 1.0] * 500), "number")
    assert shift("flag", flags, np.array([0, 500, 500, 0, 0]), RULES).tail == 0


def told_of(kind: str, usual: pd.Series, now: pd.Series) -> list[str]:
    """Return what alarms of one kind say of two columns alike."""
    part = distribution(usual, "category")
    profile = Profile(columns={"one": part, "two": part}, answer=part, label=None, target=part)
    counts = {name: part.count(now).tolist() for name in profile.columns}
    window = Window([Tally(version=1, rows=len(now), counts=counts)], profile, 1)
    found = of_columns(profile, window, window, [], RULES)
    return [what for one, what in found if one == kind]


def test_a_rare_flag_may_stay_away_by_chance_but_not_for_long() -> None:
    rare = pd.Series([True] * 50 + [False] * 9_950)
    assert told_of("silence", rare, pd.Series([False] * 200)) == []
    assert len(told_of("silence", rare, pd.Series([False] * 5_000))) == 2
    assert "is true in all" in told_of("silence", rare, pd.Series([True] * 200))[0]


def test_the_most_common_of_many_values_may_be_less_common_in_other_rows() -> None:
    rows = pd.Series(np.random.default_rng(0).integers(300, size=21_000)).astype("str")
    assert told_of("unseen", rows[:14_000], rows[14_000:]) == []


def test_a_value_that_never_changed_is_silent_only_where_it_is_another() -> None:
    constant = pd.Series([False] * 1_000)
    assert told_of("silence", constant, constant) == []
    assert len(told_of("silence", constant, pd.Series([None] * 300, dtype=object))) == 2


def test_rare_values_and_gaps_may_be_more_by_chance_but_not_by_far() -> None:
    rng = np.random.default_rng(0)
    usual = pd.Series(rng.integers(0, 200, 1_000)).astype("string")  # beyond the 50 most common
    gaps = usual.mask(rng.random(1_000) < 0.3)
    for _ in range(50):
        assert told_of("unseen", usual, usual.sample(300, random_state=rng)) == []
        assert told_of("missing", gaps, gaps.sample(300, random_state=rng)) == []
    new = usual.mask(rng.random(1_000) < 0.5, "new")
    assert "were rare" in told_of("unseen", usual, new)[0]
    assert len(told_of("missing", gaps, gaps.mask(usual < "150"))) == 2
    few = pd.Series(["a", "b"] * 500)
    assert "training never saw" in told_of("unseen", few, pd.Series(["a"] * 280 + ["c"] * 20))[0]


def test_the_same_rows_again_count_once_and_other_rows_count() -> None:
    rng = np.random.default_rng(0)
    values = pd.Series(rng.normal(size=14_000))
    part = distribution(values, "number")
    profile = Profile(columns={"x": part}, answer=part, label=None, target=part)

    def compared(step: int) -> tuple[int, float]:
        """Return what counts of seven nightly runs on 300 rows, of which `step` are others."""
        nights = [values[night * step : night * step + 300] for night in range(7)]
        told = [{"x": part.count(rows).tolist()} for rows in nights]
        window = Window([Tally(version=1, rows=300, counts=one) for one in told], profile, 1)
        return window.compared, window.counts["x"].sum()

    assert compared(0) == (300, pytest.approx(300))
    assert 300 < compared(3)[0] < 600
    assert compared(300) == (2_100, 2_100)


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """Take in lines of outcomes for three predictions, the first of them old."""
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}", 365)
    now = time.time()
    names = [new_id(when) for when in (now - 9e5, now, now)]
    journal.write(
        [
            Entry(name, now, 1, "onnx", "champion", f"{n}", "{}", "true", '{"true":1.0}')
            for n, name in enumerate(names)
        ]
    )
    schema = pa.DataFrameSchema({"key": pa.Column(int), "late": pa.Column(bool)})

    def told(*lines: str) -> dict[str, int]:
        (tmp_path / "late.csv").write_text("\n".join(lines))
        roles = Roles(target="late", key=["key"])
        return take_in(str(tmp_path / "late.csv"), schema, roles, journal, now - 8e5)

    return SimpleNamespace(of=told, names=names, kept=lambda: journal.judged().set_index("unit"))


def test_a_file_of_outcomes_that_tells_nothing_is_refused(told: Any) -> None:
    with pytest.raises(UsageError, match="late is 'maybe', not true or false"):
        told.of("key,late", "0,maybe", "1,maybe")
    with pytest.raises(UsageError, match="outcome is empty in all 1 rows"):
        told.of("key,outcome", "0,")
    with pytest.raises(UsageError, match=r"Not one of 2 .* with key '7'"):
        told.of("key,late", "7,true", "8,true")
    with pytest.raises(UsageError, match="with prediction_id 'x'"):
        told.of("prediction_id,late", "x,true")
    assert told.kept().empty


def test_what_is_odd_among_outcomes_is_counted_and_values_stay(told: Any) -> None:
    said = told.of(
        "key,late,value", "0,true,inf", "1,true,much", "1,false,2.5", "2,true,", "9,true,1"
    )
    assert said == {
        "rows": 5,
        "matched": 4,
        "unmatched": 1,
        "rejected": 0,
        "contradicted": 1,
        "no_value": 2,
        "late": 1,
    }
    assert told.kept()["outcome"].to_dict() == {"0": "true", "1": "false", "2": "true"}
    assert told.of("key,late", "1,true")["late"] == 0
    assert told.kept().loc["1", ["outcome", "value"]].tolist() == ["true", 2.5]
    assert told.kept()["value"].isna().sum() == 2
