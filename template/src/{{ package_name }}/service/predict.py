"""POST /predict, read and answered without the layers of a framework: they would take longer.

Order of such a request: room in the queue, API key, size, form, then the micro-batch.
"""

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from typing import Any, get_args

import pandas as pd
import pandera.pandas as pa
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.types import ASGIApp, Receive, Scope, Send

from ..data.validation import screen
from ..utils.errors import Stop
from .answer import Predictor, Refusal, Request
from .batching import Batcher, LateError
from .requests import Row, Rows, checks_all

log = logging.getLogger(__name__)

FIGURES = "/metrics"
OPERATING = {FIGURES, "/model", "/health/live", "/health/ready"}
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
ON_SAGEMAKER = {"/ping": "/health/ready", "/invocations": "/predict"}
"""What an endpoint there calls them."""
ROWS = b'"rows"'
NOTE_SECONDS = 0.01
"""So long the figures of a request wait for those of others, to be noted together."""
LISTENS = 4
"""Who sends more than so many times what is allowed is cut off."""
MOST_TOLD = 100
"""Of all that is wrong with a request."""
PLAIN_JSON = (
    ". Send plain JSON in UTF-8: no byte order mark, not compressed, and over HTTP/1.1 (a client "
    "that asks to upgrade to HTTP/2, as Java's does by default, loses the body)"
)
CLOSED = (
    "Not at this port, or not for callers from elsewhere: see [service] operating_port in "
    "config.toml."
)


class Service:
    """The application: answers POST /predict, and hands everything else on.

    Figures are for those who operate the service: they are told on a port of their own, or, where
    there is none, to callers on this machine.
    """

    def __init__(
        self, app: ASGIApp, form: type[Rows], asked: pa.DataFrameSchema, predictor: Predictor
    ) -> None:
        self.app, self.form, self.asked = app, form, asked
        (row,) = get_args(form.model_fields["rows"].annotation)
        self.single = TypeAdapter(row).validator
        self.predictor, self.metrics = predictor, predictor.metrics
        self.versions, self.limits = predictor.versions, (limits := predictor.settings)
        waits = limits.queue, limits.timeout_seconds
        self.batcher = Batcher(predictor.answer, predictor.quick, *waits)
        # Apart, in threads: nobody waits for a challenger but those whom it answers.
        self.challenged, self.shadow = (
            Batcher(predictor.answer, lambda _: False, *waits) for _ in range(2)
        )
        # A secret from a file ends in a newline, which no header can hold.
        self.key = limits.api_key.get_secret_value().strip().encode() if limits.api_key else None
        self.most_bytes = int(limits.max_megabytes * 1e6)
        self.simple = checks_all(asked)
        self.noting = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection as ASGI asks for."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"] = ON_SAGEMAKER.get(scope["path"], scope["path"])
        if not self._open(scope):
            await _send(send, 404, to_json({"detail": CLOSED}))
        elif scope["path"] == "/predict" and scope["method"] == "POST":
            await self._predict(scope, receive, send)
        elif scope["method"] == "HEAD":  # as load balancers ask; the server leaves the body out
            await self.app({**scope, "method": "GET"}, receive, send)
        else:
            await self.app(scope, receive, send)

    def _open(self, scope: Scope) -> bool:
        path, (_, port) = scope["path"], scope["server"]
        if self.limits.operating_port is None:
            return path != FIGURES or scope["client"] is None or scope["client"][0] in LOOPBACK
        return path in OPERATING if port == self.limits.operating_port else path != FIGURES

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is; never with a traceback."""
        start, code, version = time.perf_counter(), 200, self.versions.now.champion.version
        try:
            request = self.predictor.request(await self._rows(scope, receive))
            version = request.rows[0].scorer.version
            answer = await self._answer(request)
        except Refusal as refusal:
            code, answer = refusal.code, to_json({"detail": refusal.detail})
        except Exception as error:
            expected = isinstance(error, Stop)  # a rule that raises; it says where
            log.error("a request could not be answered: %s", error, exc_info=not expected)  # noqa: TRY400
            code, answer = 500, to_json({"detail": "The service failed; its log says why."})
        seconds = time.perf_counter() - start
        self.metrics.requests.append((version, code, seconds))
        if not self.noting:
            self.noting = True
            asyncio.get_running_loop().call_later(NOTE_SECONDS, self._note)
        await _send(send, code, answer)

    def _note(self) -> None:
        self.noting = False
        waiting = [*self.batcher.waiting, *self.challenged.waiting]
        self.metrics.figure("waiting_requests").set(len(waiting))
        self.metrics.catch_up()

    async def _rows(self, scope: Scope, receive: Receive) -> list[Row]:
        if self.batcher.full:
            raise Refusal(503, "Too much load; try again in a second.")
        if self.key is not None:
            sent = dict(scope["headers"]).get(b"x-api-key", b"")
            if not (sent and secrets.compare_digest(sent, self.key)):
                raise Refusal(401, "The header X-API-Key is missing or wrong.")
        return self._checked(await self._body(receive))

    async def _answer(self, request: Request) -> bytes:
        now, batcher = request.now, self.batcher
        if now.challenger and any(row.scorer is now.challenger for row in request.rows):
            batcher = self.challenged
        try:
            answer = await batcher.ask(request)
        except (asyncio.QueueFull, LateError) as error:
            if isinstance(error, LateError):
                self.metrics.figure("timeouts", request.rows[0].scorer.version).inc()
            raise Refusal(503, f"Too much load: {error}; try again in a second.") from None
        if along := self.predictor.shadow(request):
            with suppress(asyncio.QueueFull):  # it can't keep up
                self.shadow.add(along).add_done_callback(_shadowed)
        return answer

    async def _body(self, receive: Receive) -> bytes:
        """Return the body. What is too much is read a while, or the caller would hear no answer."""
        body, size, more = bytearray(), 0, True
        while more and size <= LISTENS * self.most_bytes:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size <= self.most_bytes:
                body += part
            more = message.get("more_body", False)
        if size > self.most_bytes:
            raise Refusal(413, f"The body is larger than {self.most_bytes:,} bytes.")
        return bytes(body)

    def _read(self, body: bytes) -> list[Row]:
        if ROWS not in body:  # a row by itself is read in half the time; if not, the form says why
            with suppress(ValidationError):
                return [self.single.validate_json(body)]
        rows: list[Row] = self.form.model_validate_json(body).rows
        return rows

    def _checked(self, body: bytes) -> list[Row]:
        try:
            rows = self._read(body)
        except ValidationError as error:
            # What was sent is not sent back, as it may be no text.
            wrong = error.errors(include_url=False, include_context=False, include_input=False)
            told: list[dict[str, Any]] = [
                {**one, "loc": ["body", *one["loc"]]} for one in wrong[:MOST_TOLD]
            ]
            if wrong[0]["type"] == "json_invalid":
                told[0]["msg"] += PLAIN_JSON
            if len(wrong) > MOST_TOLD:
                told[-1]["msg"] += f" (and {len(wrong) - MOST_TOLD:,} more)"
            raise Refusal(422, told) from None
        if not self.simple:
            bad = screen(pd.DataFrame(rows, columns=list(self.asked.columns)), self.asked).bad
            if len(bad):
                raise Refusal(422, bad[["row", "reason"]].head(MOST_TOLD).to_dict("records"))
        return rows


def _shadowed(done: "asyncio.Future[bytes]") -> None:
    if (error := done.exception()) and not isinstance(error, Refusal):
        log.warning("the shadow failed: %r", error)


async def _send(send: Send, code: int, answer: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    if code == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
