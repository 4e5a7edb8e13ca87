"""The command line: reads arguments, calls a room, prints.

Nothing but the standard library is loaded before a command runs, so that `--help` answers at once;
each command imports what it needs.
"""

import argparse
import re
import sys
from importlib import import_module
from io import StringIO, TextIOWrapper

from ..utils.errors import GateRefused, Stop, UsageError
from .command import COMMANDS, Options, Project, Result

TYPE_CHECKING = False  # as in command.py
if TYPE_CHECKING:
    from typing import NoReturn

for module in ("data", "training", "service", "monitoring"):  # in the order of --help
    import_module(f".{module}", __package__)

DECIDING = {"train", "promote", "rollback"}
FOREIGN = {
    "mlflow.exceptions": ("MlflowException", "MLflow"),
    "sqlalchemy.exc": ("SQLAlchemyError", "The database"),
    "pandas.errors": ("DatabaseError", "The database"),
    "sqlite3": ("DatabaseError", "The database"),
    "deltalake.exceptions": ("DeltaError", "Delta Lake"),
    "pandera.errors": ("SchemaInitError", "preprocessing/schema.py"),
}
"""By module: errors that the world around causes, and whose they are."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return 0 (done), 1 (a gate said no) or 2 (wrong use)."""
    sys.stdout, sys.stderr = sys.stdout or StringIO(), sys.stderr or StringIO()  # if closed
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal may not know every letter
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    options = Options(command="", json="--json" in words)
    try:
        _, unknown = _parser().parse_known_args(words, options)
        if unknown := [word for word in unknown if word != "--json"]:
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        text, result, code = _run(options)
    except KeyboardInterrupt:
        text, result, code = "", {"error": "Interrupted."}, 130
    except Exception as error:
        if (said := _explain(error, options.command)) is None:
            raise
        from ..utils.config import without_password

        said = without_password(said)  # others name the whole URL that failed
        sys.stderr.write(f"{said}\n")
        refused = isinstance(error, GateRefused) and options.command in DECIDING
        decision = {"promoted": False, "reasons": [said]} if refused else {}
        text, result, code = "", {"error": said, **decision}, getattr(error, "exit_code", 2)
    if options.json:
        from ..utils.plain import to_json

        text = to_json(result)
    try:
        sys.stdout.write(f"{text}\n" if text else "")
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = None
        if not isinstance(error, BrokenPipeError):  # who reads no more has seen enough
            sys.stderr.write(f"The result can't be written: {error}\n")
            code = 2
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


def _explain(error: Exception, command: str) -> str | None:
    """Say what stopped a command; None where only a traceback tells it."""
    from ..utils.paths import PACKAGE
    from ..utils.user_errors import one_line, user_line

    said, where = str(error).strip(), user_line(error)
    for module, (kind, whose) in FOREIGN.items():
        if isinstance(error, getattr(sys.modules.get(module), kind, ())):
            return f"{whose} failed: {str(error.__cause__ or said).splitlines()[0]}{where}"
    if isinstance(error, Stop):
        return said
    if isinstance(error, OSError):  # those of object stores come in coloured lines
        return " ".join(re.sub(r"\x1b\[\d*m|↳", " ", said).split()) + where
    name = str(getattr(error, "name", "")).partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and name != PACKAGE.name:
        return (
            f"{command}: {said}{where}. `uv sync` installs what pyproject.toml names (an image may "
            f"hold less), `uv add {name}` what it does not."
        )
    own = where or isinstance(error, ImportError | SyntaxError)  # of a file the user wrote
    return f"{command}: {one_line(error)}." if own else None


class Parser(argparse.ArgumentParser):
    """Tells of wrong arguments as commands tell of errors, below the usage."""

    def error(self, message: str) -> "NoReturn":
        """Stop with a message."""
        self.print_usage(sys.stderr)
        raise UsageError(message)


def _parser() -> Parser:
    parser = Parser(description="Every command takes --json.")
    first = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {"": first}
    for words, (text, arguments, _) in COMMANDS.items():
        group, _, verb = words.rpartition(" ")
        if group not in groups:
            verbs = ", ".join(name.split()[1] for name in COMMANDS if name.startswith(f"{group} "))
            below = first.add_parser(group, help=verbs)
            groups[group] = below.add_subparsers(required=True, metavar="COMMAND")
        one = groups[group].add_parser(verb, help=text, description=text)
        one.set_defaults(command=words, parser=one)
        one.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
        for names, settings in arguments:
            one.add_argument(*names, **settings)  # type: ignore[arg-type]  # any of its options
    return parser
