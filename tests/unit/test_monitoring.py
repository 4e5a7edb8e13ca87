"""Monitoring: what is chance or noise raises no alarm, what is neither does."""

import numpy as np
import pandas as pd
import pytest

from slipway_template.data.profile import Profile, distribution
from slipway_template.monitoring.alarms import of_columns
from slipway_template.monitoring.drift import shift
from slipway_template.monitoring.window import Window
from slipway_template.service.tally import Tally
from slipway_template.utils.config import Monitoring

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


def test_bins_of_many_different_values_hold_what_their_quantiles_say() -> None:
    values = pd.Series(np.random.default_rng(0).lognormal(sigma=3, size=100_000))
    shares = np.array(distribution(values, "number").counts)[:-2] / len(values)
    assert shares == pytest.approx([0.005, 0.045, *[0.05] * 18, 0.045, 0.005], abs=1e-3)


def test_an_outer_bin_that_was_full_in_training_is_no_tail() -> None:
    flags = distribution(pd.Series([0.0, 1.0] * 500), "number")
    assert shift("flag", flags, np.array([0, 500, 500, 0, 0]), RULES).tail == 0


def silent(usual: pd.Series, now: pd.Series) -> list[str]:
    """Return the columns of which `silence` is said."""
    part = distribution(usual, "category")
    profile = Profile(columns={"one": part, "two": part}, answer=part, label=None, target=part)
    counts = {name: part.count(now).tolist() for name in profile.columns}
    window = Window([Tally(version=1, rows=len(now), counts=counts)], profile, 1)
    found = of_columns(profile, window, window, [], RULES)
    return [what for kind, what in found if kind == "silence"]


def test_a_rare_flag_may_stay_away_by_chance_but_not_for_long() -> None:
    rare = pd.Series([True] * 50 + [False] * 9_950)
    assert silent(rare, pd.Series([False] * 200)) == []
    assert len(silent(rare, pd.Series([False] * 5_000))) == 2
    assert "is true in all" in silent(rare, pd.Series([True] * 200))[0]


def test_a_value_that_never_changed_is_silent_only_where_it_is_another() -> None:
    constant = pd.Series([False] * 1_000)
    assert silent(constant, constant) == []
    assert len(silent(constant, pd.Series([None] * 300, dtype=object))) == 2
