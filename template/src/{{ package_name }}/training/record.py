"""The run record: what data, code, settings and environment made a model."""

from typing import Any

from pydantic import BaseModel

from ..utils.config import Settings


class Table(BaseModel, frozen=True):
    """One table that a run was trained on."""

    version: int
    fingerprint: str
    source: str
    rows: int
    bad: int
    seconds: float = 0
    """What reading its source took."""


class Record(BaseModel, frozen=True):
    """Everything needed to tell where a model came from, and to make it again."""

    data: dict[str, Table]
    split: dict[str, int]
    """Rows per part."""
    cuts: dict[str, Any] = {}
    """Where a split by time or strata was cut."""
    settings: dict[str, Any]
    seeds: dict[str, int]
    commit: str | None
    changes: int
    """Files that differed from the commit."""
    wheel: str | None = None
    """SHA-256 of the wheel that trained it, None where it was trained from sources."""
    lock: str | None
    versions: dict[str, str]
    seconds: dict[str, float]
    metrics: dict[str, dict[str, float]]
    """`validation` and `test` of the model; `baseline` of the dummy and `champion` on the same
    validation rows as `validation`, or on its own where it can't answer these."""
    importance: dict[str, float]
    """How much the loss on validation rows grows when a column is shuffled, by column."""
    feature_seconds: dict[str, float]
    """What each step of features.py took, for a million rows."""
    warnings: list[str]
    """What was seen on the way that did not stop the training."""
    decay: str = ""
    """How much worse the champion was on the newest rows than promised, beyond chance."""

    def settings_over(self, now: Settings, *sections: str) -> Settings:
        """Return the settings with these sections as they were, but for settings gone since."""
        then = {}
        for name in sections:
            kind, values = type(getattr(now, name)), self.settings.get(name, {})
            then[name] = kind(**{key: values[key] for key in values if key in kind.model_fields})
        return now.model_copy(update=then)

    def gaps(self) -> list[str]:
        """Name what a promotion needs and this record lacks."""
        needed = self.model_dump(
            include={"data", "split", "settings", "seeds", "versions", "metrics"}
        )
        needed |= {f"fingerprint of {name}": table.fingerprint for name, table in self.data.items()}
        needed["digest of uv.lock"] = self.lock
        return [name for name, value in needed.items() if not value]
