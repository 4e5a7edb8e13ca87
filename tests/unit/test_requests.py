"""What a body of POST /predict is refused for, before any model sees it."""

import json
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest

from slipway_template.data.columns import Columns, describe
from slipway_template.data.validation import MISSING
from slipway_template.service.answer import Refusal
from slipway_template.service.predict import Service
from slipway_template.service.requests import key_text, request_model, to_arrays
from slipway_template.service.scoring import input_schema
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


ROLES = Roles(target="churned", key=["row_id"])


def made(schema: pa.DataFrameSchema, columns: Columns) -> Service:
    predictor: Any = SimpleNamespace(
        versions=None, metrics=None, settings=Limits(), answer=None, quick=None
    )
    form = request_model(schema, columns, ROW, 10)
    return Service(predictor, form, input_schema(schema, columns), predictor)


@pytest.mark.parametrize("checked", CHECKS)
def test_every_check_of_the_schema_holds_at_the_door(checked: str) -> None:
    declared = {
        name: pa.Column(dtype, check if name == checked else None)
        for name, (dtype, check, _) in CHECKS.items()
    }
    schema = pa.DataFrameSchema(
        {"row_id": pa.Column("string"), **declared, "churned": pa.Column("bool")}
    )
    columns = describe(schema, ROLES)
    service = made(schema, columns)

    assert len(service._checked(json.dumps(ROW).encode())) == 1
    with pytest.raises(Refusal) as refused:
        service._checked(json.dumps({"rows": [ROW, ROW | {checked: CHECKS[checked][2]}]}).encode())
    assert refused.value.code == 422
    assert checked in str(refused.value.detail)
    with pytest.raises(Refusal, match="422"):
        service._checked(json.dumps({"rows": [ROW], "version": 3}).encode())


ODD: dict[str, tuple[list[str], list[str]]] = {
    "since": (
        ['"2024-03-01"', '"2024-03-01 10:00"', '"9999-12-31T23:59:59"', '"0001-01-01T00:00Z"'],
        ['"20240301"', '"2024"', "1709251200", '""', '"0001-01-01T00:00:00+14:00"',
         '"9999-12-31T23:59:59-12:00"'],
    ),
    "row_id": (["9223372036854775807"], ["9" * 30]),
    "items": (["0", "-9223372036854775808"], ["9" * 400, "-" + "9" * 30]),
    "age": (["1e300", "9" * 30], ["9" * 400]),
    "plan": (['"basic"', '"never seen"'], ['""']),
    "note": (['""', "null"], ["1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_value_no_model_could_take_is_refused_by_name(name: str) -> None:
    kinds = {"row_id": "int64", "since": "datetime64[us]", "plan": "string", "age": "float64"}
    declared = {one: pa.Column(kind) for one, kind in (kinds | {"items": "int64"}).items()}
    declared |= {"note": pa.Column("string", nullable=True), "churned": pa.Column("bool")}
    columns = describe(schema := pa.DataFrameSchema(declared), ROLES)
    service = made(schema, columns)
    good, bad = ([_with(name, value) for value in values] for values in ODD[name])
    for body in good:
        (row,) = service._checked(body)
        arrays = to_arrays({one: [row.get(one)] for one in columns.inputs}, columns)
        assert arrays["note"].tolist() == [MISSING]
    for body in bad:
        with pytest.raises(Refusal) as refused:
            service._checked(body)
        assert (refused.value.code, refused.value.detail[0]["loc"][-1]) == (422, name), body


def _with(name: str, value: str) -> bytes:
    row = {one: json.dumps(sent) for one, sent in (ROW | {"row_id": 1}).items()} | {name: value}
    return f"{{{', '.join(f'{json.dumps(one)}: {sent}' for one, sent in row.items())}}}".encode()


def test_a_key_is_the_same_moment_in_every_time_zone() -> None:
    moment = datetime.fromisoformat("2024-05-01T02:00:00+02:00")
    stored = pd.Series(["2024-05-01"]).astype("datetime64[us]")[0]
    assert key_text(moment) == str(stored) == "2024-05-01 00:00:00"
    assert key_text(7) == "7"
