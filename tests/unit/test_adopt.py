"""`data adopt`: a file becomes a schema and settings that every row of it keeps."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import datasets

from slipway_template.data.adopt import Adopted, adopt
from slipway_template.data.columns import ADDED, categories, describe, limits
from slipway_template.data.sources import read_table
from slipway_template.data.validation import Screened, nullable_type, screen
from slipway_template.utils.config import Data
from slipway_template.utils.errors import GateRefused, UsageError

REPO = Path(__file__).parents[2]
RUFF_TOML = REPO / "template" / "ruff.toml"
REAL = REPO.parent / "shared" / "data"
ROWS = 60

CONFIG = """\
# Settings of this project.

[data]
task = "classification"
target = "late"
key = ["shipment_id"]
group = "customer_id"
time = "ordered_at"
max_bad_share = 0.1  # mine
# Known only after delivery, so never an input:
exclude = ["delivery_days"]

[data.sources]
shipments = "sample:20000"

# How it is made
[training]
rules = ["collected_at_depot"]
seed = 7  # lucky

[monitoring]
retrain_every_days = 30
"""


class Project:
    """A folder with the two files that adopt rewrites."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.schema_file = root / "schema.py"
        self.config_file = root / "config.toml"
        self.schema_file.write_text("# the sample's\n")
        self.config_file.write_text(CONFIG)

    def adopt(
        self,
        file: Path,
        target: str,
        *,
        key: str = "",
        time: str | None = None,
        group: str | None = None,
    ) -> Adopted:
        return adopt(
            file,
            target,
            [part for part in key.split(",") if part],
            time,
            group,
            schema_file=self.schema_file,
            config_file=self.config_file,
        )

    def refuses(self, file: Path, target: str, **roles: str) -> str:
        """Adopt what can't be, and return what was said; nothing may have changed."""
        before = self.files()
        with pytest.raises(UsageError) as refused:
            self.adopt(file, target, **roles)
        assert self.files() == before
        message = str(refused.value)
        assert len(message.splitlines()) <= 2
        return message

    def files(self) -> dict[str, bytes]:
        paths = [self.schema_file, self.config_file, *self.root.glob(".*")]
        return {path.name: path.read_bytes() for path in paths if path.is_file()}

    @property
    def schema(self) -> pa.DataFrameSchema:
        spec = importlib.util.spec_from_file_location("adopted_schema", self.schema_file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Rows.to_schema()

    @property
    def config(self) -> dict:
        return tomllib.loads(self.config_file.read_text())

    @property
    def data(self) -> Data:
        return Data.model_validate(self.config["data"])

    def kinds(self) -> dict[str, str]:
        return describe(self.schema, self.data).kinds

    def screen(self) -> Screened:
        """Read the file that was adopted as ingest does."""
        (source,) = self.data.sources.values()
        frame = read_table(source).to_pandas(types_mapper=nullable_type)
        return screen(frame, self.schema, self.data.key)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    shutil.copy(RUFF_TOML, tmp_path)
    return Project(tmp_path)


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    def write(frame: pd.DataFrame | dict, name: str = "rows.csv") -> Path:
        pd.DataFrame(frame).to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def numbers(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=rows).round(3)


def rows_with(**columns: object) -> pd.DataFrame:
    """A number to learn from, two classes, and what a test adds."""
    return pd.DataFrame({"x": numbers(), "label": ["no", "no", "yes"] * (ROWS // 3), **columns})


def roles_of(done: Adopted) -> dict[str, str]:
    return {name: role for name, role, _ in done.columns}


def line_of(done: Adopted, column: str) -> str:
    return next(line for name, _, line in done.columns if name == column)


def said(done: Adopted, *words: str) -> bool:
    return any(all(word in note for word in words) for note in done.notes)


def ruff_is_content(file: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    for check in (["check", "-q"], ["format", "--diff", "-q"]):
        done = subprocess.run(
            [*ruff, *check, "--config", str(RUFF_TOML), str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


# What known files become


@pytest.mark.parametrize(
    ("name", "target", "task"),
    [
        ("iris", "target", "classification"),
        ("wine", "target", "classification"),
        ("breast_cancer", "target", "classification"),
        ("digits", "target", "classification"),
        ("diabetes", "target", "regression"),
    ],
)
def test_scikit_learns_data_sets(
    project: Project, csv: Callable[..., Path], name: str, target: str, task: str
) -> None:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    done = project.adopt(csv(frame, f"{name}.csv"), target)
    from_csv = project.schema_file.read_text().replace(".csv", "")
    assert (done.table, done.task, done.rows) == (name, task, len(frame))
    assert project.data.sources == {name: f"{name}.csv"}
    assert len(project.screen().good) == len(frame)
    assert set(project.kinds().values()) == {"number"}
    ruff_is_content(project.schema_file)

    parquet = project.root / f"{name}.parquet"
    frame.to_parquet(parquet)
    again = project.adopt(parquet, target)
    assert project.schema_file.read_text().replace(".parquet", "") == from_csv
    assert (again.table, again.task, again.columns) == (done.table, done.task, done.columns)
    assert len(project.screen().good) == len(frame)


def test_digits_columns_that_never_change_are_no_inputs(
    project: Project, csv: Callable[..., Path]
) -> None:
    frame = datasets.load_digits(as_frame=True).frame
    done = project.adopt(csv(frame), "target")
    constant = {name for name in frame if frame[name].min() == frame[name].max()}
    assert constant == set(project.data.exclude)
    assert limits(project.schema.columns["target"]) == (0, 9)
    assert said(done, "pixel_0_0", "same in every row")


real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no folder {REAL} with real files")


@real
def test_titanic(project: Project) -> None:
    done = project.adopt(REAL / "titanic.csv", "survived")
    assert done.task == "classification"
    assert done.source == str((REAL / "titanic.csv").resolve())
    assert project.data.key == []
    assert project.data.exclude == ["alive"]
    assert roles_of(done)["alive"] == "excluded"
    assert said(done, "alive", "known only afterwards")
    schema = project.schema
    assert str(schema.columns["adult_male"].dtype) == "bool"
    assert categories(schema.columns["class"]) == ["First", "Second", "Third"]
    assert schema.columns["deck"].nullable
    assert not schema.columns["sex"].nullable
    assert limits(schema.columns["age"]) == (0, 160)
    assert len(project.screen().good) == 891
    ruff_is_content(project.schema_file)


@real
def test_taxis(project: Project) -> None:
    done = project.adopt(REAL / "taxis.csv", "total", time="pickup")
    assert done.task == "regression"
    assert said(done, "task is regression now")
    assert project.data.time == "pickup"
    assert project.kinds()["dropoff"] == "date"
    assert roles_of(done)["pickup_zone"] == "input"
    assert categories(project.schema.columns["pickup_zone"]) is None
    assert len(project.screen().good) == 6433
    ruff_is_content(project.schema_file)


@real
@pytest.mark.parametrize(("target", "task"), [("cut", "classification"), ("price", "regression")])
def test_diamonds(project: Project, target: str, task: str) -> None:
    done = project.adopt(REAL / "diamonds.csv", target)
    assert done.task == task
    assert project.data.exclude == []
    assert len(project.kinds()) == 9
    assert len(project.screen().good) == 53_940


@real
@pytest.mark.parametrize("name", ["titanic", "taxis", "diamonds"])
def test_parquet_gives_the_same_as_csv(project: Project, name: str) -> None:
    target = {"titanic": "survived", "taxis": "total", "diamonds": "cut"}[name]
    from_csv = project.adopt(REAL / f"{name}.csv", target)
    dates = ["pickup", "dropoff"] if name == "taxis" else []
    frame = pd.read_csv(REAL / f"{name}.csv", parse_dates=dates)
    frame.to_parquet(project.root / f"{name}.parquet")
    from_parquet = project.adopt(project.root / f"{name}.parquet", target)
    assert from_parquet.columns == from_csv.columns
    assert len(project.screen().good) == len(frame)


# Settings


def test_other_settings_and_comments_stay(project: Project, csv: Callable[..., Path]) -> None:
    project.adopt(csv(rows_with()), "label")
    text = project.config_file.read_text()
    assert text.startswith("# Settings of this project.\n\n[data]\n")
    assert "\n# How it is made\n[training]\nrules = []\nseed = 7  # lucky\n\n[monitoring]" in text
    assert "max_bad_share = 0.1  # mine" in text
    assert "delivery" not in text
    assert project.config == {
        "data": {
            "task": "classification",
            "target": "label",
            "key": [],
            "max_bad_share": 0.1,
            "sources": {"rows": "rows.csv"},
        },
        "training": {"rules": [], "seed": 7},
        "monitoring": {"retrain_every_days": 30},
    }


def test_a_second_file_takes_the_place_of_the_first(
    project: Project, csv: Callable[..., Path]
) -> None:
    project.adopt(csv(rows_with(who=["a", "b"] * (ROWS // 2))), "label", group="who")
    done = project.adopt(csv(rows_with(), "Other 2.csv"), "x")
    assert (done.table, done.task) == ("other_2", "regression")
    assert project.data.sources == {"other_2": "Other 2.csv"}
    assert project.data.group is None
    assert len(project.screen().good) == ROWS


def test_adopting_twice_changes_nothing(project: Project, csv: Callable[..., Path]) -> None:
    file = csv(rows_with(gone=[None] * ROWS))
    project.adopt(file, "label")
    once = project.files()
    project.adopt(file, "label")
    assert project.files() == once
    (project.root / "split-rows.json").touch()
    assert said(project.adopt(file, "label"), "split-rows.json keeps the split", "delete it")


def test_the_table_has_a_name_that_is_safe(project: Project, csv: Callable[..., Path]) -> None:
    for name, table in {
        "2024 Sales (EU).csv": "table_2024_sales_eu",
        "été.csv": "t",
        "--.csv": "table",
        "A.b.CSV": "a_b",
    }.items():
        done = project.adopt(csv(rows_with(), name), "label")
        assert done.table == table
        assert done.source == name
        ruff_is_content(project.schema_file)


def test_a_file_elsewhere_is_named_in_full(
    project: Project, csv: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = csv(rows_with()).rename(tmp_path_factory.mktemp("else") / "rows.csv")
    assert project.adopt(elsewhere, "label").source == str(elsewhere)


def test_settings_in_an_unusual_order(project: Project, csv: Callable[..., Path]) -> None:
    project.config_file.write_text(
        '[data]\ntask = "regression"\ntarget = "y"\nbad_rows = "drop"\n'
        '[training]\nseed = 1\n[data.sources]\na = "b.csv"\n'
    )
    project.adopt(csv(rows_with()), "label")
    assert project.config["training"] == {"seed": 1}
    assert project.data.bad_rows == "drop"
    assert project.data.sources == {"rows": "rows.csv"}


def test_without_ruff_the_schema_is_the_same(
    project: Project, csv: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = csv(rows_with(town=[f"a long name of the town {n % 9}" for n in range(ROWS)]))
    project.adopt(file, "label")
    formatted, columns = project.schema_file.read_text(), project.schema.columns
    failed = subprocess.CompletedProcess([], 1, b"", b"No module named ruff")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    project.adopt(file, "label")
    assert project.schema_file.read_text() != formatted
    assert project.schema.columns == columns


# Types, limits and categories


def test_types(project: Project, csv: Callable[..., Path]) -> None:
    half = [True, False] * (ROWS // 2)
    frame = rows_with(
        whole=range(5, 5 + 3 * ROWS, 3),
        some_whole=pd.array([None, *range(1, ROWS)], dtype="Int64") * 2,
        negative=-numbers() * 100,
        flag=half,
        some_flag=pd.array([None, *half[1:]], dtype="boolean"),
        yes_no=["yes", "no"] * (ROWS // 2),
        zero_one=[0, 1] * (ROWS // 2),
        on=pd.date_range("2024-01-01", periods=ROWS),
        some_at=[None, *pd.date_range("2024-01-01T10:00", periods=ROWS - 1, freq="h", tz="UTC")],
        zip=["01234", "99999"] * (ROWS // 2),
        some_number=[None, *numbers()[1:]],
    )
    done = project.adopt(csv(frame), "label")
    expected = {
        "whole": "whole: int = pa.Field(ge=0, le=360)",
        "some_whole": "some_whole: pd.Int64Dtype = pa.Field(ge=0, le=240, nullable=True)",
        "flag": "flag: bool",
        "some_flag": "some_flag: pd.BooleanDtype = pa.Field(nullable=True)",
        "yes_no": 'yes_no: str = pa.Field(isin=["no", "yes"])',
        "zero_one": "zero_one: int = pa.Field(ge=0, le=1)",
        "on": "on: datetime",
        "some_at": "some_at: datetime = pa.Field(nullable=True)",
        "zip": 'zip: str = pa.Field(isin=["01234", "99999"])',
    }
    assert {name: line_of(done, name) for name in expected} == expected
    assert said(done, "zip has leading zeros")
    assert line_of(done, "some_number").startswith("some_number: float = pa.Field(ge=-")
    assert said(done, "--time on")
    assert len(project.screen().good) == ROWS
    ruff_is_content(project.schema_file)


def test_missing_words_are_missing_in_numbers_and_categories_in_text(
    project: Project, csv: Callable[..., Path]
) -> None:
    frame = rows_with(
        age=["NA", *map(str, range(1, ROWS))],
        size=["NA", "NA", "big", "small"] * (ROWS // 4),
        void=["null"] * ROWS,
    )
    done = project.adopt(csv(frame), "label")
    assert line_of(done, "age").startswith("age: pd.Int64Dtype")
    assert line_of(done, "size") == 'size: str = pa.Field(isin=["NA", "big", "small"])'
    assert roles_of(done)["void"] == "excluded"
    assert len(project.screen().good) == ROWS


def test_a_number_spoilt_by_words_is_told(project: Project, csv: Callable[..., Path]) -> None:
    done = project.adopt(csv(rows_with(power=["?", "n.a.", *map(str, numbers()[2:])])), "label")
    assert roles_of(done)["power"] == "excluded"
    assert said(done, "power would be a number but for 2 different values such as '?'")
    assert len(project.screen().good) == ROWS


@pytest.mark.parametrize("word", ["{},50", "${}", "{}.000,5 €", "{} %"])
def test_numbers_as_people_write_them_are_told(
    project: Project, csv: Callable[..., Path], word: str
) -> None:
    file = csv(rows_with(price=[word.format(2 + n % 9) for n in range(ROWS)]))
    assert said(project.adopt(file, "label"), "price looks like numbers", "write them as 1234.5")
    assert "no number to a program" in project.refuses(file, "price")


def test_dates_of_other_countries_are_told(project: Project, csv: Callable[..., Path]) -> None:
    days = ["2024-01-01", *(f"{1 + n % 28:02}/{1 + n // 28:02}/2024" for n in range(1, ROWS))]
    done = project.adopt(csv(rows_with(day=days)), "label")
    assert said(done, "day looks like dates", "ISO 8601 is read as such (not '02/01/2024')")
    assert "ISO 8601" in project.refuses(csv(rows_with(day=days)), "label", time="day")


def test_text_that_names_rows_is_no_input(project: Project, csv: Callable[..., Path]) -> None:
    frame = rows_with(
        name=[f"name {n}" for n in range(ROWS)],
        town=[f"town {n % 4}" for n in range(ROWS)],
        index=range(ROWS),
    )
    done = project.adopt(csv(frame), "label")
    assert project.data.exclude == ["name", "index"]
    assert said(done, "name is no input", "60 different texts in 60 rows")
    assert said(done, "index is no input", "numbers the rows")
    assert roles_of(done)["town"] == "input"


def test_limits_leave_room_and_round_outward(project: Project, csv: Callable[..., Path]) -> None:
    spread = np.linspace(0, 1, ROWS)
    frame = rows_with(
        longitude=-74.26 + spread * 0.35,
        tiny=1e-9 * (1 + spread),
        huge=1e18 * (1 + spread),
        high=1_000_000 + spread / 10,
        far=np.where(spread > 0.5, 1e308, -1e308),
    )
    done = project.adopt(csv(frame), "label")
    assert line_of(done, "longitude").endswith("pa.Field(ge=-75, le=-73)")
    assert line_of(done, "tiny").endswith("pa.Field(ge=0, le=3.1e-09)")
    assert line_of(done, "huge").endswith("pa.Field(ge=0, le=3e18)")
    assert line_of(done, "high").endswith("pa.Field(ge=0, le=1_100_000)")
    assert line_of(done, "far") == "far: float"
    assert len(project.screen().good) == ROWS
    ruff_is_content(project.schema_file)


def test_whole_numbers_keep_every_digit(project: Project, csv: Callable[..., Path]) -> None:
    big = [str(2**53 + 1 + 2 * n) for n in range(ROWS)]
    bigger = [str(10**30 + n) for n in range(ROWS)]
    frame = rows_with(id=big, serial=bigger)
    done = project.adopt(csv(frame), "label", key="id")
    assert project.screen().good["id"].astype("str").tolist() == big
    assert line_of(done, "serial") == "serial: str"
    assert len(project.screen().good) == ROWS


def test_types_that_only_parquet_has(project: Project) -> None:
    count = range(ROWS)
    table = pyarrow.table(
        {
            "label": pyarrow.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
            "price": [Decimal(n) / 4 for n in count],
            "day": [date(2024, 1, 1 + n % 28) for n in count],
            "small": pyarrow.array([None, *(n % 7 for n in range(1, ROWS))], pyarrow.int8()),
            "single": pyarrow.array(numbers(), pyarrow.float32()),
            "unsigned": pyarrow.array([2**64 - 1 - n for n in count], pyarrow.uint64()),
            "digits": [str(n % 5) for n in count],
            "infinite": [float("inf"), *numbers()[1:]],
            "empty": pyarrow.nulls(ROWS),
            "nested": [[1, 2]] * ROWS,
            "bytes": [b"x"] * ROWS,
        }
    )
    pyarrow.parquet.write_table(table, project.root / "rows.parquet")
    done = project.adopt(project.root / "rows.parquet", "label")
    assert line_of(done, "label") == 'label: str = pa.Field(isin=["a", "b"])'
    assert line_of(done, "price").startswith("price: float")
    assert line_of(done, "day") == "day: datetime"
    assert line_of(done, "small").startswith("small: pd.Int64Dtype")
    assert line_of(done, "digits") == "digits: int = pa.Field(ge=0, le=8)"
    assert said(done, "infinite would be a number but for", "'inf'")
    assert said(done, "Left out", "nested", "bytes")
    assert {"infinite", "empty", "unsigned"} <= set(project.data.exclude)
    assert "nested" not in project.schema.columns
    assert len(project.screen().good) == ROWS


def test_an_index_that_pandas_saved(project: Project) -> None:
    frame = rows_with(id=range(ROWS)[::-1]).set_index("id")
    frame.index = frame.index.astype("int64")
    frame = frame.sample(frac=1, random_state=1)
    frame.to_parquet(project.root / "named.parquet")
    done = project.adopt(project.root / "named.parquet", "label")
    assert roles_of(done)["id"] == "key"
    assert len(project.screen().good) == ROWS
    frame.index.name = None
    frame.to_csv(project.root / "nameless.csv")
    done = project.adopt(project.root / "nameless.csv", "label")
    assert said(done, "Left out", "no name")
    assert list(roles_of(done)) == ["x", "label"]
    assert len(project.screen().good) == ROWS


# Names


WEIRD = [
    "petal length (cm)", "class", "from", "2nd", "Config", "validate", "to_schema", "_hidden",
    "__dunder__", "str", "int", "pd", "pa", "datetime", "l", "O", "sepalLength", "größe", "Цена",
    "a b", "a_b", "a-b", 'q"uo"te', "it's", "both\"'", "back\\slash", "日本", "x\ny", "None", "%",
    "a,b", "$", "n" * 130, "long name " * 14, "[data]", "x.y", "id", "type", "mro", "a#b",
    "\N{CYRILLIC SMALL LETTER A}",
]  # fmt: skip


def test_weird_names_keep_their_name(project: Project, csv: Callable[..., Path]) -> None:
    rng = np.random.default_rng(1)
    frame = rows_with(**{name: rng.normal(size=ROWS).round(2) for name in WEIRD})
    frame["const'ant \n\x07"] = 1
    done = project.adopt(csv(frame), "label")
    assert list(project.schema.columns) == list(frame.columns)
    assert set(WEIRD) <= set(project.kinds())
    assert len(project.screen().good) == ROWS
    assert line_of(done, "class").startswith('class_: float = pa.Field(alias="class", ')
    assert line_of(done, "a b").startswith('a_b_: float = pa.Field(alias="a b", ')
    ruff_is_content(project.schema_file)


def test_the_target_and_the_key_may_have_weird_names(
    project: Project, csv: Callable[..., Path]
) -> None:
    frame = pd.DataFrame(
        {"no. (#)": range(ROWS), "is it?": ["tak", "nie"] * (ROWS // 2), "x": numbers()}
    )
    project.adopt(csv(frame), "is it?", key="no. (#)")
    assert (project.data.target, project.data.key) == ("is it?", ["no. (#)"])
    assert len(project.screen().good) == ROWS
    ruff_is_content(project.schema_file)


def test_names_that_are_given_away_are_no_columns(
    project: Project, csv: Callable[..., Path]
) -> None:
    frame = rows_with(**{name: numbers(seed=3) for name in [*ADDED, "answer"]})
    done = project.adopt(csv(frame), "label")
    assert said(done, "Left out", "is called so", *ADDED)
    assert project.kinds() == {"x": "number", "answer": "number"}
    with pytest.raises(UsageError) as caught:
        project.adopt(csv(frame), "label", key="row")
    assert "Left out, as what is added to rows is called so" in str(caught.value)


def test_mypy_is_content(project: Project, csv: Callable[..., Path]) -> None:
    project.adopt(csv(rows_with(**{name: numbers() for name in WEIRD})), "label")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "schema.py"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named mypy" not in done.stderr
    assert done.returncode == 0, done.stdout


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\r\n"),
    min_size=1, max_size=70,
)  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(texts, min_size=1, max_size=4, unique=True),
    words=st.lists(texts, min_size=2, max_size=60, unique=True),
    ends=st.tuples(*[st.floats(-1e300, 1e300)] * 2),
    gaps=st.booleans(),
)
def test_whatever_is_in_the_file_every_row_fits(
    project: Project, names: list[str], words: list[str], ends: tuple[float, float], gaps: bool
) -> None:
    project.config_file.write_text(CONFIG)
    count = 4 * len(words) if len(words) > 5 else 60
    rng = np.random.default_rng(len(words))
    columns = {
        f"{place} {name}": pyarrow.array(
            [None if gaps and place == row % 3 else words[row % len(words)] for row in range(count)]
            if place % 2
            else rng.choice([*ends, ends[0] / 2 + ends[1] / 2], count).tolist()
        )
        for place, name in enumerate(names)
    }
    columns |= {"label": pyarrow.array(["a", "b"] * (count // 2)), "x": rng.normal(size=count)}
    file = project.root / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    project.adopt(file, "label")
    assert list(project.schema.columns) == list(columns)
    assert len(project.screen().good) == count
    ruff_is_content(project.schema_file)


# Target


@pytest.mark.parametrize("now", ["classification", "regression"])
def test_few_whole_numbers_keep_the_present_task(
    project: Project, csv: Callable[..., Path], now: str
) -> None:
    project.config_file.write_text(CONFIG.replace('"classification"', f'"{now}"'))
    done = project.adopt(csv(rows_with(stars=[1, 2, 3] * (ROWS // 3))), "stars")
    assert done.task == project.data.task == now
    assert said(done, "stars has 3 different whole numbers", f"stays {now}")


@pytest.mark.parametrize(
    ("values", "now", "task"),
    [
        (["a", "b"] * (ROWS // 2), "regression", "classification"),
        ([True, False] * (ROWS // 2), "regression", "classification"),
        (range(ROWS), "classification", "regression"),
        (numbers().tolist(), "classification", "regression"),
        ([0.5, 1.5] * (ROWS // 2), "classification", "regression"),
    ],
)
def test_the_task_follows_the_target(
    project: Project, csv: Callable[..., Path], values: list, now: str, task: str
) -> None:
    project.config_file.write_text(CONFIG.replace('"classification"', f'"{now}"'))
    done = project.adopt(csv(rows_with(y=values)), "y")
    assert done.task == task
    assert said(done, f"The task is {task} now")


def test_classes_written_as_decimals_are_whole(project: Project, csv: Callable[..., Path]) -> None:
    done = project.adopt(csv(rows_with(y=[1.0, 2.0, 3.0] * (ROWS // 3))), "y")
    assert line_of(done, "y") == "y: int = pa.Field(ge=1, le=3)"
    assert len(project.screen().good) == ROWS


def test_rows_without_target_are_counted(project: Project, csv: Callable[..., Path]) -> None:
    done = project.adopt(csv(rows_with(y=[None, None, *numbers()[2:]])), "y")
    assert said(done, "2 rows have no y")
    screened = project.screen()
    assert (len(screened.good), len(screened.bad)) == (ROWS - 2, 2)
    assert set(screened.bad["reason"]) == {"y is missing"}


def test_a_last_line_of_totals_sets_no_limits(project: Project, csv: Callable[..., Path]) -> None:
    rows = rows_with(kind=["a", "b", "c", "a"] * (ROWS // 4))
    total = pd.DataFrame({"x": [5000.0], "kind": ["Total"]})
    done = project.adopt(csv(pd.concat([rows, total])), "label")
    assert 'isin=["a", "b", "c"])' in line_of(done, "kind")
    (reason,) = project.screen().bad["reason"]
    assert "x is 5000.0, above " in reason


def test_unfit_targets(project: Project, csv: Callable[..., Path]) -> None:
    frame = rows_with(
        same=[1] * ROWS,
        none=[None] * ROWS,
        gaps=[None] * 9 + ["a", "b", "c"] * 17,
        name=[f"n{n}" for n in range(ROWS)],
        day=pd.date_range("2024-01-01", periods=ROWS),
    )
    file = csv(frame)
    assert "'same' is always 1" in project.refuses(file, "same")
    assert "'none' has no value" in project.refuses(file, "none")
    assert "9 of 60 rows have no gaps" in project.refuses(file, "gaps")
    assert "60 different values in 60 rows" in project.refuses(file, "name")
    assert "60 different values in 60 rows" in project.refuses(file, "day")
    assert "no such column. It has: 'x', 'label', 'same'" in project.refuses(file, "lable")
    assert "--target : no such column" in project.refuses(file, "")


# What gives the target away


def test_what_tells_the_target_is_no_input(project: Project, csv: Callable[..., Path]) -> None:
    frame = rows_with()
    frame["code"] = frame["label"].map({"no": 7, "yes": 9})
    frame["closed_on"] = np.where(frame["label"] == "yes", "2024-01-01", None)
    frame["town"] = ["a", "b", "c", "d", "e"] * (ROWS // 5)
    done = project.adopt(csv(frame), "label")
    assert project.data.exclude == ["code", "closed_on"]
    assert said(done, "code is no input", "known only afterwards")

    frame = rows_with(y=numbers(seed=1))
    frame["net"] = frame["y"] / 1.19
    frame["near"] = frame["y"] + numbers(seed=2) * 0.1
    done = project.adopt(csv(frame), "y")
    assert project.data.exclude == ["net"]


def test_no_input_left(project: Project, csv: Callable[..., Path]) -> None:
    frame = rows_with(id=range(ROWS)).drop(columns="x")
    assert "no column is left" in project.refuses(csv(frame), "label")


# Key, group and time


def test_a_column_named_like_a_key_is_taken(project: Project, csv: Callable[..., Path]) -> None:
    for name in ["id", "shipment_id", "PassengerId", "order key", "UUID"]:
        done = project.adopt(csv(rows_with(**{name: np.arange(ROWS) * 3})), "label")
        assert project.data.key == [name]
        assert said(done, "key", name)
        assert line_of(done, name).endswith("unique=True)")
    done = project.adopt(csv(rows_with(paid=np.arange(ROWS) * 3)), "label")
    assert project.data.key == []
    assert said(done, "No key was named")


def test_keys_that_are_none(project: Project, csv: Callable[..., Path]) -> None:
    frame = rows_with(
        id=["a", "a", *[f"n{n}" for n in range(ROWS - 2)]],
        part=[1, 2, *range(ROWS - 2)],
        gap=[None, *[f"n{n}" for n in range(ROWS - 1)]],
    )
    file = csv(frame)
    message = project.refuses(file, "label", key="id")
    assert "The key id is not unique: a is in 2 rows" in message
    assert "decimal numbers" in project.refuses(file, "label", key="x")
    assert "'gap' is missing in 1 rows" in project.refuses(file, "label", key="gap")
    assert "no such column" in project.refuses(file, "label", key="id,nope")

    project.adopt(file, "label", key="id,part")
    assert project.data.key == ["id", "part"]
    assert len(project.screen().good) == ROWS


def test_one_column_has_one_role(project: Project, csv: Callable[..., Path]) -> None:
    file = csv(rows_with(id=range(ROWS), day=pd.date_range("2024-01-01", periods=ROWS)))
    assert "two roles" in project.refuses(file, "label", key="label")
    assert "two roles" in project.refuses(file, "label", key="id,label")
    assert "two roles" in project.refuses(file, "label", key="id,id")
    assert "two roles" in project.refuses(file, "label", key="id", group="id")
    assert "two roles" in project.refuses(file, "label", time="day", group="day")
    assert "two roles" in project.refuses(file, "label", time="label")
    project.adopt(file, "label", key="id,day", time="day")
    assert (project.data.key, project.data.time) == (["id", "day"], "day")


def test_group_and_time(project: Project, csv: Callable[..., Path]) -> None:
    frame = rows_with(
        customer_id=[n // 3 for n in range(ROWS)],
        day=pd.date_range("2024-01-01", periods=ROWS).astype("str"),
        late=[None, *pd.date_range("2024-01-01", periods=ROWS - 1).astype("str")],
        year=[2020, 2021] * (ROWS // 2),
    )
    done = project.adopt(csv(frame), "label")
    assert said(done, "--group customer_id")
    done = project.adopt(csv(frame), "label", group="customer_id", time="day")
    assert (project.data.group, project.data.time) == ("customer_id", "day")
    assert roles_of(done)["day"] == "time"
    assert line_of(done, "customer_id") == "customer_id: int"
    assert not said(done, "--group")
    assert "missing in 1 rows" in project.refuses(csv(frame), "label", time="late")
    assert "no dates, but such as '2020'" in project.refuses(csv(frame), "label", time="year")
    assert "--group nobody" in project.refuses(csv(frame), "label", group="nobody")
    assert "decimal numbers" in project.refuses(csv(frame), "label", group="x")


# Files that can't be read


GOOD = "label,x\n" + "a,1.5\nb,2.5\n" * 15


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"", "is empty"),
        ("rows.csv", b"label,x\n", "holds no rows"),
        ("rows.csv", b"label,x\na,1\n", "holds 1 rows; at least 20"),
        ("rows.csv", bytes(range(256)) * 20, "is no UTF-8 text"),
        ("rows.csv", b"\0" * 5000, "can't be read"),
        ("rows.csv", GOOD.replace("a", "é").encode("latin1"), "iconv"),
        ("rows.csv", (GOOD * 1000 + "é,1\n").encode("latin1"), "iconv"),
        ("rows.csv", GOOD.encode("utf-16"), "is UTF-16 text"),
        ("rows.csv", GOOD.replace(",", ";").encode(), "separated by ';'"),
        ("rows.csv", GOOD.replace(",", ";").replace(".", ",").encode(), "separated by ';'"),
        ("rows.csv", GOOD.replace(",", "\t").encode(), r"separated by '\t'"),
        ("rows.csv", (GOOD + "a,1,2\n" + GOOD).encode(), "Row #32: Expected 2 columns, got 3"),
        ("rows.csv", ("Sales of May\n" + GOOD).encode(), "The first line must name the columns"),
        ("rows.csv", ("Sales of May,,\n" + GOOD).encode(), "one column called (no name)"),
        ("rows.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel file. Save the sheet"),
        ("rows.csv", GOOD.replace("x", "label").encode(), "more than one column called label"),
        ("rows.parquet", b"PAR1 and then nothing", "can't be read"),
        ("rows.parquet", b"", "can't be read"),
        ("rows.xlsx", GOOD.encode(), "expected a .csv or .parquet file"),
    ],
)
def test_unreadable_files(project: Project, name: str, content: bytes, message: str) -> None:
    file = project.root / name
    file.write_bytes(content)
    assert message in project.refuses(file, "label")


def test_a_parquet_file_cut_short(project: Project) -> None:
    file = project.root / "rows.parquet"
    rows_with().to_parquet(file)
    file.write_bytes(file.read_bytes()[:-100])
    assert "can't be read" in project.refuses(file, "label")


def test_no_file(project: Project) -> None:
    assert "does not exist" in project.refuses(project.root / "none.csv", "label")
    (project.root / "folder.csv").mkdir()
    assert "is a folder. Make one file of it" in project.refuses(
        project.root / "folder.csv", "label"
    )


def test_nothing_is_written_unless_the_rows_are_accepted(
    project: Project, csv: Callable[..., Path]
) -> None:
    before = project.files()

    def refuse(schema: pa.DataFrameSchema, data: Data) -> None:
        assert (list(schema.columns), data.target) == (["x", "label"], "label")
        assert project.files() == before, "what is there stays until the rows are taken in"
        raise GateRefused("no")

    files = {"schema_file": project.schema_file, "config_file": project.config_file}
    with pytest.raises(GateRefused):
        adopt(csv(rows_with()), "label", [], None, None, **files, accept=refuse)
    assert project.files() == before


def test_nothing_is_written_where_one_file_can_not_be(
    project: Project, csv: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def full(path: Path, *args: object, **named: object) -> int:
        if "config" in path.name:
            raise OSError("No space left on device")
        return write(path, *args, **named)

    monkeypatch.setattr(Path, "write_text", full)
    before = project.files()
    with pytest.raises(OSError, match="No space left"):
        project.adopt(csv(rows_with()), "label")
    assert project.files() == before
