"""Updates: projects full of their team's work take in newer versions of the template.

The releases are made here, of the template as it lies in the working tree, and change every file
that Slipway manages: v1.1.0 above, v1.2.0 below. What a project must show afterwards: `Outcome`.
`SLIPWAY_WRITE_DOCS=1 make matrix ARGS="tests/test_update.py -n 0 -m ''"` writes the table of
docs/explanation/updates.md.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

from conftest import ROOT, Project, environment

Answers = dict[str, Any]
Files = dict[str, bytes]

PAGE = ROOT / "docs" / "explanation" / "updates.md"
HOW_TO = ROOT / "docs" / "how-to" / "update-a-project.md"
WRITES = os.environ.get("SLIPWAY_WRITE_DOCS") == "1"
heavy = pytest.mark.long
CODE = "template/src/{{ package_name }}"
RETIRED = "tests/code/test_notebooks.py"
UPDATE_ONLY = re.compile(r"\{% if _copier_operation == 'update' %\}/(.*)\{% endif %\}")
THEIRS = [
    found[1].replace("{{ package_name }}", "[a-z_]+")
    for line in yaml.safe_load((ROOT / "copier.yml").read_text())["_exclude"]
    if (found := UPDATE_ONLY.fullmatch(line))
]
"""What copier.yml says is the team's, as patterns."""

PATHS = {
    "1.0 → 1.1": ["v1.1.0"],
    "1.0 → 1.2": ["v1.2.0"],
    "1.0 → 1.1 → 1.2": ["v1.1.0", "v1.2.0"],
}
ANSWERS: dict[str, tuple[Answers, Answers]] = {
    "the same": ({}, {}),
    "REST off": ({"delivery": "both"}, {"delivery": "batch"}),
    "REST on": ({"delivery": "batch"}, {"delivery": "both"}),
    "Spark on": ({"scale": "single"}, {"scale": "spark"}),
    "Spark off": ({"scale": "spark"}, {"scale": "single"}),
    "GitHub to GitLab": ({"ci": "github"}, {"ci": "gitlab"}),
    "GitLab to GitHub, REST only": ({"ci": "gitlab"}, {"ci": "github", "delivery": "rest"}),
}


# ---------------------------------------------------------------- releases


