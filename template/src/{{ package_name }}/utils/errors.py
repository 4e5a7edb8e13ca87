"""The two ways a command can stop: a gate said no, or it was used wrongly."""


class Stop(Exception):
    """Ends a command with one message for the user and an exit code, never a traceback."""

    exit_code = 1


class GateRefused(Stop):
    """A gate said no. The message names the gate, the place and what to do next."""

    exit_code = 1


class UsageError(Stop):
    """Wrong use or wrong input: a missing file, an unknown column, a bad setting."""

    exit_code = 2
