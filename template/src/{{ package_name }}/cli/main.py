"""The command line: reads arguments, calls a room, prints.

Nothing but the standard library is loaded before a command runs, so that `--help` answers at once;
each command imports what it needs.
"""

import argparse
import sys
from importlib import import_module

from ..utils.errors import Stop
from .command import COMMANDS, Options, Project, Result

for module in ("data", "training", "service", "monitoring"):  # in the order of --help
    import_module(f".{module}", __package__)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return 0 (done), 1 (a gate said no) or 2 (wrong use)."""
    options = _parser().parse_args(arguments)
    try:
        text, result, code = _run(options)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        said = str(error)
        if isinstance(error, ModuleNotFoundError):
            said = f"{options.command}: {said}. `uv sync` installs all; an image may hold less."
        elif type(error).__module__ == "mlflow.exceptions":
            said = f"MLflow failed: {said.splitlines()[0]}"
        elif not isinstance(error, Stop | OSError):
            raise
        sys.stderr.write(f"{said}\n")
        text, result, code = "", {"error": said}, getattr(error, "exit_code", 2)
    if options.json:
        from ..utils.plain import to_json

        text = to_json(result)
    try:
        sys.stdout.write(f"{text}\n" if text else "")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read this has seen enough
        sys.stdout = None
    return code


def _run(options: Options) -> Result:
    """Run a command. SIGTERM becomes an exception, so that a stopped run is marked as such."""
    import logging
    import signal
    import warnings

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    return COMMANDS[options.command][2](options, Project())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Every command takes --json.")
    first = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {"": first}
    for words, (text, arguments, _) in COMMANDS.items():
        group, _, verb = words.rpartition(" ")
        if group not in groups:
            verbs = ", ".join(name.split()[1] for name in COMMANDS if name.startswith(f"{group} "))
            below = first.add_parser(group, help=verbs)
            groups[group] = below.add_subparsers(required=True, metavar="COMMAND")
        command = groups[group].add_parser(verb, help=text, description=text)
        command.set_defaults(command=words)
        command.add_argument("--json", action="store_true", help="one JSON object at the end")
        for names, settings in arguments:
            command.add_argument(*names, **settings)  # type: ignore[arg-type]  # any of its options
    return parser
