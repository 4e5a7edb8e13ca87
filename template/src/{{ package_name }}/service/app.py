"""The REST service: checks a request against the schema, asks the scorer, answers."""

import logging
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pandas as pd
import pandera.pandas as pa
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from mlflow import MlflowClient
from pydantic import BaseModel

from ..data.columns import describe
from ..data.sample import example_row
from ..data.validation import screen
from ..training import registry
from ..utils.config import Settings
from ..utils.errors import Stop
from .requests import Rows, request_model
from .scoring import Predictions, Scorer, askable, load_scorer

log = logging.getLogger(__name__)


class Prediction(BaseModel):
    """The answer to one row."""

    id: str
    prediction: bool | int | float | str
    probability: float | None = None
    """Of the class that was predicted."""
    probabilities: dict[str, float] | None = None
    group: str


class Model(BaseModel):
    """Which model answered."""

    name: str
    version: int
    runtime: str


class Answer(BaseModel):
    """The answers to all rows of a request, in their order."""

    predictions: list[Prediction]
    model: Model


class Champion:
    """The scorer that answers, exchanged while the service runs when the champion changes."""

    def __init__(
        self, client: MlflowClient, settings: Settings, schema: pa.DataFrameSchema
    ) -> None:
        self.client, self.settings, self.schema = client, settings, schema
        self.scorer = load_scorer(client, settings, schema)
        self.stopped = threading.Event()

    def watch(self) -> None:
        """Look for a new champion until stopped; one that fails to load never answers."""
        refused: int | None = None
        while not self.stopped.wait(self.settings.service.poll_seconds):
            try:
                version = registry.champion(self.client).version
                if version not in {self.scorer.version, refused}:
                    refused = version
                    self.scorer = load_scorer(self.client, self.settings, self.schema)
                    log.info("version %s answers now", version)
            except Stop as reason:
                log.error("version %s goes on answering: %s", self.scorer.version, reason)  # noqa: TRY400 - the reason says it all
            except Exception:
                log.exception("looking for a new champion failed; trying again")


def create_app(client: MlflowClient, settings: Settings, schema: pa.DataFrameSchema) -> FastAPI:
    """Return the service, with the champion loaded and proved.

    Raises
    ------
    UsageError
        There is no champion yet.
    GateRefused
        The champion fails a gate.
    """
    champion = Champion(client, settings, schema)
    columns = describe(schema, settings.data)
    asked = askable(schema, columns)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watcher = threading.Thread(target=champion.watch, daemon=True)
        watcher.start()
        yield
        champion.stopped.set()

    app = FastAPI(title=champion.scorer.name, lifespan=lifespan)

    def predict(request: Rows) -> Answer:
        """Answer one row or many."""
        scorer = champion.scorer
        rows = pd.DataFrame([row.model_dump(by_alias=True) for row in request.rows])
        screened = screen(rows, asked)
        if len(screened.bad):
            raise HTTPException(422, screened.bad[["row", "reason"]].to_dict("records"))
        predictions = scorer.predict(screened.good)
        if not predictions.finite.all():
            raise HTTPException(500, "The model's answer is not finite; it was not sent.")
        return Answer(
            predictions=[_prediction(scorer, predictions, row) for row in range(len(rows))],
            model=_model(scorer),
        )

    predict.__annotations__["request"] = request_model(
        schema, columns, example_row(schema, columns), settings.service.max_rows
    )
    app.post("/predict")(predict)

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        """Name what is wrong and where; what was sent is not sent back, as it may be no text."""
        said = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
        return JSONResponse({"detail": said}, 422)

    @app.get("/health/live")
    def live() -> dict[str, str]:
        """Tell that the process runs."""
        return {"status": "alive"}

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        """Tell that a model is loaded and answers."""
        return {"status": "ready"}

    @app.get("/model")
    def model() -> Model:
        """Tell which model answers."""
        return _model(champion.scorer)

    return app


def _model(scorer: Scorer) -> Model:
    return Model(name=scorer.name, version=scorer.version, runtime=scorer.runtime)


def _prediction(scorer: Scorer, predictions: Predictions, row: int) -> Prediction:
    shares = None
    if predictions.probabilities is not None and scorer.classes is not None:
        named = zip(scorer.classes, predictions.probabilities[row].tolist(), strict=True)
        shares = {
            str(label).lower() if isinstance(label, bool) else str(label): p for label, p in named
        }
    return Prediction(
        id=uuid.uuid4().hex,
        prediction=predictions.labels[row],
        probability=max(shares.values()) if shares else None,
        probabilities=shares,
        group="champion",
    )
