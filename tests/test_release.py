"""What a release owes to the projects that exist: their answers stay good, and changes are told."""

import ast
import copy
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import nodes
from packaging.version import Version

from conftest import ROOT, Project

Questions = dict[str, Any]

TEXT = (ROOT / "copier.yml").read_text()
THEIR_ROOMS = ("estimators", "preprocessing")
LOG = (ROOT / "CHANGELOG.md").read_text()
SECTIONS = re.split(r"^## ", LOG, flags=re.MULTILINE)[1:]


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def last_release() -> str:
    """Return the newest tag before this commit, or skip the test."""
    tag = git("describe", "--tags", "--abbrev=0", "HEAD^")
    if not tag:
        pytest.skip("nothing is released yet, or this clone does not know it")
    return tag


# ---------------------------------------------------------------- questions


def questions(text: str) -> Questions:
    return {name: asked for name, asked in yaml.safe_load(text).items() if name[0] != "_"}


def values(question: dict[str, Any]) -> set[str]:
    choices = question.get("choices", [])
    return {str(value) for value in (choices.values() if isinstance(choices, dict) else choices)}


def changed(old: Questions, new: Questions) -> dict[str, str]:
    """Say what old projects feel: question to what happened to it, first things first."""
    told = {}
    for name, was in old.items():
        now = new.get(name)
        if now is None:
            told[name] = "is gone, or has another name"
        elif was["type"] != now["type"]:
            told[name] = "wants another type"
        elif (was.get("choices") and not now.get("choices")) or values(was) - values(now):
            told[name] = "lacks a choice"
        elif was.get("validator") != now.get("validator"):
            told[name] = "judges answers otherwise"
        elif was.get("when") != now.get("when"):
            told[name] = "is asked at other times"
        elif was.get("default") != now.get("default"):
            told[name] = "has another default"
    return told


def undeclared(old: Questions, new: Questions, section: str) -> dict[str, str]:
    told = changed(old, new)
    return {name: what for name, what in told.items() if f"`{name}`" not in section}


def test_what_changed_in_the_questions_is_in_the_change_log() -> None:
    released = questions(git("show", f"{last_release()}:copier.yml"))
    assert undeclared(released, questions(TEXT), SECTIONS[0]) == {}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda q: q.pop("license"), "is gone, or has another name"),
        (lambda q: q["retrain_every_days"].update(type="str"), "wants another type"),
        (lambda q: q["python_version"]["choices"].remove("3.11"), "lacks a choice"),
        (lambda q: q["task"].pop("choices"), "lacks a choice"),
        (lambda q: q["project_name"].update(validator="{% if 1 %}no{% endif %}"), "judges answers"),
        (lambda q: q["author_name"].update(when=False), "is asked at other times"),
        (lambda q: q["delivery"].update(default="rest"), "has another default"),
    ],
)
def test_a_change_that_projects_feel_must_be_told(
    change: Callable[[Questions], Any], what: str
) -> None:
    old = questions(TEXT)
    new = copy.deepcopy(old)
    change(new)

    ((name, told),) = undeclared(old, new, "1.1.0\n\nNothing.").items()
    assert told.startswith(what)
    assert undeclared(old, new, f"1.1.0\n\n`{name}` changed, because …") == {}


def test_a_new_question_or_another_wording_needs_no_word() -> None:
    old = questions(TEXT)
    new = copy.deepcopy(old)
    new["task"]["help"] = "And what is it that is predicted?"
    new["ci"]["choices"]["Jenkins"] = "jenkins"
    new["region"] = {"type": "str", "default": "eu"}
    assert changed(old, new) == {}


def test_every_question_has_a_default_and_says_what_is_allowed() -> None:
    for name, question in questions(TEXT).items():
        assert "default" in question, name
        if question.get("when") is False:
            continue
        assert question["help"].endswith("?"), name
        assert "choices" in question or "validator" in question, name


# ---------------------------------------------------------------- conditions


def unguarded(condition: str) -> set[str]:
    """Return the names that a condition reads without `| default(…)`."""
    tree = jinja2.Environment().parse(condition)
    names = {node.name for node in tree.find_all(nodes.Name)}
    guarded = {
        one.node.name
        for one in tree.find_all(nodes.Filter)
        if one.name == "default" and isinstance(one.node, nodes.Name)
    }
    return names - guarded


