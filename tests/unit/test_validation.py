"""What a column may hold beside its own type."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from slipway_template.data import sample
from slipway_template.data.columns import Columns
from slipway_template.data.validation import Screened, screen
from slipway_template.utils.config import Roles

ID = 123456789012345678


def screened(values: list[Any] | pd.Series, kind: object) -> Screened:
    schema = pa.DataFrameSchema({"x": pa.Column(kind)})
    return screen(pd.DataFrame({"x": values}), schema)


@pytest.mark.parametrize("odd", ["1.0", "abc", "NA", None, "1.5", "9" * 20])
def test_an_odd_text_among_long_integers_spoils_none_of_them(odd: str | None) -> None:
    found = screened([str(ID), odd, f" +{ID + 1} ", "-8999999999999999999"], int)
    good = found.good["x"].tolist()
    assert [value for value in good if value != 1] == [ID, ID + 1, -8999999999999999999]
    assert found.bad["row"].tolist() == ([] if odd == "1.0" else [1])


def test_bytes_are_read_as_text_and_lists_are_none() -> None:
    found = screened([b"heron", "wren", ["gull"], np.array([1, 2])], str)
    assert found.good["x"].tolist() == ["heron", "wren"]
    assert found.bad["reason"].tolist() == [
        "x is ['gull'], not a text",
        "x is [1 2], not a text",
    ]


def test_a_long_value_is_cut_in_the_reason() -> None:
    (reason,) = screened(["z" * 10_000], float).bad["reason"]
    assert reason.startswith("x is 'zzz")
    assert len(reason) < 100


@pytest.mark.parametrize("kind", ["datetime64[us]", "Int64", str])
def test_invented_rows_have_keys_of_every_type(kind: str | type) -> None:
    columns = dict.fromkeys(["shop", "a", "y"], pa.Column(float)) | {"day": pa.Column(kind)}
    roles = Columns(Roles(target="y", key=["shop", "day"]), {"a": "number"})
    rows = sample.generate(pa.DataFrameSchema(columns), roles, 1_000)
    assert rows["day"].nunique() == 1_000
