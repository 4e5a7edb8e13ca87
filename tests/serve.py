"""Starts the service of a project and asks it, as its callers would."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from conftest import Project, environment


@dataclass(frozen=True)
class Answer:
    code: int
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, body: object, **headers: str) -> Answer:
        """Ask for predictions; bytes are sent as they are."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._open(urllib.request.Request(f"{self.url}/predict", text, headers))

    def get(self, path: str) -> Answer:
        return self._open(urllib.request.Request(f"{self.url}{path}"))

    def ids(self, rows: list[dict[str, Any]]) -> list[str]:
        """Ask and return the names of the predictions."""
        answer = self.post({"rows": rows})
        assert answer.code == 200, answer.body
        return [one["id"] for one in answer.body["predictions"]]

    def kill(self) -> None:
        """As `kill -9` does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _open(self, request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return _read(answer)
        except urllib.error.HTTPError as error:
            return _read(error)


def _read(answer: Any) -> Answer:
    text = answer.read().decode()
    body = json.loads(text) if "json" in answer.headers.get("content-type", "") else text
    return Answer(answer.status, body, {k.lower(): v for k, v in answer.headers.items()})


@contextmanager
def serving(
    project: Project, *options: str, prefix: tuple[str, ...] = (), **env: str
) -> Iterator[Service]:
    """Run the service until the end of the block; `prefix` is a command to run it under."""
    port = free_port()
    log = project.path.parent / "service.log"
    command = [str(project.path / ".venv/bin" / project.slug), "serve", "--port", str(port)]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*prefix, *command, *options],
            cwd=project.path,
            env=environment() | env,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    service = Service(f"http://127.0.0.1:{port}", process, log)
    try:
        for _ in range(600):
            assert process.poll() is None, f"the service ended:\n{log.read_text()}"
            try:
                if service.get("/health/ready").code == 200:
                    break
            except OSError:
                time.sleep(0.1)
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            code = process.wait(timeout=60)
            assert code == 0, f"{code}: {log.read_text()}"
            assert "Traceback" not in log.read_text(), log.read_text()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def crowd(service: Service, rows: list[dict[str, Any]], size: int) -> list[httpx.Response]:
    """Send this many requests at the same moment, each over a connection of its own."""
    limits = httpx.Limits(max_connections=size)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        asked = [
            client.post(f"{service.url}/predict", json=rows[n % len(rows)]) for n in range(size)
        ]
        return await asyncio.gather(*asked)
