"""Predictions on their way into the journal's SQLite file: notes that are only appended to.

To append a line costs a tenth of a transaction. Each process that answers has a note of its own,
under a lock for as long as it lives, so any other process can tell which notes are finished.
"""

import errno
import io
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where the journal does without
    fcntl = None  # type: ignore[assignment]

LOCKS = fcntl is not None
AT_ONCE = 8_000_000
"""Bytes of a note that are handed on together."""


class Intake:
    """The notes in a folder; OSError where they can't be written or read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._note: io.FileIO | None = None
        self._lock = threading.Lock()

    def append(self, line: bytes) -> None:
        """Add a line to this process's note, whole or not at all."""
        with self._lock:
            if self._note is None:
                self._note = self._begun()
            written = self._note.write(line)
            if written < len(line):  # the disk is full
                self._note.truncate(self._note.tell() - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _begun(self) -> io.FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{secrets.token_hex(8)}.note"
        note = path.open("ab", buffering=0)
        try:
            fcntl.flock(note, fcntl.LOCK_EX)
        except OSError:  # a file system without locks; or each request would leave a file
            path.unlink()
            raise
        return note

    def finish(self) -> None:
        """Let go of this process's note; the next line begins another one."""
        with self._lock:
            if self._note is not None:
                if not os.fstat(self._note.fileno()).st_size:  # the disk was full
                    Path(self._note.name).unlink(missing_ok=True)
                self._note.close()
            self._note = None

    def lines(self) -> Iterator[list[bytes]]:
        """Yield the lines of all notes in pieces. A finished note goes when all of it was taken.

        Lines of the others come again, and so do those of a note whose taker fails.
        """
        for path in sorted(self._folder.glob("*.note")):
            with suppress(FileNotFoundError), path.open("rb") as note:  # another took it
                finished = _unlocked(note)
                while some := note.readlines(AT_ONCE):
                    whole = [line for line in some if line.endswith(b"\n")]
                    yield whole
                    if whole != some:  # the last is being written, or was when its process died
                        break
                if finished and note.tell():  # an empty one was begun and will be locked next
                    path.unlink()

    def set_aside(self, lines: list[bytes]) -> Path:
        """Keep lines that nobody can take, for a person to look at; return the file."""
        path = self._folder / "spoilt"
        with path.open("ab") as file:
            file.writelines(lines)
        return path


def _unlocked(note: IO[bytes]) -> bool:
    try:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