def is_theirs(name: str) -> bool:
    return any(re.match(rf"{pattern}(/|$)", name) for pattern in THEIRS)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} holds no {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def managed(template: Path) -> Iterator[Path]:
    """Yield the files of the template that can bear a comment and are not the team's."""
    for file in sorted((template / "template").rglob("*")):
        name = str(file.relative_to(template / "template")).removesuffix(".jinja")
        bears = Path(name).suffix in {".py", ".yml", ".yaml", ".toml", ".ini"}
        bears = bears or Path(name).name in {"Makefile", ".gitignore", ".importlinter"}
        plain = name.replace("{{ package_name }}", "package")
        if file.is_file() and bears and not is_theirs(plain):
            yield file


def minor_one(template: Path) -> None:
    """v1.1.0: every file begins anew; a dependency, a target, a new file and a new question."""
    for file in managed(template):
        file.write_text("# Slipway 1.1.0\n" + file.read_text())
    (template / CODE / "utils/clock.py").write_text('"""A new practice."""\n')
    pyproject = template / "template/pyproject.toml.jinja"
    edit(pyproject, '    "filelock",\n', '    "filelock",\n    "packaging",\n')
    makefile = template / "template/Makefile.jinja"
    edit(makefile, "\nupgrade:", "\ntick: ## What the clock says\n\t@date\n\nupgrade:")
    question = "region:\n  type: str\n  help: Where does it run?\n  default: eu\n\n"
    edit(template / "copier.yml", "ci:\n", f"{question}ci:\n")
    only = "\"{% if region | default('eu') == 'eu' %}/docs/regions.md{% endif %}\""
    edit(template / "copier.yml", "  # Theirs:", f"  - {only}\n  # Theirs:")
    (template / "template/docs/regions.md").write_text("# Regions\n")
    log = "## 1.1.0\n\nA clock: `make tick`. Asks for the `region`.\n\n## "
    edit(template / "CHANGELOG.md", "## ", log)


def minor_two(template: Path) -> None:
    """v1.2.0: every file ends anew, samples of theirs too; a later date, a file handed over."""
    for file in managed(template):
        text = file.read_text()
        space = "\n\n" if ".py" in file.suffixes else ""
        file.write_text(text + "\n" * (text[-1] != "\n") + space + "# Slipway 1.2.0\n")
    edit(template / CODE / "preprocessing/features.py", '"""', '"""Newer. ')
    edit(template / "template/README.md.jinja", "## Run it", "## Run it anew")
    (template / "template/scripts/new.py").write_text('"""A sample that came later."""\n')
    pyproject = template / "template/pyproject.toml.jinja"
    text = pyproject.read_text()
    pyproject.write_text(re.sub(r'(exclude-newer = ".*T00:0)0', r"\g<1>1", text))
    (template / f"template/{RETIRED}.jinja").unlink()
    with (template / "copier.yml").open("a+") as file:
        file.seek(0)
        text = file.read()
        file.truncate(0)
        file.write(re.sub(r"(  # Retired: .*\n)", rf"\1  - /{RETIRED}\n", text))
    edit(template / "CHANGELOG.md", "## ", "## 1.2.0\n\nThe test of notebooks is yours.\n\n## ")


@pytest.fixture(scope="module")
def releases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the template with the tags v1.0.0, v1.1.0 and v1.2.0."""
    there = tmp_path_factory.mktemp("releases") / "template"
    shutil.copytree(template, there)
    git = partial(subprocess.run, cwd=there, env=environment(), check=True, capture_output=True)
    git(["git", "tag", "v1.0.0"])
    git(["git", "tag", "--delete", "0.1.0"])  # the same commit by another name
    for tag, change in {"v1.1.0": minor_one, "v1.2.0": minor_two}.items():
        change(there)
        git(["git", "add", "--all", "--force"])
        git(["git", "commit", "--quiet", "--message", tag])
        git(["git", "tag", tag])
    return there


# ---------------------------------------------------------------- what teams do


def in_the_middle(file: Path, line: str) -> None:
    """Put a line where the file has an empty one, about half way."""
    lines = file.read_text(encoding="utf-8").splitlines()
    empty = [number for number, text in enumerate(lines) if not text]
    place = min(empty, key=lambda number: abs(number - len(lines) / 2))
    file.write_text("\n".join([*lines[:place], "", line, *lines[place:]]) + "\n")


def own_model(project: Project) -> None:
    for name in ("preprocessing/schema.py", "preprocessing/features.py", "estimators/rules.py"):
        in_the_middle(project.source / name, "# Ours.")
    project.write(f"src/{project.package}/preprocessing/ours.py", '"""Our features."""\n')
    project.write(f"src/{project.package}/estimators/model.py", '"""Our model, all of it."""\n')


def own_settings(project: Project) -> None:
    edit(project.config, "[data]", "[split]\nseed = 'ours'\n\n[data]")
    project.write("README.md", "# Ours\n")
    in_the_middle(project.path / "docs/brief.md", "It pays from 0.2 on.")


def own_notebooks(project: Project) -> None:
    edit(project.path / "notebooks/explore.ipynb", '"cells": [', '"cells": [ ')
    project.write("notebooks/ours.ipynb", "{}\n")
    project.write("scripts/ours.py", "print('ours')\n")
    project.write("scripts/new.py", "print('ours, and the name is taken later')\n")


def own_dependencies(project: Project) -> None:
    text = (project.path / "pyproject.toml").read_text()
    project.write("pyproject.toml", text.replace("# Yours:\n", '# Yours:\n    "tomli-w",\n'))


def own_targets(project: Project) -> None:
    project.write("local.mk", "ours: ## Ours\n\t@echo ours\n")


def deleted_samples(project: Project) -> None:
    for name in ("notebooks/explore.ipynb", "tests/theirs/test_rules.py", "docs/brief.md"):
        (project.path / name).unlink()
    shutil.rmtree(project.path / "scripts")


def deleted_managed_files(project: Project) -> None:
    for name in ("tests/data/test_fingerprint.py", "ops/demo.py", ".importlinter"):
        (project.path / name).unlink()


def edited_ci(project: Project) -> None:
    workflows = project.path / ".github/workflows"
    if workflows.exists():
        edit(workflows / "ci.yml", "\njobs:\n", "\nenv:\n  OURS: '1'\n\njobs:\n")
        project.write(".github/workflows/ours.yml", "name: ours\n")
    if (project.path / ".gitlab-ci.yml").exists():
        in_the_middle(project.path / ".gitlab-ci.yml", "# Ours.")


def edited_code(project: Project) -> None:
    names = ["training/train.py", "data/ingest.py", "utils/config.py", "cli/main.py"]
    files = [project.source / name for name in names]
    files += [project.path / name for name in ("Makefile", "ruff.toml", "tests/conftest.py")]
    for file in files:
        in_the_middle(file, "# Ours.")


def files_among_ours(project: Project) -> None:
    project.write(f"src/{project.package}/training/ours.py", '"""Ours."""\n')
    project.write("tests/code/test_ours.py", "def test_ours() -> None: ...\n")
    project.write("ops/monitoring/ours.yml", "groups: []\n")
    project.write("docs/ours.md", "# Ours\n")


EDITS: dict[str, Callable[[Project], None]] = {
    "schema, features, rules, another model": own_model,
    "settings, README, brief": own_settings,
    "notebooks and scripts": own_notebooks,
    "dependencies": own_dependencies,
    "targets in local.mk": own_targets,
    "sample files deleted": deleted_samples,
    "managed files deleted": deleted_managed_files,
    "CI edited": edited_ci,
    "managed code, Makefile, rules edited": edited_code,
    "files added to managed folders": files_among_ours,
}


def everything(project: Project) -> None:
    """All edits in one project, but for what two of them do to the same file."""
    for work in EDITS.values():
        if work is not deleted_samples:
            work(project)
    (project.path / "tests/theirs/test_rules.py").unlink()
    (project.path / "scripts/README.md").unlink()


# ---------------------------------------------------------------- what came of it


@dataclass(frozen=True)
class Outcome:
    """What an update did to a project; each list is empty when all is well."""

    conflicts: list[str]
    lost: list[str] = field(default_factory=list)
    """Lines of the team that are gone, but for files that the answers no longer ask for."""
    brought_back: list[str] = field(default_factory=list)
    """Files that the team had deleted."""
    touched: list[str] = field(default_factory=list)
    """Files of the team that differ."""
    not_fresh: list[str] = field(default_factory=list)
    """Managed files that differ from a fresh project by more than the team's own edits."""
    gone: list[str] = field(default_factory=list)
    """Edited files that went with the feature that the new answers do without."""

    @property
    def bad(self) -> list[list[str]]:
        return [
            part
            for part in (
                self.conflicts,
                self.lost,
                self.brought_back,
                self.touched,
                self.not_fresh,
            )
            if part
        ]


def files(folder: Path) -> Files:
    kept = [path for path in folder.rglob("*") if path.is_file()]
    parts = {path: path.relative_to(folder).parts for path in kept}
    return {"/".join(p): path.read_bytes() for path, p in parts.items() if p[0] != ".git"}


def lines(content: bytes) -> Counter[bytes]:
    return Counter(content.splitlines())


def compare(old: Files, mine: Files, new: Files, after: Files, conflicts: list[str]) -> Outcome:
    """Compare a project before and after with what the template makes of its answers.

    Parameters
    ----------
    old, new
        A fresh project of each version, with the answers of that time.
    mine, after
        The team's project before and after the update.
    """
    outcome = Outcome(conflicts)
    for name in sorted(old.keys() | mine.keys() | new.keys() | after.keys()):
        was, had, wanted, has = (one.get(name) for one in (old, mine, new, after))
        if had is None and was is not None:
            outcome.brought_back.extend([name] if has is not None else [])
        elif name == RETIRED:  # from now on the team's, as it is
            outcome.lost.extend([name] if has is None else [])
        elif is_theirs(name) or (was is None and wanted is None):
            outcome.touched.extend([name] if has != had else [])
        elif wanted is None:
            outcome.gone.extend([name] if had != was else [])
            outcome.not_fresh.extend([name] if has is not None else [])
        elif has is None:
            outcome.not_fresh.append(name)
        elif had in {was, None}:
            outcome.not_fresh.extend([name] if has != wanted else [])
        else:
            added, cut = lines(had) - lines(was or b""), lines(was or b"") - lines(had)
            outcome.lost.extend(f"{name}: {line!r}" for line in added - lines(has))
            same = lines(has) - lines(wanted) == added and lines(wanted) - lines(has) == cut
            outcome.not_fresh.extend([] if same or name in conflicts else [name])
    return outcome


def fresh(releases: Path, where: Path, tag: str, answers: Answers) -> Project:
    done = copier.run_copy(
        str(releases), where, data=answers, defaults=True, quiet=True, vcs_ref=tag
    )
    return Project(where, done.answers.combined["package_name"])


def start(releases: Path, where: Path, answers: Answers, tag: str = "v1.0.0") -> Project:
    """A committed project of an older version."""
    project = fresh(releases, where, tag, answers)
    project.git("init", "--quiet")
    project.commit("Start from Slipway")
    return project


def take_in(project: Project, tag: str, answers: Answers) -> list[str]:
    """Update a project as `make update` does, commit it and return where there were conflicts."""
    copier.run_update(
        project.path,
        data=answers,
        defaults=True,
        overwrite=True,
        quiet=True,
        vcs_ref=tag,
    )
    unmerged = project.git("ls-files", "--unmerged").splitlines()
    rejected = [path.name for path in project.path.rglob("*.rej")]
    conflicts = sorted({line.partition("\t")[2] for line in unmerged} | set(rejected))
    project.commit("Update")
    return conflicts


HEAD = """
| versions | what the team had done | answers | conflicts | lost | brought back | not fresh |
| --- | --- | --- | --- | --- | --- | --- |
"""


@pytest.fixture(scope="session")
def table() -> Iterator[dict[tuple[str, str, str], Outcome]]:
    """The outcomes by versions, edits and answers; written to the page at the end where asked."""
    rows: dict[tuple[str, str, str], Outcome] = {}
    yield rows
    if WRITES and rows:
        write_page(rows)


def write_page(rows: dict[tuple[str, str, str], Outcome]) -> None:
    body = HEAD
    order = [case.values for case in CASES]
    for key, one in sorted(rows.items(), key=lambda row: order.index(row[0])):
        counts = [one.conflicts, one.lost + one.touched, one.brought_back, one.not_fresh]
        body += f"| {' | '.join([*key, *(str(len(part)) for part in counts)])} |\n"
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition("<!-- table -->\n")[0], text.rpartition("<!-- /table -->")[2]
    PAGE.write_text(f"{before}<!-- table -->\n{body}<!-- /table -->{after}")


ALL = "all of these at once"
SHORT = ("1.0 → 1.1 → 1.2", ALL, "GitLab to GitHub, REST only")
CASES = [
    pytest.param(*case, id=" / ".join(case), marks=[pytest.mark.long] * (case != SHORT))
    for case in [
        *(("1.0 → 1.2", edits, "the same") for edits in EDITS),
        *((path, ALL, answers) for path in PATHS for answers in ANSWERS),
    ]
]


@pytest.mark.parametrize(("path", "edits", "answers"), CASES)
def test_an_update_leaves_work_alone_and_brings_the_rest(
    releases: Path,
    tmp_path: Path,
    table: dict[tuple[str, str, str], Outcome],
    *,
    path: str,
    edits: str,
    answers: str,
) -> None:
    before, changed = ANSWERS[answers]
    tags = ["v1.0.0", *PATHS[path]]
    project = start(releases, tmp_path / "project", before)
    (everything if edits == ALL else EDITS[edits])(project)
    project.commit("Our work")
    mine = files(project.path)
    conflicts = []
    for _, tag in pairwise(tags):
        conflicts += take_in(project, tag, changed)

    old = files(fresh(releases, tmp_path / "old", tags[0], before).path)
    new = files(fresh(releases, tmp_path / "new", tags[-1], before | changed).path)
    outcome = compare(old, mine, new, files(project.path), conflicts)
    table[path, edits, answers] = outcome

    assert outcome.bad == []
    assert edits == ALL or answers != "the same" or outcome.gone == []
    assert "# Slipway 1.1.0" in (project.source / "data/ingest.py").read_text()


def test_the_page_shows_every_case() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if "→" in line]
    assert [tuple(row[:3]) for row in rows] == [case.values for case in CASES]
    assert {tuple(row[3:]) for row in rows} == {("0", "0", "0", "0")}


