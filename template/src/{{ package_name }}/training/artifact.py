"""The model as it leaves training: an estimator, what it says of itself, and its golden sample.

Whoever loads it checks the files' digest, the versions of the libraries, and that the golden
sample is answered as it was at training. One mechanism stops a corrupted file, another library
and features computed another way.
"""

import ast
import hashlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel

from ..data.columns import Columns, Kind
from ..data.profile import Profile
from ..data.validation import to_inputs
from ..estimators.rules import RULES
from ..utils import environment
from ..utils.config import Roles
from ..utils.errors import GateRefused
from ..utils.rules import apply_rules
from .graph import Arrays
from .masks import MANY, fast_runtime

log = logging.getLogger(__name__)

GOLDEN, ABOUT, PROFILE = "golden.parquet", "about.json", "profile.json"
# Now, since the file may be edited while a training goes on.
RULES_PY = inspect.getsource(import_module("..estimators.rules", __package__))
TOLERANCE = 1e-6
"""Answers of another processor may differ in the last digits; more is another model."""


class About(BaseModel, frozen=True):
    """What a model says of itself."""

    task: str
    roles: Roles
    kinds: dict[str, Kind]
    classes: list[bool | int | float | str] | None
    rules: list[str]
    rules_digest: str
    """Of what these rules do."""
    runtime: str
    """`onnx` where the graph proved to answer as the pipeline does, else `sklearn`."""
    runtime_reason: str
    """Why it is not `onnx`."""
    versions: dict[str, str]
    commit: str | None


@dataclass(frozen=True)
class Artifact:
    """A model that has shown that it answers as it did at training."""

    about: About
    golden: pd.DataFrame
    """Inputs, shape (n_rows, n_inputs), whose answers were stored at training."""
    profile: Profile
    answer: Callable[[Arrays], np.ndarray]
    """From inputs by name to probabilities (n_rows, n_classes) or values (n_rows,)."""
    digest: str
    """That of its files."""

    @cached_property
    def columns(self) -> Columns:
        """The columns as they were when the model was trained."""
        return Columns(self.about.roles, self.about.kinds)


def write_extras(
    folder: Path, about: About, golden: pd.DataFrame, answers: np.ndarray, fast: dict[str, bytes]
) -> None:
    """Write what travels with the model beside its own file; `fast` is its fast runtime's files."""
    answered = pd.DataFrame(answers).add_prefix("answer ")
    golden.reset_index(drop=True).join(answered).to_parquet(folder / GOLDEN, index=False)
    (folder / ABOUT).write_text(about.model_dump_json(indent=1))
    for name, content in fast.items():
        (folder / name).write_bytes(content)


def digest(folder: Path) -> str:
    """Return one SHA-256 over the names and bytes of all files of a model's folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "registered_model_meta":
            total.update(path.relative_to(folder).as_posix().encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def rules_digest(names: list[str]) -> str:
    """Return the SHA-256 of rules.py without other rules, comments and layout."""
    others = {getattr(rule, "__name__", "") for name, rule in RULES.items() if name not in names}
    said = [
        ast.unparse(node)
        for node in ast.parse(RULES_PY).body
        if getattr(node, "name", None) not in others and not isinstance(node, ast.Expr)
    ]
    kept = [text for text in said if not text.startswith("RULES")]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest() if names else ""


def open_artifact(
    folder: Path,
    expected: str,
    *,
    strict: bool = True,
    own_rules: bool = True,
    runtime: str | None = None,
) -> Artifact:
    """Load a model from its folder, after it has shown what it must.

    `expected` is the digest that the registry knows. `strict` refuses another version of Python or
    of a library, which is only logged without it; `own_rules` refuses rules that do something else
    now. `runtime` is `onnx` or `sklearn`, by default the one that training chose.

    GateRefused where the files were changed, a library differs, a rule is gone, a type in the file
    is not trusted, or the golden sample is answered differently.
    """
    if digest(folder) != expected:
        raise GateRefused(
            f"Digest gate: the model files in {folder} are not the ones that were registered. "
            "Get them again from the registry, or roll back."
        )
    extras = folder / "extra_files"
    about = About.model_validate_json((extras / ABOUT).read_text())
    _compare_versions(about.versions, strict=strict)
    # Rules are for rare rows, of which the golden sample need not hold any.
    if own_rules and about.rules_digest != rules_digest(about.rules):
        raise GateRefused(
            f"Rules gate: {', '.join(about.rules)} of estimators/rules.py changed since the model "
            "was trained. Train anew, or put it back."
        )
    runtime = runtime or about.runtime
    answer = _reader(folder, about, runtime)
    golden, wanted = stored_golden(folder)
    # The fast runtime answers few rows one way and many another: part of the sample goes each way.
    few = MANY - 1 if runtime == "onnx" else len(golden)
    parts = filter(len, (golden[:few], golden[few:]))
    given = np.concatenate([answer(part) for part in parts]).reshape(len(golden), -1)
    alike = given.shape == wanted.shape
    if not alike or not np.allclose(given, wanted, rtol=TOLERANCE, atol=TOLERANCE):
        worst = np.abs(given - wanted).max() if alike else "another shape"
        raise GateRefused(
            f"Golden sample gate: the model answers otherwise than at training (by up to {worst}). "
            "A step of preprocessing/, a rule or what runs them draws at random, or has changed "
            "since; train anew."
        )
    profile = Profile.model_validate_json((extras / PROFILE).read_text())
    return Artifact(about, golden, profile, answer, expected)


def _reader(folder: Path, about: About, runtime: str) -> Callable[[Arrays], np.ndarray]:
    if gone := ", ".join(name for name in about.rules if name not in RULES):
        raise GateRefused(
            f"Golden sample gate: the model's answers pass through {gone}, which "
            "estimators/rules.py no longer has. Put it back, or train anew."
        )
    if runtime == "onnx":
        run = fast_runtime(folder / "extra_files")
        rules = [RULES[name] for name in about.rules]
        return lambda rows: apply_rules(rules, rows, run(rows), about.classes)
    from .pipeline import FILE, Pipeline  # noqa: PLC0415 - a graph needs no scikit-learn

    return Pipeline(folder / FILE, list(about.kinds)).run


def stored_golden(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the golden inputs of a model's folder, and the answers given at training."""
    stored = pd.read_parquet(folder / "extra_files" / GOLDEN)
    about = About.model_validate_json((folder / "extra_files" / ABOUT).read_text())
    inputs = to_inputs(stored, Columns(about.roles, about.kinds))
    return inputs, stored.drop(columns=list(inputs)).to_numpy()


def _compare_versions(trained: dict[str, str], *, strict: bool) -> None:
    here = environment.versions()
    differing = [
        f"{name} {version} there, {here.get(name, 'missing')} here"
        for name, version in trained.items()
        if _significant(name, version) != _significant(name, here.get(name, ""))
    ]
    if differing:
        said = f"the model was trained with {'; '.join(differing)}"
        if strict:
            raise GateRefused(
                f"Environment gate: {said}. Install what it was trained with (`uv sync`), train "
                'anew, or set [service] environment = "warn".'
            )
        log.warning(said)


def _significant(name: str, version: str) -> str:
    """Patch releases of Python are alike; those of libraries are not."""
    return ".".join(version.split(".")[:2]) if name == "python" else version
