"""The REST service: its routes, made from the schema."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, get_args

import fastapi_offline
import pandera.pandas as pa
from fastapi import FastAPI, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.security import APIKeyHeader
from fastapi.staticfiles import StaticFiles
from mlflow import MlflowClient
from pydantic import BaseModel

from ..data.columns import describe
from ..data.sample import example_row
from ..training.registry import CHALLENGER, CHAMPION
from ..utils import environment
from ..utils.config import Settings
from ..utils.paths import PACKAGE
from .answer import RETRY_SECONDS, Predictor
from .journal import Journal, open_journal
from .metrics import Metrics
from .predict import Service
from .requests import request_model
from .scoring import input_schema
from .versions import Versions

PAGE = Path(__file__).with_name("page.html")
SWAGGER = Path(fastapi_offline.__file__).with_name("static")
"""Its scripts and styles, which FastAPI's own page fetches from another host."""


class Refused(BaseModel):
    """Why there is no answer."""

    detail: str | list[dict[str, Any]]


WHY = {
    401: "The API key is missing or wrong.",
    413: "The body is too large.",
    422: "A field is wrong; it is named.",
    500: "The model's answer is not finite, so it is not sent.",
    503: "Too much load, or no record of the prediction: see Retry-After.",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "model": Refused} for code, text in WHY.items()
}


class Prediction(BaseModel):
    """The answer to one row."""

    id: str
    prediction: bool | int | float | str
    probability: float | None = None
    """Of the class that was predicted."""
    probabilities: dict[str, float] | None = None
    group: str
    """`champion` or `challenger`: whose answer this is."""
    version: int


class Model(BaseModel):
    """Which model answers."""

    name: str
    version: int
    runtime: str


class Answer(BaseModel):
    """The answers to all rows of a request, in their order."""

    predictions: list[Prediction]
    model: Model


class Standing(Model):
    """The champion, and where it and this service come from."""

    commit: str | None
    """That the model was trained from."""
    package: str
    package_commit: str | None
    wheel: str | None
    """SHA-256 of the wheel that this service runs from, None where it runs from sources."""
    challenger: int | None


def create_app(client: MlflowClient, settings: Settings, schema: pa.DataFrameSchema) -> Service:
    """Return the service, with the champion loaded and proved.

    UsageError where there is no champion yet, or the journal can't be opened; GateRefused where the
    champion fails a gate, or the package is not as it was built.
    """
    wheel, package_commit = environment.wheel(), environment.commit().id
    limits = settings.service
    versions = Versions(client, settings, schema)
    columns = describe(schema, settings.data)
    journal = open_journal(settings)
    metrics = Metrics(versions.now.champion, schema, limits.latency_budget_ms)
    predictor = Predictor(versions, journal, metrics, columns)
    form = request_model(schema, columns, example_row(schema, columns), limits.max_rows)
    (row,) = get_args(form.model_fields["rows"].annotation)

    app = FastAPI(
        title=versions.now.champion.name,
        version=installed(PACKAGE.name),
        lifespan=partial(_lifespan, versions, journal, metrics),
        docs_url=None,
        redoc_url=None,
        servers=[{"url": "."}],
    )
    app.mount("/swagger", StaticFiles(directory=SWAGGER))
    key = [Security(APIKeyHeader(name="X-API-Key"))] if limits.api_key else []

    @app.post("/predict", responses=REFUSALS, dependencies=key)
    async def predict(body: form | row) -> Answer:  # type: ignore[valid-type]  # made above
        """Predict one row, or several (`{"rows": […]}`)."""
        raise NotImplementedError  # described here, answered by Service

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Tell that the process runs."""
        return {"status": "alive"}

    @app.get("/health/ready", responses={503: REFUSALS[503]})
    async def ready() -> JSONResponse:
        """Tell whether predictions are answered: a model is loaded and the journal takes them."""
        if predictor.writable:
            return JSONResponse({"status": "ready"})
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return JSONResponse({"detail": "The journal takes no predictions."}, 503, headers)

    @app.get("/model")
    async def model() -> Standing:
        """Tell which model answers, and where it comes from."""
        now = versions.now
        return Standing(
            name=now.champion.name,
            version=now.champion.version,
            runtime=now.champion.runtime,
            commit=now.champion.artifact.about.commit,
            package=installed(PACKAGE.name),
            package_commit=package_commit,
            wheel=wheel,
            challenger=now.challenger.version if now.challenger else None,
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    async def figures() -> Response:
        """Return the figures of the service for Prometheus."""
        now = versions.now
        for alias, scorer in (CHAMPION, now.champion), (CHALLENGER, now.challenger):
            metrics.figure("answering_version", alias).set(scorer.version if scorer else 0)
        metrics.catch_up()
        text = await run_in_threadpool(metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            title=app.title,
            openapi_url="openapi.json",
            swagger_js_url="swagger/swagger-ui-bundle.js",
            swagger_css_url="swagger/swagger-ui.css",
            swagger_favicon_url="data:,",
        )

    return Service(app, form, input_schema(schema, columns), predictor)


@asynccontextmanager
async def _lifespan(
    versions: Versions, journal: Journal, metrics: Metrics, _: FastAPI
) -> AsyncIterator[None]:
    """Do what goes on beside the answers."""
    stopped = threading.Event()
    keep = partial(metrics.durations.keep, journal)
    for work in (versions.watch, journal.tidy, keep):
        threading.Thread(target=work, args=[stopped], daemon=True).start()
    yield
    stopped.set()
    metrics.catch_up()
    metrics.durations.write(journal)
    journal.finish()
