"""How a command is declared, and what it works on."""

import argparse
from collections.abc import Callable, Mapping
from functools import cached_property

from ..utils.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:  # heavy, as typing itself, so not loaded for --help
    import pandera.pandas as pa
    from mlflow import MlflowClient

    from ..service.journal import Journal
    from ..utils.config import Settings

Options = argparse.Namespace
Result = tuple[str, Mapping[str, object], int]
"""The text for people, the object for `--json`, and the exit code."""
Argument = tuple[tuple[str, ...], dict[str, object]]
Call = Callable[[Options, "Project"], Result]


class Project:
    """What commands work on, opened when a command first asks for it."""

    @cached_property
    def settings(self) -> "Settings":
        """The settings that are in force."""
        from ..utils import config

        return config.load()

    @cached_property
    def schema(self) -> "pa.DataFrameSchema":
        """The declared columns."""
        from ..preprocessing.schema import Rows

        return Rows.to_schema()

    @cached_property
    def client(self) -> "MlflowClient":
        """The store of runs and models."""
        from ..training import tracking

        return tracking.connect(self.settings)

    @cached_property
    def journal(self) -> "Journal":
        """What the service was asked and what it answered."""
        needs("service.replay", "a service, whose journal this reads", "delivery=both")
        from ..service.journal import open_journal

        return open_journal(self.settings)


COMMANDS: dict[str, tuple[str, tuple[Argument, ...], Call]] = {}
"""By name: what it does, in a sentence; what it takes; what carries it out."""


def argument(*names: str, **settings: object) -> Argument:
    """Declare an argument, as `ArgumentParser.add_argument` takes it."""
    return names, settings


def command(words: str, *arguments: Argument) -> Callable[[Call], Call]:
    """Declare a function as a command; its docstring is the help."""

    def declare(call: Call) -> Call:
        COMMANDS[words] = call.__doc__ or "", arguments, call
        return call

    return declare


def has(module: str) -> bool:
    """Tell whether the project was made with a module of the package."""
    from importlib.util import find_spec

    return find_spec(f"..{module}", __package__) is not None


def needs(module: str, what: str, answer: str) -> None:
    """Stop where the project was made without a module that the command needs."""
    if not has(module):
        raise UsageError(
            f'This project was made without {what}. To add it: make update ARGS="--data {answer}"'
        )
