"""The command line: reads arguments, calls a room, prints.

Importing this module loads nothing but the standard library, so that `--help` answers at once;
`commands` imports what each command needs.
"""

import argparse
import sys
from pathlib import Path

from ..utils.errors import Stop

Options = list[tuple[tuple[str, ...], dict[str, object]]]


def _option(*names: str, **settings: object) -> tuple[tuple[str, ...], dict[str, object]]:
    return names, settings


VERSION = _option("version", nargs="?", type=int, metavar="VERSION", help="the newest by default")
DIRTY = _option("--allow-dirty", action="store_true", help="accept uncommitted code")
SPARK = _option("--spark", metavar="MASTER", help="score there: spark://HOST:PORT, yarn, local[*]")
HAS_SPARK = (Path(__file__).parent.parent / "service" / "spark.py").exists()

COMMANDS: dict[str, tuple[str, Options]] = {
    "data ingest": (
        "Make the rows of a source the next version of a table.",
        [
            _option("source", nargs="?", metavar="SOURCE", help="all of [data.sources] by default"),
            _option("--name", metavar="TABLE", help="the first table of [data.sources] by default"),
        ],
    ),
    "data check": (
        "Compare two tables, files, versions (TABLE@N) or saved fingerprints.",
        [
            _option("a", metavar="A"),
            _option("b", nargs="?", metavar="B"),
            _option("--save", metavar="FILE", help="keep A's fingerprint, to carry elsewhere"),
        ],
    ),
    "data history": (
        "List the versions of the tables.",
        [_option("--name", metavar="TABLE", help="all tables by default")],
    ),
    "data adopt": (
        "Take over your own data: writes schema.py and [data].",
        [
            _option("file", metavar="FILE", help="a .csv or .parquet file"),
            _option("--target", required=True, metavar="T", help="the column to predict"),
            _option("--key", metavar="K", help="the column(s) that name a row, comma between"),
            _option("--time", metavar="C", help="when the row came to be"),
            _option("--group", metavar="G", help="the entity that owns several rows"),
        ],
    ),
    "data sample": (
        "Write invented rows that keep the schema.",
        [
            _option("file", metavar="FILE", help="a .csv or .parquet file"),
            _option("--rows", type=int, default=20_000, metavar="N"),
            _option("--seed", type=int, default=1, metavar="S"),
        ],
    ),
    "train": (
        "Split, fit, evaluate, record, register, and promote if the gate lets it pass.",
        [
            _option("--no-promote", action="store_true", help="stop after registering"),
            DIRTY,
            _option("--on", choices=["sagemaker", "kubernetes"], help="train there, in the image"),
        ],
    ),
    "promote": (
        "Make a version the champion if every gate lets it pass.",
        [
            VERSION,
            DIRTY,
            _option("--challenger", action="store_true", help="let it answer a share beside"),
        ],
    ),
    "rollback": ("Make the previous champion the champion again.", []),
    "reproduce": ("Train a past run again and compare.", [_option("run", metavar="RUN")]),
    "audit": (
        "List models and runs that nobody can trace.",
        [_option("--mend", action="store_true", help="mark what a crash left behind as such")],
    ),
    "serve": (
        "Answer predictions over HTTP.",
        [
            _option("--host", default="127.0.0.1", metavar="H"),
            _option("--port", type=int, default=8000, metavar="P"),
            _option("--workers", type=int, default=1, metavar="N"),
        ],
    ),
    "predict": (
        "Score a file.",
        [
            _option("input", metavar="INPUT"),
            _option("output", metavar="OUTPUT"),
            _option("--version", type=int, metavar="V", help="the champion by default"),
            *([SPARK] if HAS_SPARK else []),
        ],
    ),
    "replay": ("Repeat a past prediction and compare.", [_option("id", metavar="ID")]),
    "outcomes": (
        "Join what really happened to the predictions, and judge each version by it.",
        [_option("file", metavar="FILE", help="prediction_id or key, the target, maybe a value")],
    ),
    "journal export": (
        "Write past predictions with their inputs to a file or Delta table.",
        [
            _option("output", metavar="OUTPUT"),
            _option("--days", type=float, default=36_500, metavar="D", help="the last D days only"),
        ],
    ),
    "monitor": ("Look for drift, silence, decay and staleness.", []),
    "config show": ("Print all settings as they are in force.", []),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return 0 (done), 1 (a gate said no) or 2 (wrong use)."""
    options = _parser().parse_args(arguments)
    try:
        from . import commands

        text, result, code = commands.run(options.command, options)
    except Stop as stop:
        text, result, code = "", {"error": str(stop)}, stop.exit_code
        sys.stderr.write(f"{stop}\n")
    except OSError as error:
        text, result, code = "", {"error": str(error)}, 2
        sys.stderr.write(f"{error}\n")
    except ModuleNotFoundError as error:
        said = f"{options.command}: {error} here. `uv sync` installs all; an image may hold less."
        text, result, code = "", {"error": said}, 2
        sys.stderr.write(f"{said}\n")
    except KeyboardInterrupt:
        return 130
    if options.json:
        import json

        text = json.dumps(result, default=str)
    try:
        sys.stdout.write(f"{text}\n" if text else "")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read this has seen enough
        sys.stdout = None
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Every command takes --json.")
    first = parser.add_subparsers(required=True, metavar="COMMAND")
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for name, (text, options) in COMMANDS.items():
        group, _, verb = name.rpartition(" ")
        if group and group not in groups:
            verbs = ", ".join(n.split()[1] for n in COMMANDS if n.startswith(f"{group} "))
            groups[group] = first.add_parser(group, help=verbs).add_subparsers(
                required=True, metavar="COMMAND"
            )
        command = (groups[group] if group else first).add_parser(verb, help=text, description=text)
        command.set_defaults(command=name)
        command.add_argument("--json", action="store_true", help="one JSON object at the end")
        for names, settings in options:
            command.add_argument(*names, **settings)  # type: ignore[arg-type]
    return parser
