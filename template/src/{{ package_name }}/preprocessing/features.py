"""How the columns become numbers. These steps are part of the model: there is no second place."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

from ..data.columns import Columns


class DateParts(TransformerMixin, BaseEstimator):
    """Turns each date into hour, weekday, day of the year and days since 2000."""

    def fit(self, X: pd.DataFrame, y: object = None) -> "DateParts":  # noqa: ARG002 - scikit-learn's
        """Remember the names of the columns; nothing else is learnt."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return four numbers per date, NaN where the date is missing."""
        parts = []
        for name in X.columns:
            date = X[name].dt
            days = (X[name] - pd.Timestamp("2000-01-01")) / pd.Timedelta(days=1)
            parts += [date.hour, date.day_of_week, date.day_of_year, days]
        return np.column_stack([part.to_numpy(dtype="float64") for part in parts])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:  # noqa: ARG002 - scikit-learn's
        """Return the names of the columns that `transform` makes."""
        parts = ["hour", "weekday", "day_of_year", "days"]
        return np.array([f"{c}_{p}" for c in self.feature_names_in_ for p in parts], dtype=object)


def make_features(columns: Columns) -> ColumnTransformer:
    """Return the steps from the model's inputs to numbers.

    Inputs come as `data.validation.to_inputs` makes them: numbers and flags as floats, NaN where
    missing (the default model takes those as they are); categories as text, `(missing)` where
    missing. A category never seen in training becomes all zeros.
    """
    one_hot = OneHotEncoder(handle_unknown="ignore", max_categories=50, sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", "passthrough", columns.of("number", "flag")),
            ("categories", one_hot, columns.of("category")),
            ("dates", DateParts(), columns.of("date")),
        ]
    )
