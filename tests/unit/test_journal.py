"""The journal: all or nothing is written, in order it is read, and what is old is forgotten."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sql

from slipway_template.service import export as exports
from slipway_template.service import journal as journals
from slipway_template.service.journal import Entry, Journal, JournalError, Outcome, open_journal
from slipway_template.utils.errors import UsageError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'journal.db'}", 30)


@pytest.fixture
def direct(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """One that writes into its database at once, as to a server."""
    monkeypatch.setattr(journal, "_intake", None)
    return journal


def at(time: float, name: str) -> str:
    """Return an id as `new_id` makes them, with a name for its random part."""
    return f"{int(time * 1e9):016x}{name}"


def entry(name: str, time: float = 1.0, **changed: Any) -> Entry:
    plain = Entry(name, time, 3, "onnx", "champion", None, '{"x": 1, "y": "a"}', "0.5", None)
    return plain._replace(**changed)


def timed(*parts: tuple[str, float]) -> list[Entry]:
    return [entry(at(time, name), time) for name, time in parts]


def names(journal: Journal, since: float = 0) -> list[list[str]]:
    return [[one.id[16:] or one.id for one in piece] for piece in journal.read(since)]


def asked(journal: Journal, pragma: str) -> Any:
    with journal.engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()


def test_what_was_written_is_read_in_pieces_oldest_first(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ROWS_AT_ONCE", 2)
    kept = timed(("c", 2.0), ("d", 0.0), ("a", 3.0), ("b", 2.0), ("e", 4.0))
    journal.write(kept)
    assert names(journal) == [["d", "b"], ["c", "a"], ["e"]]
    assert names(journal, since=2.0) == [["b", "c"], ["a", "e"]]
    assert [one for piece in journal.read() for one in piece] == sorted(
        kept, key=lambda one: (one.time, one.id)
    )


def test_a_prediction_is_found_by_its_id(journal: Journal) -> None:
    told = entry("b", 7.5, unit="u\x1f1", probabilities='{"yes": 0.5}')
    journal.write([entry("a"), told])
    found = journal.find("b")
    assert isinstance(found, Entry)
    assert found == told
    with pytest.raises(UsageError) as caught:
        journal.find("c")
    assert str(caught.value) == "The journal has no prediction 'c'."


def test_predictions_are_written_all_or_none(direct: Journal) -> None:
    direct.write([entry("a")])
    with pytest.raises(JournalError) as caught:
        direct.write([entry("b"), entry("a")])
    assert str(caught.value) == "UNIQUE constraint failed: predictions.id"
    assert names(direct) == [["a"]]
    direct.write([entry("c")])
    assert names(direct) == [["a", "c"]]


def test_a_database_that_went_away_is_told_and_tried_again(
    direct: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OSError("first line\nsecond line")

    with monkeypatch.context() as patch:
        patch.setattr(direct.engine, "raw_connection", gone)
        with pytest.raises(JournalError) as caught:
            direct.write([entry("a")])
        assert str(caught.value) == "first line"
    direct.write([entry("a")])
    assert names(direct) == [["a"]]


def test_a_connection_is_kept_until_it_failed(
    direct: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, connect = [], direct.engine.raw_connection

    def counted() -> Any:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(direct.engine, "raw_connection", counted)
    direct.write([entry("a")])
    direct.write([entry("b")])
    assert len(opened) == 1
    with pytest.raises(JournalError):
        direct.write([entry("a")])
    assert not opened[0].is_valid
    direct.write([entry("c")])
    assert len(opened) == 2


def notes(journal: Journal) -> list[Path]:
    return sorted(Path(f"{journal.engine.url.database}.intake").glob("*"))


def count(journal: Journal) -> int:
    """How many predictions the database holds, past the journal's own way to read."""
    with journal.engine.connect() as connection:
        found: int = connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar_one()
    return found


def test_what_is_noted_comes_into_the_database_as_it_was(journal: Journal, said: list[str]) -> None:
    rng = np.random.default_rng(1)
    odd = ["", "é\u2028\x1f\n", '"\\', "\U0001f600", "[],[", "x" * 100_000]
    kept = [
        entry(f"p{place:05}", time, unit=odd[place % len(odd)], probabilities=None, inputs=text)
        for place, (time, text) in enumerate(
            zip(
                (rng.random(3_000) * 4e9).tolist(),
                ['{"x": "\\u0001,\\n"}', "{}"] * 1_500,
                strict=True,
            )
        )
    ]
    for start in range(0, len(kept), 7):
        journal.write(kept[start : start + 7])
    assert count(journal) == 0
    assert not [statement for statement in said if statement.startswith("INSERT")]
    assert [one for piece in journal.read() for one in piece] == kept
    assert len(notes(journal)) == 1  # it goes on
    assert [one for piece in journal.read() for one in piece] == kept


