"""The run record: what data, code, settings and environment made a model."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """One table that a run was trained on."""

    model_config = ConfigDict(frozen=True)

    version: int
    fingerprint: str
    source: str
    rows: int
    bad: int


class Record(BaseModel):
    """Everything needed to tell where a model came from, and to make it again."""

    model_config = ConfigDict(frozen=True)

    data: dict[str, Table]
    split: dict[str, int]
    """Rows per part."""
    settings: dict[str, Any]
    seeds: dict[str, int]
    commit: str | None
    changes: int
    """Files that differed from the commit."""
    lock: str | None
    versions: dict[str, str]
    seconds: dict[str, float]
    metrics: dict[str, dict[str, float]]
    """`validation` and `test` of the model, `baseline` of the dummy on validation rows."""

    def gaps(self) -> list[str]:
        """Name what a promotion needs and this record lacks."""
        gaps = [
            name
            for name in ("data", "split", "settings", "seeds", "versions", "metrics")
            if not getattr(self, name)
        ]
        gaps += [
            f"fingerprint of {name}" for name, table in self.data.items() if not table.fingerprint
        ]
        return gaps + ([] if self.lock else ["digest of uv.lock"])
