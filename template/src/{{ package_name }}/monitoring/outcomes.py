"""Joins what really happened to the predictions of the journal."""

import json

import numpy as np
import pandas as pd
import pandera.pandas as pa

from ..data.sources import read_table
from ..data.validation import conform, declared_types, nullable_type
from ..service.journal import Journal, Outcome, new_id
from ..utils.config import Roles
from ..utils.errors import UsageError

ID, OUTCOME, VALUE = "prediction_id", "outcome", "value"


def take_in(
    file: str, schema: pa.DataFrameSchema, roles: Roles, journal: Journal, since: float = 0
) -> dict[str, int]:
    """Join a file of outcomes to the predictions of the journal.

    The file names a prediction by `prediction_id`, or its row by the key columns; the outcome is in
    the target's column or in `outcome`, and what it was worth, if known, in `value`.

    Return the number of `rows`, of those `matched` with a prediction and `unmatched`, and of those
    `rejected`, as their outcome is missing or of another type; how many a later row of the file
    `contradicted`; values that are no finite number (`no_value`); and predictions from before the
    time `since` (`late`). UsageError where the file can't be read, lacks these columns, or tells
    nothing of any prediction.
    """
    rows = read_table(file).to_pandas(types_mapper=nullable_type)
    column = next((name for name in (roles.target, OUTCOME) if name in rows), None)
    if column is None:
        raise UsageError(f"{file} has neither a column {roles.target} nor {OUTCOME}.")
    target = schema.select_columns([roles.target])
    truth, odd = conform(rows.rename(columns={column: roles.target}), target)
    known = truth[roles.target].notna().to_numpy()
    if not known.any():
        said = next(iter(odd.values()), f"{column} is empty in all {len(rows):,} rows")
        raise UsageError(f"No outcome of {file} can be read: {said}.")
    rows, truth = rows[known].reset_index(drop=True), truth[known].astype(declared_types(target))
    by, names, looked_at = _names(file, rows, schema, roles)
    happened = [json.dumps(one, default=str) for one in truth[roles.target].tolist()]
    given = rows[VALUE] if VALUE in rows else pd.Series(np.nan, rows.index)
    worth = pd.to_numeric(given, errors="coerce").astype("float64")
    worth = worth.where(np.isfinite(worth))
    told = pd.DataFrame({"name": names, "outcome": happened, "value": worth})
    last = told.drop_duplicates("name", keep="last")
    asked = pd.DataFrame(journal.ids(by, last["name"].tolist()), columns=["name", "id"])
    if asked.empty:
        raise UsageError(
            f"Not one of {len(told):,} outcomes of {file} belongs to a prediction: none was asked "
            f"with {looked_at} {names[0]!r}, for one. `journal export` shows what was."
        )
    journal.add_outcomes(
        [
            Outcome(one["id"], one["outcome"], None if pd.isna(one["value"]) else one["value"])
            for one in asked.merge(last, on="name").to_dict("records")
        ]
    )
    matched = int(told["name"].isin(asked["name"]).sum())
    return {
        "rows": len(known),
        "matched": matched,
        "unmatched": len(told) - matched,
        "rejected": len(known) - len(told),
        "contradicted": len(told.drop_duplicates(["name", "outcome"])) - len(last),
        "late": int((asked["id"] < new_id(since)).sum()),
        "no_value": int((given.notna() & worth.isna()).sum()),
    }


def _names(
    file: str, rows: pd.DataFrame, schema: pa.DataFrameSchema, roles: Roles
) -> tuple[str, list[str], str]:
    if ID in rows:
        return "id", rows[ID].astype(str).tolist(), ID
    if roles.key and set(roles.key) <= set(rows):
        key, _ = conform(rows, schema.select_columns(roles.key))
        texts = ["\x1f".join(map(str, values)) for values in key.itertuples(index=False)]
        return "unit", texts, "/".join(roles.key)
    raise UsageError(
        f"{file} has neither {ID} nor the key {', '.join(roles.key) or '(none named)'}."
    )
