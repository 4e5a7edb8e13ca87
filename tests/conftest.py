"""Makes the template's package importable in place, as `slipway_template`, and renders projects."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "template" / "src" / "{{ package_name }}"

IN_PLACE = ROOT / "build" / "in-place"
IN_PLACE.mkdir(parents=True, exist_ok=True)
BYTECODE = ROOT / "build" / "bytecode"
link = IN_PLACE / "slipway_template"
with suppress(FileExistsError):
    link.symlink_to(PACKAGE)
sys.path.insert(0, str(IN_PLACE))

LONGEST = [
    *("test_lifecycle", "test_runs", "test_e_production", "test_service", "test_project"),
    *("test_c_training", "test_delivery", "test_spark", "test_ensemble", "test_own_data"),
    *("test_b_splits", "test_pages", "test_f_monitoring", "test_render", "test_tables"),
    *("test_estimators", "test_security", "test_a_data", "test_d_release", "test_deployment"),
]
"""Files whose tests take minutes, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest files, so that no worker ends long before the others."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file to one worker, and all that scores in Spark to a single one."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "spark" if "_spark" in nodeid else super()._split_scope(nodeid)

    return ByFile(config, log)


def environment() -> dict[str, str]:
    """What a project's commands see: this machine, without the environment these tests run in."""
    foreign = (
        "ARGS",
        "GIT_",
        "MAKE",
        "MFLAG",
        "MLFLOW_",
        "PYTEST_",
        "PYTHON",
        "UV_PROJ",
        "VIRTUAL",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = [entry for entry in kept["PATH"].split(os.pathsep) if not entry.startswith(sys.prefix)]
    if "UV" in kept:
        path.insert(0, str(Path(kept.pop("UV")).parent))
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in {"NAME": "Ada", "EMAIL": "ada@example.com"}.items()
    }
    git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return kept | who | git | {"PATH": os.pathsep.join(path)}


def carry_bytecode(source: Path, target: Path) -> None:
    """Spare an environment the 15 seconds in which it would compile what another one did already.

    Python compiles anew where the source it was compiled from is not of the same time and size.
    """
    for cache in source.rglob("__pycache__"):
        place = target / cache.relative_to(source)
        if target == BYTECODE or place.parent.is_dir():  # else it is not installed there
            place.mkdir(parents=True, exist_ok=True)
            for file in cache.iterdir():
                with suppress(OSError):  # it is there already, or on another disk
                    os.link(file, place / file.name)


