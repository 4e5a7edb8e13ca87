"""The versions that answer: champion and challenger, exchanged while the service runs."""

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandera.pandas as pa
from mlflow import MlflowClient

from ..training import registry
from ..utils.config import Settings
from ..utils.errors import Stop
from .scoring import Scorer, load_scorer

log = logging.getLogger(__name__)

RETRY_SECONDS, LONGEST_SECONDS = 60, 3_600


@dataclass(frozen=True)
class Answering:
    """Who answers now."""

    champion: Scorer
    challenger: Scorer | None

    @cached_property
    def fast(self) -> bool:
        """Whether every one of them is converted."""
        both = self.champion, self.challenger
        return all(scorer is None or scorer.runtime == "onnx" for scorer in both)

    def of(self, assigned: str) -> Scorer | None:
        """Return who answers for a group."""
        return self.champion if assigned == registry.CHAMPION else self.challenger

    def assigned(self, unit: str, share: float) -> str:
        """Return whether champion or challenger answers for a key: always the same one.

        Sticky by a hash of the key, so it needs no memory and holds across processes.
        """
        if self.challenger is None or share <= 0:
            return registry.CHAMPION
        hashed = hashlib.sha256(f"challenger\x1f{unit}".encode()).digest()
        place = int.from_bytes(hashed[:4], "big") / 2**32
        return registry.CHALLENGER if place < share else registry.CHAMPION


class Refused(NamedTuple):
    """A version that did not answer, and when it is tried again: it may have been the network."""

    version: int
    until: float
    wait: float


class Versions:
    """Looks after the aliases. A version that fails to load or to prove itself never answers.

    UsageError where there is no champion yet, GateRefused where it fails a gate.
    """

    def __init__(
        self, client: MlflowClient, settings: Settings, schema: pa.DataFrameSchema
    ) -> None:
        self.client, self.settings, self.schema = client, settings, schema
        self.refused: dict[str, Refused] = {}
        self.now = Answering(load_scorer(client, settings, schema), None)
        self.look()

    def watch(self, stopped: threading.Event) -> None:
        """Look for other versions until stopped."""
        while not stopped.wait(self.settings.service.poll_seconds):
            try:
                self.look()
            except Stop as reason:
                log.warning("looking for other versions failed; the present ones go on: %s", reason)
            except Exception:
                log.exception("looking for other versions failed; the present ones go on")

    def look(self) -> None:
        """Take up what the aliases point to now."""
        champion = self._scorer(registry.CHAMPION, self.now.champion) or self.now.champion
        wanted = self.settings.service.challenger_share > 0 or self.settings.service.shadow
        challenger = self._scorer(registry.CHALLENGER, self.now.challenger) if wanted else None
        now = Answering(champion, challenger)
        if now != self.now:
            self.now = now
            other = f", challenger {challenger.version}" if challenger else ""
            log.warning("answering now: champion %s%s", champion.version, other)

    def _scorer(self, alias: str, present: Scorer | None) -> Scorer | None:
        """Return the scorer of an alias: the present one, a new one, None where there is none."""
        found, before = registry.alias(self.client, alias), self.refused.pop(alias, None)
        if found is None:
            return None
        if present and found.version == present.version:
            return present
        wait: float = RETRY_SECONDS
        if before and found.version == before.version:
            if time.monotonic() < before.until:
                self.refused[alias] = before
                return present
            wait = min(2 * before.wait, LONGEST_SECONDS)
        try:
            return load_scorer(self.client, self.settings, self.schema, found.version)
        except Stop as reason:
            self.refused[alias] = Refused(found.version, time.monotonic() + wait, wait)
            log.error("%s %s does not answer: %s", alias, found.version, reason)  # noqa: TRY400 - the reason says it all
            return present
