"""The columns, declared once: everything that reads, checks, serves or invents rows starts here.

A column is one line: its name, its type, and what its values may be. Types are `int`, `float`,
`bool`, `str` and `datetime`; whole numbers and flags that may be missing are `pd.Int64Dtype` and
`pd.BooleanDtype`. Which column is the key, the entity, the time and the target is said in
`resources/config.toml` under `[data]`; all others are inputs of the model.
"""

from datetime import datetime

import pandas as pd
import pandera.pandas as pa


class Rows(pa.DataFrameModel):
    """One row per shipment."""

    shipment_id: int = pa.Field(unique=True, ge=1)
    customer_id: int = pa.Field(ge=1)
    ordered_at: datetime
    weight_kg: float = pa.Field(ge=0, le=100, nullable=True)
    distance_km: float = pa.Field(ge=0, le=5_000)
    items: pd.Int64Dtype = pa.Field(ge=1, le=500, nullable=True)
    declared_value: float = pa.Field(ge=0, le=20_000, nullable=True)
    carrier: str = pa.Field(isin=["albatross", "heron", "kestrel", "swift"])
    goods: str = pa.Field(isin=["books", "clothes", "electronics", "food", "other"], nullable=True)
    express: bool
    insured: pd.BooleanDtype = pa.Field(nullable=True)
    late: bool
    delivery_days: float = pa.Field(ge=0, le=60)
