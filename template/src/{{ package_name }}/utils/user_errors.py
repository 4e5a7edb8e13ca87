"""Says in one line what failed in the rooms that are the user's own, and where."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from traceback import extract_tb

from .errors import GateRefused, Stop
from .paths import PACKAGE

OWN = PACKAGE / "preprocessing", PACKAGE / "estimators"
HINTS = {
    "NaN": "Missing numbers reach the model as NaN: fill them in preprocessing/features.py "
    "(SimpleImputer in the place of passthrough), or take a model that knows them.",
    "window shape": "A number among the inputs has no value in any training row: name it in "
    "[data] exclude, or ingest rows that have it.",
    "__sklearn_tags__": "Let it inherit from ClassifierMixin or RegressorMixin, and BaseEstimator.",
    "'predict_proba'": "The model gives no probabilities: put CalibratedClassifierCV around it.",
}
"""What to do, by what the error says."""


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Refuse where the code within raises: say `what` failed, how, and what to do."""
    try:
        yield
    except (Stop, OSError):
        raise
    except Exception as error:
        known = (hint for word, hint in HINTS.items() if word in str(error))
        hint = next(known, "Fix it in estimators/ or preprocessing/.")
        raise GateRefused(f"{what}: {one_line(error)}. {hint}") from error


def one_line(error: Exception) -> str:
    """Return an error in one line, with the line of the user's own code that it came through."""
    said = f"{type(error).__name__}: {shorten(str(error), 200, placeholder=' …')}".rstrip(" .…")
    return said + user_line(error)


def user_line(error: Exception) -> str:
    """Return that line in brackets, nothing where it came through none."""
    for frame in reversed(extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if not set(OWN).isdisjoint(file.parents):
            return f" ({file.relative_to(PACKAGE)}, line {frame.lineno})"
    return ""
