"""The estimator: anything that follows scikit-learn's API fits here."""

from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

PACKAGE = __name__.split(".", maxsplit=1)[0]

TRUSTED = [
    f"{PACKAGE}.preprocessing.features.DateParts",
    "collections.OrderedDict",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
]
"""Types a model file may hold beyond the safe ones. Loading a type runs its code, so this list is
reviewed like code and never read from the file itself; add the types of your own estimators."""


def make_model(task: str, seed: int) -> BaseEstimator:
    """Return the unfitted model that follows the features.

    `task` is `classification` or `regression`; `seed` is for all that draws at random in it.
    """
    if task == "classification":
        return HistGradientBoostingClassifier(random_state=seed)
    return HistGradientBoostingRegressor(random_state=seed)
