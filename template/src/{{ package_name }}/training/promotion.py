"""Decides which version answers for production, and takes the decision back on request."""

from dataclasses import asdict, dataclass

import pandera.pandas as pa
from mlflow import MlflowClient

from ..utils.config import Settings
from ..utils.errors import GateRefused, UsageError
from . import registry
from .registry import Registered
from .tracking import MODEL


@dataclass(frozen=True)
class Decision:
    """What was decided, and why."""

    version: int
    champion: int | None
    previous: int | None
    challenger: int | None
    promoted: bool
    reasons: list[str]
    """What spoke against the version."""


def promote(  # noqa: PLR0913 - what is promoted, and as what
    client: MlflowClient,
    number: int | None,
    settings: Settings,
    schema: pa.DataFrameSchema,
    *,
    allow_dirty: bool = False,
    challenger: bool = False,
) -> Decision:
    """Make a version the champion if every gate lets it pass; keep the decision either way.

    `number` is None for the newest version. `allow_dirty` lets a model made from uncommitted code
    replace another. `challenger` makes it the challenger instead, which need not be as good as the
    champion yet.
    """
    from .gates import objections  # noqa: PLC0415 - who goes back needs no scikit-learn

    with registry.switching(settings):
        candidate = registry.version(client, number)
        champion = registry.alias(client, registry.CHAMPION)
        rival = None if challenger or champion == candidate else champion
        try:
            reasons = [*objections(candidate, rival, settings, schema, allow_dirty=allow_dirty)]
        except GateRefused as refusal:
            reasons = [str(refusal)]
        if not reasons and challenger:
            client.set_registered_model_alias(MODEL, registry.CHALLENGER, str(candidate.version))
        elif not reasons:
            registry.switch(client, candidate, champion)
        return _decided(client, candidate, promoted=not reasons, reasons=reasons)


def rollback(client: MlflowClient, settings: Settings) -> Decision:
    """Make the previous champion the champion again, if it still loads and answers as it did.

    UsageError where there is no previous champion.
    """
    with registry.switching(settings):
        champion = registry.alias(client, registry.CHAMPION)  # none, where somebody deleted it
        previous = registry.alias(client, registry.PREVIOUS)
        if previous is None or previous == champion:
            raise UsageError("There is no previous champion to go back to: promote a version.")
        registry.fetch(previous, settings)
        registry.switch(client, previous, champion)
        return _decided(client, previous, promoted=True, reasons=["rollback"])


def _decided(
    client: MlflowClient, about: Registered, *, promoted: bool, reasons: list[str]
) -> Decision:
    names = (registry.CHAMPION, registry.PREVIOUS, registry.CHALLENGER)
    found = {name: registry.alias(client, name) for name in names}
    numbers = {name: known.version if known else None for name, known in found.items()}
    decision = Decision(about.version, **numbers, promoted=promoted, reasons=reasons)
    registry.note_decision(client, about, asdict(decision))
    return decision
