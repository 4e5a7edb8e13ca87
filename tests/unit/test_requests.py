"""What a body of POST /predict is refused for, before any model sees it."""

import json
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest

from slipway_template.data.columns import describe
from slipway_template.service.answer import Refusal
from slipway_template.service.predict import Service
from slipway_template.service.requests import request_model
from slipway_template.service.scoring import askable
from slipway_template.utils.config import Roles
from slipway_template.utils.config import Service as Limits

ROW = {"row_id": "a", "since": "2024-05-01T00:00:00", "plan": "basic", "age": 40.0, "items": 3}
# One check each, as a single unusual one would send every row to the thorough way.
CHECKS: dict[str, tuple[str, Any, Any]] = {
    "since": ("datetime64[us]", pa.Check.ge(pd.Timestamp("2020-01-01")), "2019-12-31T00:00:00"),
    "plan": ("string", pa.Check.str_length(3, 9), "ab"),
    "age": ("float64", pa.Check.ge(18), 17.0),
    "items": ("int64", [pa.Check.ge(1), pa.Check.ge(0)], 0),
}


@pytest.mark.parametrize("checked", CHECKS)
def test_every_check_of_the_schema_holds_at_the_door(checked: str) -> None:
    declared = {
        name: pa.Column(dtype, check if name == checked else None)
        for name, (dtype, check, _) in CHECKS.items()
    }
    schema = pa.DataFrameSchema(
        {"row_id": pa.Column("string"), **declared, "churned": pa.Column("bool")}
    )
    columns = describe(schema, Roles(target="churned", key=["row_id"]))
    answerer: Any = SimpleNamespace(
        versions=None, metrics=None, settings=Limits(), answer=None, quick=None
    )
    form = request_model(schema, columns, ROW, 10)
    service = Service(answerer, form, askable(schema, columns), answerer)

    assert len(service._checked(json.dumps(ROW).encode())) == 1
    with pytest.raises(Refusal) as refused:
        service._checked(json.dumps({"rows": [ROW, ROW | {checked: CHECKS[checked][2]}]}).encode())
    assert refused.value.code == 422
    assert checked in str(refused.value.detail)