@dataclass(frozen=True)
class Project:
    """A rendered project, and the ways a person works in it."""

    path: Path
    package: str
    command: str = ""
    """What its console script is called, where that is not the package's name."""

    @property
    def slug(self) -> str:
        return self.command or self.package.replace("_", "-")

    @property
    def source(self) -> Path:
        return self.path / "src" / self.package

    @property
    def config(self) -> Path:
        return self.source / "resources" / "config.toml"

    def run(
        self, *command: str | Path, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; the test fails where it ends with another exit code."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.path,
            env=environment() | env,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        said = f"{' '.join(map(str, command))} ended with {done.returncode}\n"
        said += f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        assert code is None or done.returncode == code, said
        assert "Traceback (most recent call last)" not in done.stderr or code is None, said
        if {"setup", "sync"} & set(command):
            carry_bytecode(BYTECODE, self.path / ".venv")
        return done

    def make(self, *targets: str, code: int | None = 0, **env: str) -> str:
        """Run targets of its Makefile and return all that was said."""
        done = self.run("make", *targets, code=code, **env)
        return done.stdout + done.stderr

    def cli(
        self, *arguments: str | Path, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return self.run(self.path / ".venv/bin" / self.slug, *arguments, code=code, **env)

    def json(self, *arguments: str | Path, code: int | None = 0, **env: str) -> dict[str, Any]:
        """Run one of its commands with `--json` and return the object it prints last."""
        result: dict[str, Any] = json.loads(
            self.cli(*arguments, "--json", code=code, **env).stdout.splitlines()[-1]
        )
        return result

    def python(self, code: str) -> Any:
        """Run a script in its environment and return what it prints, as JSON."""
        return json.loads(self.run(self.path / ".venv/bin/python", "-c", code).stdout)

    def git(self, *arguments: str, code: int | None = 0) -> str:
        done = self.run("git", *arguments, code=code)
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def replace(self, file: Path, old: str, new: str) -> None:
        """Edit a file as a person would; the test fails where the text is not there."""
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{file} holds no {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def commit(self, message: str = "Work", code: int | None = 0) -> str:
        """Commit everything, through the gates."""
        self.git("add", "--all")
        return self.git("commit", "--quiet", "--message", message, code=code)

    def champion(self) -> int | None:
        """The version that answers for production, read from MLflow's own database."""
        query = "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
        return next(iter(self._registry(query)), None)

    def versions(self) -> list[int]:
        """All registered versions, read from MLflow's own database."""
        return self._registry("SELECT version FROM model_versions ORDER BY version")

    def _registry(self, query: str) -> list[int]:
        with closing(sqlite3.connect(self.path / "var" / "mlflow.db")) as database:
            return [int(version) for (version,) in database.execute(query)]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it lies in the working tree, as a repository with one tagged commit."""
    copy = tmp_path_factory.mktemp("template")
    git = partial(subprocess.run, cwd=copy, env=environment(), check=True, capture_output=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError:  # a checkout that is no repository
        shutil.copytree(ROOT / "template", copy / "template", dirs_exist_ok=True)
        names = "copier.yml\0CHANGELOG.md"
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    git(["git", "init", "--quiet"])
    git(["git", "add", "--all", "--force"])
    git(["git", "commit", "--quiet", "--message", "The working tree"])
    git(["git", "tag", "0.1.0"])
    return copy


@pytest.fixture(scope="session")
def render(template: Path) -> Callable[..., Project]:
    """Copy the template to a folder, with these answers and the defaults for the rest."""
    import copier

    def render(path: Path, **answers: Any) -> Project:
        done = copier.run_copy(
            str(template), path, data=answers, defaults=True, quiet=True, vcs_ref="HEAD"
        )
        said = done.answers.combined
        return Project(path, said["package_name"], said["project_slug"])

    return render


@pytest.fixture(scope="session")
def born(render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The default project on its first day: set up and committed, nothing trained."""
    project = render(tmp_path_factory.mktemp("born") / "project")
    project.make("setup")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--message", "Start from Slipway")
    return project


@pytest.fixture(scope="session")
def samples(born: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of invented rows: a few to score, and more to train on."""
    folder = tmp_path_factory.mktemp("samples")
    for name, rows, seed in [
        ("rows.csv", 300, 2),
        ("rows.parquet", 300, 2),
        ("train.csv", 4000, 5),
    ]:
        born.cli("data", "sample", folder / name, "--rows", str(rows), "--seed", str(seed))
    return folder


@pytest.fixture
def project(born: Project) -> Iterator[Project]:
    """The default project on its first day, to be edited freely: everything is put back."""
    yield born
    reset(born)


@pytest.fixture(scope="session")
def first_model(born: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `var/` holds once the default project has its first champion."""
    assert born.json("train")["promoted"]
    carry_bytecode(born.path / ".venv", BYTECODE)
    kept = tmp_path_factory.mktemp("var") / "var"
    shutil.move(born.path / "var", kept)
    return kept


@pytest.fixture(scope="session")
def spark_project(
    render: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project that scores in Spark, with its first champion."""
    if os.environ.get("SLIPWAY_FULL") != "1":
        pytest.skip("SLIPWAY_FULL=1 brings Spark")
    if not shutil.which("java"):
        pytest.fail("java is not installed, and SLIPWAY_FULL=1 asks for every engine")
    project = render(tmp_path_factory.mktemp("spark") / "project", scale="spark")
    project.run("uv", "sync", "--quiet", "--no-dev", "--extra", "spark")
    project.git("init", "--quiet")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Start from Slipway")
    assert project.json("train")["promoted"]
    return project


@pytest.fixture
def trained(project: Project, first_model: Path) -> Project:
    """The default project with its first champion, to be edited freely: everything is put back."""
    shutil.rmtree(project.path / "var", ignore_errors=True)
    shutil.copytree(first_model, project.path / "var")
    return project


def reset(project: Project, commit: str = "") -> None:
    """Put a project back to its first commit; its environment and its caches stay."""
    first = commit or project.git("rev-list", "--max-parents=0", "HEAD").strip()
    with suppress(FileNotFoundError):
        (project.path / ".git/index.lock").unlink()
    project.git("reset", "--quiet", "--hard", first)
    project.git("clean", "-ffdxq", "--exclude=.venv", "--exclude=.mypy_cache")
