"""Which rows train, validate and test: decided by each row's key, never by its position.

Rows keep their side when others are appended, removed or reordered. SQL can say the same:
message = seed and key parts as text, joined by U+001F, in UTF-8; h = the first 8 hex digits of
SHA-256(message) as an unsigned integer; bucket = (h * 10000) >> 32. A bucket below the test share
is test, below test + validation validation, the rest train.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from ..utils.config import SplitSettings
from ..utils.errors import GateRefused, UsageError
from .hashing import RESOLUTION, buckets, content, hash_keys, refuse_missing

PARTS = ["train", "validation", "test"]
HASHES = 2**32
CLASSES = 20  # a number with more distinct values than this is stratified by bins
BINS = 10

Cuts = dict[str, Any]


def split(  # noqa: PLR0913 - the roles columns can play
    frame: pd.DataFrame,
    *,
    key: list[str],
    settings: SplitSettings,
    group: str | None = None,
    time: str | None = None,
    target: str | None = None,
    manifest: Path | None = None,
    cuts: Cuts | None = None,
) -> Split:
    """Give every row its part.

    Parameters
    ----------
    key : columns that identify a row. Without any, a row is known by all its values but the target.
    group : the entity's column; strategy "group" keeps all rows of an entity together.
    time : the column of strategy "time": the newest rows test, those before them validate.
    target : strategy "stratified" gives every class (or bin of a number) the same shares.
    manifest : where "time" and "stratified" keep the cuts of their first run, so that later rows
        move nobody. Settings other than it was made with are refused.
    cuts : those of an earlier split, to have it again; no manifest is read or written then.
    """
    strategy = settings.resolve(group, time)
    by = {"key": None, "group": group, "time": time, "stratified": target}[strategy] or ""
    if not by and strategy != "key":
        role = "target" if strategy == "stratified" else strategy
        raise UsageError(f"strategy {strategy!r} needs a {role} column: name it in [data]")
    columns = [by] if strategy == "group" else key
    h = hash_keys(_keys(frame, columns, target), settings.seed)
    made_with = settings.model_dump(exclude={"folds"})
    made_with |= {"strategy": strategy, "key": key, "column": by}
    has_cuts = strategy in {"time", "stratified"}
    if cuts is not None or not has_cuts:
        manifest = None
    old = found = cuts or (_read(manifest, made_with) if manifest else {})
    if strategy == "time":
        sides, found = _by_time(_column(frame, by), settings, old)
    elif strategy == "stratified":
        sides, found = _by_stratum(_column(frame, by), h, settings, old)
    else:
        sides = _sides(buckets(h), *settings.cuts(RESOLUTION))
    _refuse_empty(sides, settings, manifest if old else None)
    if manifest and found != old:
        _write(manifest, {"made_with": made_with, "cuts": found})
    part = pd.Series(pd.Categorical.from_codes(sides, pd.Index(PARTS)), index=frame.index)
    return Split(part, h, frame, strategy, columns, found)


def folds(
    frame: pd.DataFrame,
    *,
    key: list[str],
    settings: SplitSettings,
    group: str | None = None,
    target: str | None = None,
) -> np.ndarray:
    """Give every row its fold, 0 to folds - 1, shape (n_rows,); rows of one entity share theirs.

    scikit-learn takes it as ``cv=PredefinedSplit(folds(...))``.
    """
    keys = _keys(frame, [group] if group else key, target)
    fold = buckets(hash_keys(keys, f"{settings.seed}/folds")) * settings.folds // RESOLUTION
    if len(np.unique(fold)) < settings.folds:
        raise UsageError(
            f"{len(frame)} rows are too few, or too alike, for {settings.folds} folds: "
            "lower folds in [split]"
        )
    return fold.astype(np.int64)


def _keys(frame: pd.DataFrame, key: list[str], target: str | None) -> pd.DataFrame:
    if key:
        return pd.DataFrame({name: _column(frame, name) for name in key})
    return pd.DataFrame({"content": content(frame.drop(columns=target or [], errors="ignore"))})


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        raise UsageError(f"there is no column {name!r}, only {', '.join(map(str, frame.columns))}")
    return frame[name]


def _sides(h: np.ndarray, test_below: Any, validation_below: Any) -> np.ndarray:
    return (h < validation_below).astype(np.int8) + (h < test_below)


def _refuse_empty(sides: np.ndarray, settings: SplitSettings, kept: Path | None) -> None:
    if empty := [name for side, name in enumerate(PARTS) if not (sides == side).any()]:
        said = (
            f": {len(sides)} rows are too few, or too alike, "
            f"for validation = {settings.validation:g} and test = {settings.test:g}. "
            "Add rows, raise the shares, or change strategy or seed in [split]"
        )
        if kept:
            said = f" with the cuts kept in {kept}. Delete it if these rows are others"
        raise UsageError(f"{' and '.join(empty)} would be empty{said}")


def _by_time(column: pd.Series, settings: SplitSettings, old: Cuts) -> tuple[np.ndarray, Cuts]:
    refuse_missing(column, "time")
    if types.is_integer_dtype(column):
        moments = column.to_numpy(dtype=np.int64)
    elif types.is_datetime64_any_dtype(column) or types.infer_dtype(column) in {"date", "datetime"}:
        moments = pd.to_datetime(column, utc=True).to_numpy("datetime64[us]")
    else:
        raise UsageError(
            f"time column {column.name!r} holds {column.dtype}: declare it as a date, a timestamp "
            "or an integer in schema.py"
        )
    # Rows of one moment stay together: on the newer side.
    start = [-max(count, 1) for count in settings.cuts(len(moments))]
    firsts = np.sort(moments)[start].astype(str).tolist()
    cuts = old or dict(zip(["test_from", "validation_from"], firsts, strict=True))
    begin = np.array([cuts["test_from"], cuts["validation_from"]])
    test, validation = begin.astype(moments.dtype)
    return (moments >= validation).astype(np.int8) + (moments >= test), cuts


def _by_stratum(
    column: pd.Series, h: np.ndarray, settings: SplitSettings, old: Cuts
) -> tuple[np.ndarray, Cuts]:
    refuse_missing(column, "target")
    edges = old["edges"] if old else _edges(column)
    codes, names = pd.factorize(_strata(column, edges), sort=True)
    strata = dict(old["strata"]) if old else {}
    for code, name in enumerate(names):
        if name not in strata:  # one that appears later gets the plain shares
            strata[name] = _cuts([] if old else np.sort(h[codes == code]).tolist(), settings)
    below = np.array([strata[name] for name in names])[codes]
    return _sides(h, below[:, 0], below[:, 1]), {"edges": edges, "strata": strata}


def _edges(column: pd.Series) -> list[float]:
    if not types.is_numeric_dtype(column) or column.nunique() <= CLASSES:
        return []
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.unique(np.quantile(column.to_numpy(dtype=float), inner)).tolist()


def _strata(column: pd.Series, edges: list[float]) -> pd.Series:
    if edges:
        bins = np.searchsorted(edges, column.to_numpy(), side="right")
        return pd.Series(bins).map("bin {}".format)
    if types.is_numeric_dtype(column):  # 1, 1.0 and True are one class
        return column.astype(float).map("{:.17g}".format)
    return column.astype(str)


def _cuts(ordered: list[int], settings: SplitSettings) -> list[int]:
    """Cut a stratum's hashes so that test, and test and validation, have their exact counts.

    Of all cuts that do, the one nearest to the plain share, which is right for later rows.
    """
    walls = [-1, *ordered, HASHES]
    wanted = zip(settings.cuts(len(ordered)), settings.cuts(HASHES), strict=True)
    return [min(max(plain, walls[count] + 1), walls[count + 1]) for count, plain in wanted]


def _read(manifest: Path, made_with: dict[str, Any]) -> Cuts:
    if not manifest.exists():
        return {}
    try:
        kept = json.loads(manifest.read_text(encoding="utf-8"))
        was, cuts = dict(kept["made_with"]), dict(kept["cuts"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{manifest} is no split manifest: delete it to make a new one") from error
    pairs = [(name, was.get(name), now) for name, now in made_with.items()]
    changed = [f"{name}: {then!r} then, {now!r} now" for name, then, now in pairs if then != now]
    if changed:
        raise GateRefused(
            f"split: {manifest} was made with other settings ({'; '.join(changed)}), and the new "
            "ones would move rows between train and test. To do that on purpose, delete the file"
        )
    return cuts


def _write(manifest: Path, kept: dict[str, Any]) -> None:
    manifest.parent.mkdir(parents=True, exist_ok=True)
    scratch = manifest.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    scratch.replace(manifest)  # readers see the old file or the new one, never half of it


@dataclass(frozen=True)
class Split:
    """Each row's part ("train", "validation", "test") and the hash of its key, shape (n_rows,)."""

    part: pd.Series
    h: np.ndarray
    frame: pd.DataFrame = field(repr=False)
    strategy: str
    key: list[str]
    cuts: Cuts
    """Where time or strata are cut, empty for other strategies."""

    def rows(self, name: str) -> pd.DataFrame:
        """Give a part's rows in order of their hash, those with the same in order of content.

        Learners depend on the order of rows, and a table promises none.
        """
        at = np.flatnonzero(self.part == name)
        at = at[np.argsort(self.h[at])]
        tied = pd.Series(self.h[at]).duplicated(keep=False).to_numpy()
        ties = at[tied]
        at[tied] = ties[np.lexsort([content(self.frame.iloc[ties]), self.h[ties]])]
        return self.frame.iloc[at]

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows per part."""
        return {name: int((self.part == name).sum()) for name in PARTS}