# ---------------------------------------------------------------- versions from real history


def history() -> list[str]:
    """Return some past commits of this repository's template, oldest first."""
    command = ["git", "log", "--format=%H", "--reverse", "--", "copier.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    commits = done.stdout.split()
    return commits[:: max(1, len(commits) // 4)]


@pytest.mark.long
def test_projects_of_past_days_come_to_the_present(template: Path, tmp_path: Path) -> None:
    commits = history()
    if len(commits) < 2:
        pytest.skip("this is a shallow clone, or no repository at all")
    there = tmp_path / "template"
    there.mkdir()
    run = partial(subprocess.run, env=environment(), check=True, capture_output=True)
    run(["git", "init", "--quiet"], cwd=there)
    for number, commit in enumerate([*commits, "now"]):
        run(["git", "rm", "-rqf", "--ignore-unmatch", "."], cwd=there)
        if commit == "now":
            shutil.copytree(template, there, dirs_exist_ok=True, ignore=lambda *_: {".git"})
        else:
            archive = run(["git", "archive", commit], cwd=ROOT).stdout
            run(["tar", "-x"], cwd=there, input=archive)
        run(["git", "add", "--all", "--force"], cwd=there)
        run(["git", "commit", "--quiet", "--allow-empty", "--message", commit], cwd=there)
        run(["git", "tag", f"v0.0.{number}"], cwd=there)
    last = f"v0.0.{len(commits)}"
    new = files(fresh(there, tmp_path / "new", last, {}).path)

    for number in range(len(commits)):
        project = start(there, tmp_path / f"project-{number}", {}, tag=f"v0.0.{number}")
        old = files(project.path)
        for work in (own_model, own_settings, own_dependencies, own_targets, files_among_ours):
            work(project)
        (project.path / "notebooks/explore.ipynb").unlink()
        project.commit("Our work")
        mine = files(project.path)
        conflicts = take_in(project, last, {})

        assert compare(old, mine, new, files(project.path), conflicts).bad == [], commits[number]


# ---------------------------------------------------------------- where there is something to say


@heavy
def test_a_clash_is_seen(releases: Path, tmp_path: Path) -> None:
    """The control: both sides change the same line, and one of the team's lines is taken away."""
    project = start(releases, tmp_path / "project", {})
    file = project.path / "ruff.toml"
    file.write_text("# Ours.\n" + file.read_text())
    project.commit("Our work")
    mine = files(project.path)
    conflicts = take_in(project, "v1.1.0", {})
    (project.path / "scripts/README.md").unlink()
    file.write_text(file.read_text().replace("# Ours.\n", ""))

    old = files(fresh(releases, tmp_path / "old", "v1.0.0", {}).path)
    new = files(fresh(releases, tmp_path / "new", "v1.1.0", {}).path)
    outcome = compare(old, mine, new, files(project.path), conflicts)

    assert outcome.conflicts == ["ruff.toml"]
    assert outcome.lost == ["ruff.toml: b'# Ours.'"]
    assert outcome.touched == ["scripts/README.md"]


def test_make_update_says_what_comes_and_stops_where_it_must(
    releases: Path, tmp_path: Path
) -> None:
    project = start(releases, tmp_path / "project", {})
    said = project.path / "var/update.md"

    project.write("scripts/ours.py", "print('ours')\n")
    assert "uncommitted work" in project.make("update", code=2)
    project.commit("Ours")
    head = project.git("rev-parse", "HEAD")

    coming = project.make("update", "ARGS=--dry-run")
    assert "# Slipway 1.0.0 to 1.2.0" in coming
    assert coming.index("The test of notebooks is yours.") < coming.index("A clock: `make tick`.")
    assert "adopts your own" not in coming, "what the project has is no news"
    assert said.read_text() in coming
    assert project.git("status", "--porcelain") == ""

    wrong = project.make("update", "ARGS=--data delivery=pigeon", code=2)
    assert "Invalid choice for 'delivery'" in wrong
    assert "Traceback" not in wrong
    wrong = project.make("update", "ARGS=--data delivry=batch", code=2)
    assert "No question is called delivry" in wrong
    assert project.git("status", "--porcelain") == ""

    project.write("ruff.toml", "# Ours.\n" + (project.path / "ruff.toml").read_text())
    project.commit("A clash")
    clash = project.make("update", code=2)
    assert "Both sides changed the same lines of ruff.toml." in clash
    assert "git reset --hard && git clean -fd" in clash
    assert "ruff.toml" in said.read_text()
    assert "region: eu" in said.read_text(), "a new question was answered for them"
    assert ".venv" not in {path.name for path in project.path.iterdir()}, "nothing else was done"
    project.git("reset", "--hard", "--quiet")
    project.git("clean", "-fdq")
    assert project.git("status", "--porcelain") == ""
    assert project.git("rev-parse", "HEAD~") == head


def test_a_template_that_is_gone_is_named(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "project", {})
    edit(project.path / ".copier-answers.yml", str(releases), str(tmp_path / "moved"))
    project.commit("Elsewhere")

    said = project.make("update", code=2)

    assert "_src_path in .copier-answers.yml" in said
    assert "Traceback" not in said


@heavy
def test_plain_commits_are_followed_too(releases: Path, tmp_path: Path) -> None:
    """A template without a single tag, as a fork or a platform's mirror may be."""
    untagged = tmp_path / "template"
    shutil.copytree(releases, untagged)
    git = partial(subprocess.run, cwd=untagged, env=environment(), check=True, capture_output=True)
    git(["git", "checkout", "--quiet", "-B", "main", "v1.0.0"])
    tags = subprocess.run(["git", "tag"], cwd=untagged, check=True, capture_output=True, text=True)
    git(["git", "branch", "later", "v1.1.0"])
    git(["git", "tag", "--delete", *tags.stdout.split()])
    project = start(untagged, tmp_path / "project", {}, tag="HEAD")
    assert "is the newest" in project.make("update")
    assert not (project.path / "var/update.md").exists()

    git(["git", "merge", "--quiet", "later"])
    said = project.make("update", "ARGS=--dry-run")
    assert "A clock: `make tick`." in said
    assert take_in(project, "HEAD", {}) == []
    assert (project.path / "src/shipment_delays/utils/clock.py").exists()
    assert "is the newest" in project.make("update")


@pytest.mark.long
def test_the_package_is_renamed(releases: Path, tmp_path: Path) -> None:
    """As docs/how-to/update-a-project.md says; the next update must not see a difference."""
    project = start(releases, tmp_path / "project", {})
    own_model(project)
    edited_code(project)
    project.commit("Our work")
    mine = {name: text for name, text in files(project.path).items() if b"Ours" in text}
    (recipe,) = re.findall(r"```sh\n(git mv .*?)```", HOW_TO.read_text(), re.DOTALL)
    project.run("bash", "-euc", recipe.replace("OLD", project.package).replace("NEW", "parcels"))
    project.commit("Rename the package")
    renamed = Project(project.path, "parcels")
    assert take_in(renamed, "v1.2.0", {}) == []

    for name, text in mine.items():
        now = renamed.path / name.replace("shipment_delays", "parcels")
        assert lines(text)[b"# Ours."] == lines(now.read_bytes())[b"# Ours."], name
    assert [path for path in renamed.path.rglob("*") if "shipment_delays" in path.name] == []
    new = files(fresh(releases, tmp_path / "new", "v1.2.0", {"package_name": "parcels"}).path)
    after = files(renamed.path)
    kept = {name for name in new if not is_theirs(name) and b"# Ours." not in after[name]}
    assert [name for name in kept if after[name] != new[name]] == []


# ---------------------------------------------------------------- and the checks are green


@heavy
@pytest.mark.parametrize(
    ("before", "changed"),
    [({"delivery": "batch"}, "delivery=both"), ({"ci": "github"}, "ci=gitlab")],
    ids=["REST on", "CI switched"],
)
def test_an_updated_project_passes_its_checks(
    releases: Path, samples: Path, tmp_path: Path, before: Answers, changed: str
) -> None:
    """Sound work on real rooms: own data and settings, a dependency, a target, tests of theirs."""
    project = start(releases, tmp_path / "project", before)
    project.make("setup")
    if "ci" in before:
        adopt = ["data", "adopt", samples / "train.csv", "--target", "late"]
        project.cli(*adopt, "--key", "shipment_id")
    edit(project.config, "[training]", "[training]\ngolden_rows = 100")
    own_dependencies(project)
    own_targets(project)
    shutil.rmtree(project.path / "notebooks")
    (project.path / "tests/theirs/test_rules.py").unlink()
    project.write("tests/code/test_ours.py", "def test_ours() -> None:\n    assert True\n")
    project.make("upgrade")
    project.commit("Our work")

    said = project.make("update", f"ARGS=--data {changed}")

    assert "All checks passed." in said
    assert "tests/code/test_ours.py" not in project.git("status", "--porcelain")
    assert not (project.path / "notebooks").exists()
    assert "Failed" not in project.commit("Take in Slipway 1.2.0")
    assert project.json("train")["promoted"]
    assert "is the newest" in project.make("update")
