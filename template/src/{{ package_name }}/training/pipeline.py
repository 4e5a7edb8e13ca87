"""The slow runtime: the estimator itself, read without pickle.

Only what uses it imports this module: scikit-learn and skops take seconds.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from ..estimators.model import TRUSTED
from ..utils.errors import GateRefused
from ..utils.user_errors import refusing
from .evaluation import answers
from .graph import Arrays
from .members import RouterClassifier, RouterRegressor
from .ruled import RuledClassifier, RuledRegressor

FILE = "model.skops"
OURS = RuledClassifier, RuledRegressor, RouterClassifier, RouterRegressor
KNOWN = [*TRUSTED, *(f"{kind.__module__}.{kind.__name__}" for kind in OURS)]
"""What a model file may hold."""
CHANGED = "Golden sample gate: with the code that is here now the model can't answer, so train anew"


class Pipeline:
    """An estimator in memory.

    GateRefused where its file holds a type that nobody reviewed, or its code was changed since, so
    that it can't be read or does not answer.
    """

    def __init__(self, source: Path, inputs: list[str]) -> None:
        with refusing(CHANGED):
            try:
                self._estimator = skops.io.load(source, trusted=KNOWN)
            except (UntrustedTypesFoundException, TypeError) as error:
                raise GateRefused(
                    f"Trust gate: {error} Review the type, then add it to TRUSTED in "
                    "estimators/model.py."
                ) from None
        self._inputs = inputs

    def run(self, inputs: Arrays) -> np.ndarray:
        """Return probabilities, shape (n_rows, n_classes), or values, shape (n_rows,)."""
        frame = pd.DataFrame({name: inputs[name] for name in self._inputs})
        with refusing(CHANGED):
            return answers(self._estimator, frame)
