"""D: what goes wrong between a working tree and what runs."""

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project

from .conftest import Stopped
from .test_b_splits import failed_hooks, git_head


def type_error(project: Project) -> None:
    """Forget that there are no classes where a number is predicted."""
    project.replace(
        project.source / "estimators/rules.py",
        "0.0 if classes is None else ",
        "",
    )


def unformatted(project: Project) -> None:
    project.write("scripts/quick.py", '"""Quick."""\n\nrows = {  "a":1 }\n')


def secret(project: Project) -> None:
    key = "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
    project.write("scripts/upload.py", f'"""Upload."""\n\nACCESS_KEY = "{key}"\n')


def big_file(project: Project) -> None:
    project.write("notebooks/export.csv", "1,2,3,4,5,6,7\n" * 100_000)


def notebook_output(project: Project) -> None:
    notebook = project.path / "notebooks/explore.ipynb"
    content = json.loads(notebook.read_text())
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    text = ["customer 4711 owes 1,200 EUR\n"]
    cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text}]
    cell["execution_count"] = 1
    notebook.write_text(json.dumps(content, indent=1) + "\n")


def merge_marker(project: Project) -> None:
    readme = project.path / "README.md"
    readme.write_text(f"<<<<<<< HEAD\n{readme.read_text()}=======\n>>>>>>> other\n")


def shortcut(project: Project) -> None:
    file = project.source / "data/sources.py"
    file.write_text(f"{file.read_text()}\n\nfrom ..training import registry  # noqa\n")


@pytest.fixture(scope="module")
def built(born: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make build` left in dist/ on the first day."""
    born.make("build")
    return shutil.move(born.path / "dist", tmp_path_factory.mktemp("built") / "dist")


def shipped(project: Project, built: Path) -> Path:
    """Put the built wheel where `make verify` and `make image` look for it."""
    shutil.copytree(built, project.path / "dist", dirs_exist_ok=True)
    return next((project.path / "dist").glob("*.whl"))


@pytest.mark.pitfall("D2", "the wheel is changed after it was built", gate="make verify")
def test_a_changed_wheel_is_refused(project: Project, stopped: Stopped, built: Path) -> None:
    wheel = shipped(project, built)
    wheel.write_bytes(wheel.read_bytes() + b"\0")

    with stopped:
        said = project.make("verify", code=2)

    stopped.says(said, "Wheel gate", wheel.name, "is not the wheel that was built")
    assert not (project.path / "build/verify").exists()


@pytest.mark.pitfall("D2", "the wheel of an older commit is taken", gate="make verify")
def test_an_old_wheel_is_refused(project: Project, stopped: Stopped, built: Path) -> None:
    wheel = shipped(project, built)
    then = git_head(project).strip()
    project.write("scripts/later.py", '"""Later."""\n')
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--message", "Later")

    with stopped:
        said = project.make("verify", code=2)

    stopped.says(said, "Wheel gate", wheel.name, then, git_head(project).strip())


@pytest.mark.pitfall("D2", "a wheel is built from work that is in no commit", gate="make verify")
def test_uncommitted_code_is_not_shipped(project: Project, stopped: Stopped) -> None:
    project.write("scripts/later.py", '"""Later."""\n')
    assert "uncommitted work" in project.make("build")

    with stopped:
        said = project.make("verify", code=2)

    stopped.says(said, "Wheel gate", "holds uncommitted work")


@pytest.mark.pitfall(
    "D2", "a file that the package reads is missing from the wheel", gate="make verify"
)
def test_a_wheel_that_works_only_beside_its_sources_is_refused(
    project: Project, stopped: Stopped
) -> None:
    module = f'module-name = "{project.package}"'
    project.replace(
        project.path / "pyproject.toml", module, f'{module}\nwheel-exclude = ["**/config.toml"]'
    )
    project.git("commit", "--quiet", "--all", "--no-verify", "--message", "A leaner wheel")
    assert project.json("config", "show")["data"], "beside the sources nobody would notice"
    project.make("build")

    with stopped:
        said = project.make("verify", code=2)

    stopped.says(said, "E ", "config.toml is missing")


@pytest.mark.pitfall("D2", "code is fixed in place where the service runs", gate="serve")
def test_a_service_whose_code_was_changed_does_not_start(
    project: Project, stopped: Stopped, built: Path
) -> None:
    shipped(project, built)
    place = project.path / "build/verify"
    project.run("uv", "run", "--no-project", "python", "ops/wheel.py", "install", place)
    (code,) = place.glob(f"lib/python*/site-packages/{project.package}/service/answer.py")
    text = code.read_text()
    code.unlink()  # uv's cache holds the same file
    code.write_text(f"{text}# fixed\n")

    with stopped:
        done = project.run(place / "bin" / project.slug, "serve", "--port", "0", code=1)

    stopped.says(done.stderr, "Wheel gate", "service/answer.py is not as in")


COMMITS: list[tuple[str, Callable[[Project], None], str, tuple[str, ...]]] = [
    ("type error", type_error, "types", ("estimators/rules.py", "error:")),
    ("unformatted", unformatted, "formatting", ("scripts/quick.py:3",)),
    ("secret", secret, "secrets", ("Location", "scripts/upload.py:3")),
    ("big file", big_file, "large files", ("notebooks/export.csv", "exceeds")),
    ("notebook output", notebook_output, "notebooks without outputs", ("explore.ipynb",)),
    ("merge marker", merge_marker, "merge markers", ("README.md", "conflict")),
    ("import against the arrows", shortcut, "imports between rooms", ("data", "training")),
]


@pytest.mark.pitfall(
    "D6",
    "type error, bad format, secret, big file, notebook output, merge marker, wrong import",
    gate="commit",
)
@pytest.mark.parametrize(
    ("make", "hook", "wanted"), [one[1:] for one in COMMITS], ids=[one[0] for one in COMMITS]
)
def test_bad_code_is_not_committed(
    project: Project,
    stopped: Stopped,
    make: Callable[[Project], None],
    hook: str,
    wanted: tuple[str, ...],
) -> None:
    head = git_head(project)
    make(project)

    with stopped:
        said = project.commit(code=1)

    assert hook in failed_hooks(said)
    stopped.says(said, *wanted)
    assert git_head(project) == head
    assert project.git("diff", "--cached", "--name-only").strip(), "the work is gone"


@pytest.mark.pitfall(
    "D6", "a bug that a test knows, committed past the hooks", gate="CI: make check"
)
def test_a_failing_test_stops_the_check(project: Project, stopped: Stopped) -> None:
    project.replace(project.source / "utils/seeding.py", ">> 1)", ">> 2)")
    project.git("commit", "--quiet", "--all", "--no-verify", "--message", "In a hurry")

    with stopped:
        said = project.make("check", code=2, PYTEST_ADDOPTS="-x")

    stopped.says(said, "FAILED", "test_a_stream_is_the_same_on_every_machine")