def test_text_that_sqlite_would_cut_goes_another_way(journal: Journal) -> None:
    cut = entry("a", unit="before\x00behind")
    journal.write([entry("b"), cut])
    assert count(journal) == 2
    assert journal.find("a") == cut


def test_a_finished_journal_leaves_no_note(journal: Journal) -> None:
    journal.write([entry("a")])
    journal.finish()
    assert (count(journal), notes(journal)) == (1, [])
    journal.write([entry("b")])
    journal.finish()
    journal.finish()
    assert (count(journal), notes(journal)) == (2, [])


def test_what_the_database_does_not_take_stays_noted(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise sql.exc.OperationalError("INSERT", {}, OSError("disk is full"))

    journal.write([entry("a")])
    with monkeypatch.context() as patch:
        patch.setattr(journal.engine, "begin", full)
        journal.finish()
        with pytest.raises(UsageError) as caught:
            journal.find("a")
        assert str(caught.value) == (
            f"The journal's last predictions, in {journal.engine.url.database}.intake, can't be "
            "taken in: (builtins.OSError) disk is full"
        )
        journal.write([entry("b")])
    assert names(journal) == [["a", "b"]]


@pytest.mark.parametrize(
    "spoilt",
    [b"\0" * 100, b"\xff\xfe", b'[["half', b"7", b'[["a"]][["b"]]'],
    ids=["zeros", "no text", "half", "no row", "two in one"],
)
def test_lines_that_a_crash_of_the_machine_spoilt_hold_up_no_other(
    journal: Journal, caplog: pytest.LogCaptureFixture, spoilt: bytes
) -> None:
    journal.write([entry("a")])
    journal.write([entry("b"), entry("c")])
    [note] = notes(journal)
    first, second = note.read_bytes().splitlines(keepends=True)
    journal.finish()
    note.write_bytes(first.replace(b'"a"', b'"d"') + spoilt + b"\n" + second.replace(b"b", b"e"))

    assert names(journal) == [["a", "b", "c", "d", "e"]]
    kept = note.with_name("spoilt")
    assert kept.read_bytes() == spoilt + b"\n"
    assert f"1 lines of predictions can't be read: see {kept}" in caplog.text
    assert (names(journal), notes(journal)) == ([["a", "b", "c", "d", "e"]], [kept])
    assert kept.read_bytes() == spoilt + b"\n"


def test_spoilt_lines_go_aside_only_when_the_others_are_in(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise sql.exc.OperationalError("INSERT", {}, OSError("disk is full"))

    journal.write([entry("a")])
    [note] = notes(journal)
    note.write_bytes(b"half\n" + note.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(journal.engine, "begin", full)
        journal.finish()
        with pytest.raises(UsageError, match="disk is full"):
            journal.find("a")
    assert notes(journal) == [note]
    assert names(journal) == [["a"]]
    assert note.with_name("spoilt").read_bytes() == b"half\n"


def test_a_note_that_can_not_be_written_is_told(journal: Journal) -> None:
    Path(f"{journal.engine.url.database}.intake").write_text("in the way")
    with pytest.raises(JournalError, match="File exists"):
        journal.write([entry("a")])


@pytest.mark.parametrize("anew", [False, True])
def test_a_journal_that_was_taken_away_begins_anew(
    journal: Journal, caplog: pytest.LogCaptureFixture, anew: bool
) -> None:
    cut = {"unit": "before\x00behind"}  # takes the other way
    file = Path(str(journal.engine.url.database))
    journal.write([entry("a")])
    journal.write([entry("b", **cut)])
    journal.finish()
    assert names(journal) == [["a", "b"]]
    for path in file.parent.glob("journal.db*"):
        if path.is_file():
            path.unlink()
    if anew:  # or put back from a backup
        Journal(f"sqlite:///{file}", 30)
    journal.write([entry("c")])
    journal.finish()
    journal.write([entry("d", **cut)])
    assert names(Journal(f"sqlite:///{file}", 30)) == [["c", "d"]]
    assert caplog.text.count(f"{file} was taken away: it begins anew") == 1


def test_judged_predictions_come_with_what_came_of_them(journal: Journal) -> None:
    b, a, c, d = timed(("b", 2.0), ("a", 2.0), ("c", 3.0), ("d", 0.0))
    journal.write([b, a._replace(unit="u"), c, d])
    journal.add_outcomes([Outcome(one.id, "0.25", None) for one in (a, b, d)])
    journal.add_outcomes([Outcome(a.id, "1.5", 9.0), Outcome("stranger", "1", 1.0)])
    found = journal.judged()
    assert list(found) == [
        *("id", "time", "version", "runtime", "assigned", "unit", "prediction", "probabilities"),
        *("outcome", "value"),
    ]
    assert found["id"].tolist() == [d.id, a.id, b.id]
    assert found["outcome"].tolist() == ["0.25", "1.5", "0.25"]
    assert found["value"].fillna(-1).tolist() == [-1, 9, -1]
    assert found["unit"].tolist()[1] == "u"
    assert journal.judged(since=2.0)["id"].tolist() == [a.id, b.id]


@pytest.mark.parametrize("at_once", [2, 500])
def test_ids_are_found_by_name_or_key_however_many(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(journals, "NAMES_AT_ONCE", at_once)
    units = ["k1", "k2", "k2", None, "k3"]
    journal.write([entry(f"p{i}", unit=unit) for i, unit in enumerate(units)])
    assert sorted(journal.ids("unit", ["k3", "k2", "k1", "k9"])) == [
        ("k1", "p0"), ("k2", "p1"), ("k2", "p2"), ("k3", "p4"),
    ]  # fmt: skip
    assert sorted(journal.ids("id", ["p3", "p0", "p9"])) == [("p0", "p0"), ("p3", "p3")]


def test_outcomes_are_kept_all_or_none(journal: Journal) -> None:
    journal.write([entry("a"), entry("b")])
    wrong: Any = Outcome("b", None, None)
    with pytest.raises(sql.exc.IntegrityError):
        journal.add_outcomes([Outcome("a", "1", None), wrong])
    assert journal.judged().empty


def test_what_is_too_old_is_forgotten_with_its_outcome(journal: Journal) -> None:
    journal.write(kept := timed(("a", 1.0), ("b", 2.0), ("c", 3.0)))
    journal.add_outcomes([Outcome(one.id, "1", None) for one in kept])
    assert journal.forget(before=2.0) == 1
    assert names(journal) == [["b", "c"]]
    with journal.engine.connect() as connection:
        left = connection.execute(sql.select(journals.OUTCOMES.c.id)).scalars().all()
    assert sorted(left) == [at(2.0, "b"), at(3.0, "c")]


class Ticks(threading.Event):
    """An event that is set after it was waited for a few times."""

    def __init__(self, ticks: int) -> None:
        super().__init__()
        self.ticks, self.waited = ticks, []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return len(self.waited) > self.ticks


@pytest.fixture
def said(journal: Journal) -> list[str]:
    """What SQLAlchemy says to the journal's database."""
    statements: list[str] = []

    @sql.event.listens_for(journal.engine, "before_cursor_execute")
    def note(*told: Any) -> None:
        statements.append(told[2])

    return statements


@pytest.mark.parametrize(("ticks", "forgot"), [(3, 1), (4, 2)])
def test_tidying_forgets_once_an_hour_and_takes_in_what_was_noted(
    journal: Journal,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    ticks: int,
    forgot: int,
) -> None:
    seconds = iter([0.0, 0.0, 3599.0, 3600.0, 3601.0, 3601.0])
    clock = SimpleNamespace(monotonic=lambda: next(seconds), time=lambda: 40 * 86_400.0)
    monkeypatch.setattr(journals, "time", clock)
    journal.write(timed(("old", 10 * 86_400 - 1.0), ("a", 10 * 86_400.0)))

    journal.tidy(stopped := Ticks(ticks))

    assert stopped.waited == [1] * (ticks + 1)
    assert (count(journal), notes(journal)) == (1, [])
    assert names(journal) == [["a"]]
    assert sum(statement.startswith("DELETE FROM predictions") for statement in said) == forgot


def test_tidying_goes_on_when_the_database_does_not(
    journal: Journal, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: float) -> None:
        raise sql.exc.OperationalError("DELETE", {}, OSError("disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(journal, "forget", full)
        journal.tidy(ticks := Ticks(3))
    assert len(ticks.waited) == 4
    said.clear()
    journal.tidy(Ticks(1))
    assert said


def test_others_can_read_while_one_writes(journal: Journal) -> None:
    assert asked(journal, "journal_mode") == "wal"
    assert asked(journal, "synchronous") == 1
    assert asked(journal, "busy_timeout") == 5000


def test_a_database_on_a_server_has_its_own_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sql.create_engine("sqlite://", connect_args={"timeout": 7})
    monkeypatch.setattr(sql, "create_engine", {"postgresql://server/db": engine}.get)
    journal = Journal("postgresql://server/db", 30)
    assert not journal.embedded
    assert journal._intake is None
    assert journal._insert == f"INSERT INTO predictions VALUES ({', '.join(['%s'] * 9)})"
    assert asked(journal, "busy_timeout") == 7000  # it is not SQLite's to say


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/deep/j.db", "sqlite:////nowhere/deep/j.db can't be used: "
         "(sqlite3.OperationalError) unable to open database file"),
        ("oddsql://ada:secret@server/db", "oddsql://ada:***@server/db can't be used: "
         "Can't load plugin: sqlalchemy.dialects:oddsql. "
         "Name postgresql+psycopg://…, after `uv add 'psycopg[binary]'`."),
    ],
)  # fmt: skip
def test_a_journal_that_can_not_be_opened_is_named_without_its_password(
    url: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Journal(url, 30)
    assert str(caught.value) == f"The journal {message}"


def test_the_projects_journal_lies_under_var_unless_said_otherwise(tmp_path: Path) -> None:
    service = SimpleNamespace(journal=None, keep_days=3)
    settings: Any = SimpleNamespace(service=service, var=tmp_path / "deep" / "var")
    for _ in range(2):
        journal = open_journal(settings)
        assert (journal.embedded, journal.keep_days) == (True, 3)
    assert (settings.var / "journal.db").exists()
    service.journal = f"sqlite:///{tmp_path / 'other.db'}"
    open_journal(settings)
    assert (tmp_path / "other.db").exists()


@pytest.fixture
def filled(journal: Journal) -> Iterator[Journal]:
    journal.write(
        [
            entry(at(86_400.0, "a"), 86_400.0, prediction='"yes"'),
            entry(at(86_400.5, "b"), 86_400.5, prediction='"no"', assigned="challenger", version=4),
            entry(at(86_401.0, "c"), 86_401.0, inputs='{"x": 2, "y": null}', prediction='"no"'),
        ]
    )
    return journal


def test_an_export_has_a_column_for_each_input(
    filled: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journals, "ROWS_AT_ONCE", 1)
    assert exports.export(filled, tmp_path / "out.parquet", since=86_400.5) == 2
    expected = pd.DataFrame(
        {
            "prediction_id": [at(86_400.5, "b"), at(86_401.0, "c")],
            "predicted_at": pd.to_datetime([86_400_500, 86_401_000], unit="ms"),
            "model_version": [4, 3],
            "group": ["challenger", "champion"],
            "prediction": ["no", "no"],
            "x": [1, 2],
            "y": ["a", None],
        }
    )
    found = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_a_column_that_is_filled_late_or_added_is_exported(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(journals, "ROWS_AT_ONCE", 1)
    inputs = ['{"x": null, "y": null, "w": 1}', '{"x": 1, "y": "a"}', '{"x": 1.5, "y": null}']
    journal.write([entry(f"p{place}", inputs=text) for place, text in enumerate(inputs)])
    assert exports.export(journal, tmp_path / name, since=0) == 3
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    found = read(tmp_path / name)
    wanted = {"x": [-1, 1, 1.5], "y": [-1, "a", -1], "w": [1, -1, -1]}
    assert found[["x", "y", "w"]].astype(object).fillna(-1).to_dict("list") == wanted


def test_an_input_called_like_what_is_told_keeps_its_values(journal: Journal) -> None:
    journal.write([entry("a", inputs='{"group": "control", "prediction": 7}')])
    (told,) = exports.flat(next(journal.read())).to_dict("records")
    assert (told["group"], told["prediction"]) == ("champion", 0.5)
    assert (told["group_sent"], told["prediction_sent"]) == ("control", 7)


def test_an_export_under_a_name_without_format_is_refused(filled: Journal, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.csv, \.parquet or \.delta"):
        exports.export(filled, tmp_path / "out.txt", since=0)
    assert not (tmp_path / "out.txt").exists()


def test_later_names_sort_higher() -> None:
    times = [-1.0, 0.0, 1.0, 1e9, 1.2e9, 1.8e9, 1.8e9 + 1e-6, 2.0**33]  # 2**60 ns were in 2006
    made = [journals.new_id(time) for time in times]
    assert made[2:] == sorted(made[2:])
    assert {len(name) for name in made} == {28}
    assert made[0][:16] == made[1][:16] == "0" * 16
    assert made[3][:16] == at(1e9, "")
    assert len({journals.new_id(1.0) for _ in range(100)}) == 100
