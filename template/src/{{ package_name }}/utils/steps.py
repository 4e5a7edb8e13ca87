"""Says on standard error what is going on, and remembers how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Steps:
    """The steps of one piece of work and their seconds, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step, and note its duration when it is through."""
        sys.stderr.write(f"  {name} ...")
        sys.stderr.flush()
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            sys.stderr.write(" stopped\n")
            raise
        self.seconds[name] = round(time.perf_counter() - start, 3)
        sys.stderr.write(f" {self.seconds[name]:.1f} s\n")
