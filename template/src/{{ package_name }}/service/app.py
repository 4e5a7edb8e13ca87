"""The REST service: its routes, made from the schema."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version as installed
from typing import Any

import pandera.pandas as pa
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from mlflow import MlflowClient
from pydantic import BaseModel

from ..data.columns import categories, describe
from ..data.sample import example_row
from ..training.registry import CHALLENGER, CHAMPION
from ..utils import environment
from ..utils.config import Settings
from ..utils.paths import PACKAGE
from .answer import Answerer
from .batching import Batcher
from .journal import open_journal
from .metrics import Metrics
from .pages import try_page
from .predict import Predict, Routes
from .reference import docs_page
from .requests import Rows, request_model
from .scoring import askable
from .versions import Versions

REFUSALS = {
    "401": "The API key is missing or wrong.",
    "413": "The body is too large.",
    "422": "A field is wrong; it is named.",
    "500": "The model's answer is not finite, so it is not sent.",
    "503": "Too much load, or the prediction can't be recorded; try again after Retry-After.",
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


def create_app(client: MlflowClient, settings: Settings, schema: pa.DataFrameSchema) -> Routes:
    """Return the service, with the champion loaded and proved.

    Raises
    ------
    UsageError
        There is no champion yet, or the journal can't be opened.
    GateRefused
        The champion fails a gate, or the package is not as it was built.
    """
    wheel, package_commit = environment.wheel(), environment.commit().id
    limits = settings.service
    versions = Versions(client, settings, schema)
    columns = describe(schema, settings.data)
    journal = open_journal(settings)
    metrics = Metrics(versions.now.champion, limits.latency_budget_ms)
    listed = {name: categories(schema.columns[name]) for name in columns.of("category")}
    known = {name: frozenset(values) for name, values in listed.items() if values}
    answerer = Answerer(versions, journal, metrics, columns, known)
    batcher = Batcher(answerer.answer, answerer.quick, limits.queue, limits.timeout_seconds)
    example = example_row(schema, columns)
    form = request_model(schema, columns, example, limits.max_rows)
    asked = askable(schema, columns)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stopped = threading.Event()
        keep = partial(metrics.durations.keep, journal)
        for work in (versions.watch, journal.tidy, keep):
            threading.Thread(target=work, args=[stopped], daemon=True).start()
        yield
        stopped.set()
        metrics.durations.write(journal)

    app = FastAPI(
        title=versions.now.champion.name, lifespan=lifespan, docs_url=None, redoc_url=None
    )

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Tell that the process runs."""
        return {"status": "alive"}

    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        """Tell whether predictions are answered: a model is loaded and the journal takes them."""
        if answerer.writable:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"detail": "The journal takes no predictions."}, 503)

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

    @app.get("/metrics")
    def figures() -> Response:
        """Return the figures of the service for Prometheus."""
        now = versions.now
        metrics.answering.labels(CHAMPION).set(now.champion.version)
        metrics.answering.labels(CHALLENGER).set(now.challenger.version if now.challenger else 0)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    form_page = try_page(app.title, schema, columns, example)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(form_page)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    keyed = limits.api_key is not None
    app.openapi = lambda: _openapi(app, form, keyed=keyed)  # type: ignore[method-assign]
    predict = Predict(form, asked, batcher, versions, metrics)
    return Routes(app, predict, limits.operating_port)


def _openapi(app: FastAPI, form: type[Rows], *, keyed: bool) -> dict[str, Any]:
    """Describe /predict beside the routes that FastAPI knows."""
    if app.openapi_schema is None:
        said = get_openapi(title=app.title, version=installed(PACKAGE.name), routes=app.routes)
        parts = said.setdefault("components", {}).setdefault("schemas", {})
        for model in (form, Answer):
            described = model.model_json_schema(ref_template="#/components/schemas/{model}")
            parts |= described.pop("$defs", {}) | {model.__name__: described}
        answer = _json("What the model says", "Answer")
        refused = {code: {"description": text} for code, text in REFUSALS.items()}
        predict = {
            "summary": "Answer one row or many.",
            "requestBody": {"required": True} | _json("", form.__name__),
            "responses": {"200": answer} | refused,
        }
        if keyed:
            key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
            said["components"]["securitySchemes"] = {"key": key}
            predict["security"] = [{"key": []}]
        said["paths"] = {"/predict": {"post": predict}} | said["paths"]
        app.openapi_schema = said
    return app.openapi_schema


def _json(description: str, model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
