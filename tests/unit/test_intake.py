"""Notes on their way into the journal: no line is lost, and no other process's note is taken."""

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway_template.service import intake as intakes
from slipway_template.service.intake import Intake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "notes"


def lines(folder: Path) -> list[bytes]:
    """What anybody else finds there."""
    return [line for piece in Intake(folder).lines() for line in piece]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def test_lines_are_there_at_once_and_stay_until_the_note_is_finished(folder: Path) -> None:
    intake = Intake(folder)
    assert lines(folder) == []
    for line in (b"a\n", b"b\n"):
        intake.append(line)
    assert len(files(folder)) == 1
    assert lines(folder) == lines(folder) == [b"a\n", b"b\n"]
    assert [line for piece in intake.lines() for line in piece] == [b"a\n", b"b\n"]
    intake.append(b"c\n")
    intake.finish()
    intake.append(b"d\n")
    assert len(files(folder)) == 2
    assert sorted(lines(folder)) == [b"a\n", b"b\n", b"c\n", b"d\n"]
    assert lines(folder) == [b"d\n"]
    assert len(files(folder)) == 1


def test_a_note_whose_taker_fails_comes_again(folder: Path) -> None:
    intake = Intake(folder)
    intake.append(b"a\n")
    intake.finish()
    next(taken := intake.lines())
    taken.close()
    assert lines(folder) == [b"a\n"]
    assert files(folder) == []


def test_a_long_note_comes_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakes, "AT_ONCE", 10)
    intake = Intake(folder)
    for number in range(5):
        intake.append(b"%05d\n" % number)
    intake.finish()
    pieces = list(intake.lines())
    assert pieces == [[b"00000\n", b"00001\n"], [b"00002\n", b"00003\n"], [b"00004\n"]]
    assert files(folder) == []


@pytest.mark.parametrize("finished", [True, False])
def test_half_a_line_is_no_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    monkeypatch.setattr(intakes, "AT_ONCE", 1)
    intake = Intake(folder)
    intake.append(b"whole\n")
    intake.append(b"half")
    if finished:
        intake.finish()
    assert lines(folder) == [b"whole\n"]
    assert len(files(folder)) == (not finished)


def test_a_note_that_is_about_to_begin_is_left(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "begun.note").touch()
    assert lines(folder) == []
    assert len(files(folder)) == 1


def test_where_files_cannot_be_locked_no_note_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_here(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    intake = Intake(folder)
    with monkeypatch.context() as without:
        without.setattr(intakes.fcntl, "flock", none_here)
        with pytest.raises(OSError, match="No locks available"):
            intake.append(b"a\n")
    assert files(folder) == []
    intake.append(b"b\n")
    assert lines(folder) == [b"b\n"]


def test_a_line_that_found_no_room_leaves_no_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = Intake(folder)
    intake.append(b"a\n")
    note: Any = intake._note

    class Full:
        """A file on a disk with room for three more bytes."""

        truncate, tell, fileno = note.truncate, note.tell, note.fileno

        def write(self, line: bytes) -> int:
            return int(note.write(line[:3]))

        def close(self) -> None:
            note.close()

    with monkeypatch.context() as patch:
        patch.setattr(intake, "_note", Full())
        with pytest.raises(OSError, match="No space left on device"):
            intake.append(b"bcdef\n")
    intake.append(b"g\n")
    assert lines(folder) == [b"a\n", b"g\n"]


def test_a_note_that_took_nothing_goes(folder: Path) -> None:
    """Or a full disk would leave one for each second."""
    intake = Intake(folder)
    intake._note = intake._begun()
    assert len(files(folder)) == 1
    intake.finish()
    assert files(folder) == []


WRITER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from slipway_template.service.intake import Intake
intake = Intake(__import__("pathlib").Path(sys.argv[2]))
intake.append(b"first\\n")
print("noted", flush=True)
sys.stdin.readline()
intake.append(b"second\\n")
print("noted", flush=True)
time.sleep(60)
"""


def test_the_note_of_a_living_process_is_read_and_that_of_a_killed_one_taken(folder: Path) -> None:
    package = Path(intakes.__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(package), str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == "noted\n"
        assert lines(folder) == [b"first\n"]
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "noted\n"
        writer.kill()
    assert lines(folder) == [b"first\n", b"second\n"]
    assert files(folder) == []
