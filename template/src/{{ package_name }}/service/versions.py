"""The versions that answer: champion and challenger, exchanged while the service runs."""

import hashlib
import logging
import threading
import time
from dataclasses import dataclass

import pandera.pandas as pa
from mlflow import MlflowClient

from ..training import registry
from ..utils.config import Settings
from ..utils.errors import Stop
from .scoring import Scorer, load_scorer

log = logging.getLogger(__name__)

RETRY_SECONDS, LONGEST_SECONDS = 60, 3_600


@dataclass(frozen=True)
class LiveVersions:
    """Who answers now."""

    champion: Scorer
    challenger: Scorer | None

    def assigned(self, unit: str, share: float) -> tuple[str, Scorer]:
        """Return the group that a key is always in, by a hash, and who answers it."""
        if self.challenger and share > 0:
            hashed = hashlib.sha256(f"challenger\x1f{unit}".encode()).hexdigest()
            if int(hashed[:8], 16) < share * 2**32:
                return registry.CHALLENGER, self.challenger
        return registry.CHAMPION, self.champion


class Versions:
    """Looks after the aliases. A version that fails to load or to prove itself never answers.

    UsageError where there is no champion yet, GateRefused where it fails a gate.
    """

    def __init__(
        self, client: MlflowClient, settings: Settings, schema: pa.DataFrameSchema
    ) -> None:
        self.client, self.settings, self.schema = client, settings, schema
        self.refused: dict[int, tuple[float, float]] = {}
        """By version: when it is tried again, and the wait after that; it may be the network."""
        self.now = LiveVersions(load_scorer(client, settings, schema), None)
        self.look()

    def watch(self, stopped: threading.Event) -> None:
        """Look for other versions until stopped."""
        while not stopped.wait(self.settings.service.poll_seconds):
            try:
                self.look()
            except Exception as reason:
                said = "looking for other versions failed; the present ones go on: %s"
                log.warning(said, reason, exc_info=not isinstance(reason, Stop))

    def look(self) -> None:
        """Take up what the aliases point to now."""
        champion = self._scorer(registry.CHAMPION, self.now.champion) or self.now.champion
        wanted = self.settings.service.challenger_share > 0 or self.settings.service.shadow
        challenger = self._scorer(registry.CHALLENGER, self.now.challenger) if wanted else None
        now = LiveVersions(champion, challenger)
        if now != self.now:
            self.now = now
            other = f", challenger {challenger.version}" if challenger else ""
            log.warning("answering now: champion %s%s", champion.version, other)

    def _scorer(self, alias: str, present: Scorer | None) -> Scorer | None:
        """Return the scorer of an alias: the present one, a new one, None where there is none."""
        found = registry.alias(self.client, alias)
        if found is None:
            return None
        until, wait = self.refused.get(found.version, (0, RETRY_SECONDS))
        if (present and found.version == present.version) or time.monotonic() < until:
            return present
        try:
            scorer = load_scorer(self.client, self.settings, self.schema, found.version)
        except Stop as reason:
            self.refused[found.version] = time.monotonic() + wait, min(2 * wait, LONGEST_SECONDS)
            log.error("%s %s does not answer: %s", alias, found.version, reason)  # noqa: TRY400 - the reason says it all
            return present
        self.refused.pop(found.version, None)
        return scorer
