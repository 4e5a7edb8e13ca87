"""Starts the REST service on a port of its own."""

import socket

import uvicorn

from ..preprocessing.schema import Rows
from ..training import tracking
from ..utils.config import Settings
from ..utils.errors import UsageError
from .app import create_app


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Answer until stopped; what was taken is answered first.

    Raises
    ------
    UsageError
        The port is taken, or there is no champion yet.
    """
    if workers != 1:
        raise UsageError("--workers: more than one comes with a later version.")
    if not 0 <= port <= 65_535:
        raise UsageError(f"--port {port}: ports go from 0 to 65535.")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host}:{port} can't be used: {error.strerror}. Try --port."
            ) from None
        app = create_app(tracking.connect(settings), settings, Rows.to_schema())
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])
