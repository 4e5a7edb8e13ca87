"""D: what goes wrong between a working tree and what runs."""

import json
import secrets
from collections.abc import Callable

import pytest

from conftest import Project

from .conftest import Stopped
from .test_b_splits import failed_hooks, git_head


def type_error(project: Project) -> None:
    """Forget that there are no classes where a number is predicted."""
    project.replace(
        project.source / "estimators/rules.py",
        "    if classes is None:\n        return np.where(spot, 0.0, answers)\n",
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
