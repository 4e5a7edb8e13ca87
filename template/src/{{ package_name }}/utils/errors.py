"""The two ways a command can stop: a gate said no, or it was used wrongly."""


class Stop(Exception):
    """Ends a command with one message for the user and an exit code, never a traceback."""

    exit_code = 1


class GateRefused(Stop):
    """A gate said no. The message names the gate, the place and what to do next."""


class ColumnsGone(GateRefused):
    """Declared columns are missing from a source."""

    def __init__(self, source: str, columns: list[str], hint: str = "") -> None:
        self.columns = columns
        several = "s" if len(columns) > 1 else ""
        super().__init__(
            f"Schema gate: {source} was not ingested, as it lacks the declared column{several} "
            f"{', '.join(columns)}.{hint}"
        )


class UsageError(Stop):
    """Wrong use or wrong input: a missing file, an unknown column, a bad setting."""

    exit_code = 2