def breaks_old_answers(exclude: list[str], released: Questions) -> dict[str, set[str]]:
    """Return the conditions that read what the answers of the last release do not hold.

    An update renders the old version too, with the old answers and the new exclusions: a new
    question is undefined there, compares unequal to everything, and files come or go unasked.
    """
    known = {*released, "_copier_operation"}
    return {line: names - known for line in exclude if (names := unguarded(line)) - known}


def test_conditions_read_questions_only() -> None:
    assert breaks_old_answers(yaml.safe_load(TEXT)["_exclude"], questions(TEXT)) == {}


def test_no_condition_breaks_old_answers() -> None:
    released = questions(git("show", f"{last_release()}:copier.yml"))
    assert breaks_old_answers(yaml.safe_load(TEXT)["_exclude"], released) == {}


def test_a_condition_on_a_new_question_must_say_what_was_before() -> None:
    bare = "{% if region != 'eu' %}/docs/regions.md{% endif %}"
    sound = bare.replace("region", "region | default('eu')")
    released = questions(TEXT)

    assert breaks_old_answers([bare], released) == {bare: {"region"}}
    assert breaks_old_answers([sound], released) == {}
    assert breaks_old_answers([bare], released | {"region": {}}) == {}


def test_no_file_of_theirs_hangs_on_an_answer() -> None:
    """It would never come to a project that changes the answer later: an update leaves theirs out.

    Whoever needs one keeps a hidden record of what was brought in the answers file.
    """
    exclude = yaml.safe_load(TEXT)["_exclude"]
    paths = {line: re.sub(r"\{%.*?%\}", "", line) for line in exclude if "/" in line}
    theirs = [path for line, path in paths.items() if "_copier_operation" in line]
    others = [path for line, path in paths.items() if "_copier_operation" not in line]

    assert len(theirs) >= 8
    assert [path for path in others if path.startswith(tuple(theirs))] == []


THEIR_NAMES = {
    "estimators.model": {"TRUSTED", "make_model"},
    "estimators.rules": {"RULES", "Rule"},
    "preprocessing.features": {"make_features"},
    "preprocessing.schema": {"Rows"},
}
"""What our files take from rooms that an update leaves alone: every project has had these."""


def taken_from_them(project: Project) -> dict[str, set[str]]:
    """Return the names that files an update brings import from rooms that it leaves alone."""
    taken: dict[str, set[str]] = {}
    for folder in [f"src/{project.package}", "tests", "ops"]:
        for file in (project.path / folder).rglob("*.py"):
            if file.relative_to(project.path / folder).parts[0] in (*THEIR_ROOMS, "theirs"):
                continue
            for found in ast.walk(ast.parse(file.read_text())):
                if not isinstance(found, ast.ImportFrom):
                    continue
                module = (found.module or "").removeprefix(f"{project.package}.")
                if module.split(".")[0] in THEIR_ROOMS and (found.level or module != found.module):
                    taken.setdefault(module, set()).update(name.name for name in found.names)
    return taken


def test_an_update_asks_nothing_new_of_their_rooms(
    render: Callable[..., Project], tmp_path: Path
) -> None:
    """It would end in an ImportError: what is new in estimators/ never reaches old projects."""
    project = render(tmp_path / "project", remote_training="kubernetes", scale="spark")
    assert taken_from_them(project) == THEIR_NAMES

    with (project.source / "training/graph.py").open("a") as file:
        file.write("\nfrom ..estimators.later import apply\n")
    assert taken_from_them(project) == THEIR_NAMES | {"estimators.later": {"apply"}}


# ---------------------------------------------------------------- tags and the change log


def test_versions_are_in_order_and_every_tag_has_its_section() -> None:
    told = [Version(section.split()[0]) for section in SECTIONS]
    released = {Version(tag) for tag in git("tag", "--merged").split()}
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert told == sorted(told, reverse=True)
    assert released <= set(told)
    assert told[0] == Version(ours)
    assert all(len(section.splitlines()) > 2 for section in SECTIONS)
