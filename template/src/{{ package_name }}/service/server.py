"""Starts the REST service on a port of its own, in one process or several."""

import contextlib
import errno
import gc
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from functools import partial

import uvicorn
from uvicorn.supervisors import Multiprocess

from ..preprocessing.schema import Rows
from ..training import tracking
from ..utils import config
from ..utils.config import Settings
from ..utils.errors import Stop, UsageError
from .app import create_app
from .predict import Service

configured = partial(
    uvicorn.Config,
    log_level="warning",
    access_log=False,
    server_header=False,
    timeout_graceful_shutdown=30,
)


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Answer until stopped; what was taken is answered first.

    UsageError where a port is taken, or there is no champion yet.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least one is needed.")
    with contextlib.ExitStack() as opened:
        ports = {"--port": port, "[service] operating_port": settings.service.operating_port}
        listeners = [
            opened.enter_context(_bind(host, one, name))
            for name, one in ports.items()
            if one is not None
        ]
        app = create_worker(settings)  # whatever is wrong shows here, once
        host, port = listeners[0].getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        said = f"with version {app.versions.now.champion.version}; {url}/docs says how to ask."
        sys.stderr.write(f"Answering at {url} {said} Ctrl-C stops it.\n")
        if workers == 1:
            server = uvicorn.Server(configured(app, workers=1))
            for one in (signal.SIGINT, signal.SIGTERM):  # uvicorn hands them on once it is through
                signal.signal(one, lambda *_: None if server.started else os._exit(0))
            server.run(listeners)
            return
        # What the workers add up for /metrics:
        figures = opened.enter_context(tempfile.TemporaryDirectory())
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = figures
        several = configured(f"{__name__}:create_worker", factory=True, workers=workers)
        Multiprocess(several, listeners).run()


def _bind(host: str, port: int, name: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, as asyncio sends small answers at once only where it is known.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # now, or another service could have the port as well
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or "ports end at 65535"
        if getattr(error, "errno", errno.EACCES) not in {errno.EADDRINUSE, errno.EACCES}:
            name = "--host"
        raise UsageError(f"{host}:{port} can't be used: {reason}. Change {name}.") from None
    return listener


def create_worker(settings: Settings | None = None) -> Service:
    """Return the service for one process; uvicorn calls this in each of several."""
    if parent := multiprocessing.parent_process():  # nobody else would stop this one
        threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    try:
        settings = settings or config.load()
        app = create_app(tracking.connect(settings), settings, Rows.to_schema())
    except Stop as error:
        if parent:
            sys.exit(f"A worker can't start, and is tried again: {error}")
        raise
    gc.collect()
    gc.freeze()  # what is loaded by now stays; to look through it again would cost milliseconds
    return app


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
