"""The commands that answer, and those that go back to past answers."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..utils.errors import UsageError
from .command import Options, Project, Result, argument, command, needs


@command(
    "serve",
    argument("--host", default="127.0.0.1", metavar="H"),
    argument("--port", type=int, default=8000, metavar="P"),
    argument("--workers", type=int, default=1, metavar="N"),
)
def serve(options: Options, project: Project) -> Result:
    """Answer predictions over HTTP."""
    needs("service.app", "a service", "delivery=both")
    with _ends_at_once():
        from ..service.server import serve
        from ..utils.environment import ENDPOINT

        settings, host, port = project.settings, options.host, options.port
        if ENDPOINT in os.environ:
            from ..training.sagemaker import need_journal, take_secret

            settings, host, port = take_secret(), "0.0.0.0", 8080  # noqa: S104 - as AWS wants it
            need_journal(settings)
        serve(settings, host, port, options.workers)
    return "", {}, 0


@contextmanager
def _ends_at_once() -> Iterator[None]:
    """Let the process end when it is told to: an exception may get lost in what it does just then.

    While uvicorn answers it takes the signals itself, and hands them on when all is answered.
    """
    stops = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(one, lambda *_: os._exit(0)) for one in stops]
    try:
        yield
    finally:
        for one, handler in zip(stops, before, strict=True):
            signal.signal(one, handler)


@command(
    "predict",
    argument("input", metavar="INPUT"),
    argument("output", metavar="OUTPUT"),
    argument("--version", type=int, metavar="V", help="the champion by default"),
    argument("--spark", metavar="MASTER", help="score there: spark://HOST:PORT, yarn, local[*]"),
)
def predict(options: Options, project: Project) -> Result:
    """Score a file."""
    needs("service.batch", "scoring of files", "delivery=both")
    if options.spark:
        needs("service.spark", "Spark", "scale=spark")
    from pathlib import Path

    from ..service.batch import score_file
    from ..service.scoring import load_scorer
    from ..service.tally import keep

    settings, schema = project.settings, project.schema
    scorer = load_scorer(project.client, settings, schema, options.version)
    if options.spark:
        from ..service.spark import score_in_spark

        done = score_in_spark(
            options.spark, options.input, options.output, scorer, settings, schema
        )
    else:
        output = Path(options.output)
        done = score_file(options.input, output, scorer, schema, settings.service.chunk_rows)
    keep(settings, done.tally)
    if not done.scored:
        raise UsageError(f"Not one of {done.rows} rows could be scored; {done.rejects} says why.")
    text = f"{done.scored:,} of {done.rows:,} rows scored by version {done.version}: {done.output}"
    if done.rejects:
        text += f"\n{done.rejected:,} rows were rejected, with reasons: {done.rejects}"
    return text, {name: value for name, value in vars(done).items() if name != "tally"}, 0


@command("replay", argument("id", metavar="ID"))
def replay(options: Options, project: Project) -> Result:
    """Repeat a past prediction and compare."""
    from datetime import UTC, datetime

    journal = project.journal  # or the word that there is no service
    from ..service.replay import replay

    found = replay(project.client, project.settings, journal, options.id)
    made = datetime.fromtimestamp(found.time, UTC).isoformat(" ", "seconds")
    lines = [
        f"{found.verdict}: {found.prediction} by version {found.version} ({found.runtime}), {made}"
    ]
    lines += [f"  {one.what}: {one.then} then, {one.now} now" for one in found.differences]
    lines += [f"  {name} = {value}" for name, value in found.inputs.items()]
    return "\n".join(lines), vars(found), int(found.verdict != "identical")


@command(
    "journal export",
    argument("output", metavar="OUTPUT"),
    argument("--days", type=float, default=36_500, metavar="D", help="the last D days only"),
)
def export(options: Options, project: Project) -> Result:
    """Write past predictions with their inputs to a file or Delta table."""
    import time
    from pathlib import Path

    from ..service.export import export

    since = max(0, time.time() - 86_400 * options.days)
    rows = export(project.journal, Path(options.output), since)
    text = f"{rows:,} predictions in {options.output}"
    if not rows:
        text = f"No predictions were made in that time: {options.output} was not written."
    return text, {"rows": rows, "output": options.output}, 0
