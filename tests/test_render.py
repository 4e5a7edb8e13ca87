"""Rendering: every combination of answers gives clean files, and only those it asked for."""

import ast
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

from conftest import ROOT, Project, environment

QUESTIONS = yaml.safe_load((ROOT / "copier.yml").read_text())
Answers = dict[str, Any]

OPTIONS: dict[str, list[Any]] = {
    name: list(choices.values()) if isinstance(choices, dict) else choices
    for name in ["task", "delivery", "scale", "remote_training", "ci", "license", "python_version"]
    for choices in [QUESTIONS[name]["choices"]]
}

ASKED_FOR: dict[str, Callable[[Answers], bool]] = {
    "src/*/service/app.py": lambda a: a["delivery"] != "batch",
    "src/*/service/requests.py": lambda a: a["delivery"] != "batch",
    "src/*/service/answer.py": lambda a: a["delivery"] != "batch",
    "src/*/service/batching.py": lambda a: a["delivery"] != "batch",
    "src/*/service/export.py": lambda a: a["delivery"] != "batch",
    "src/*/service/metrics.py": lambda a: a["delivery"] != "batch",
    "src/*/service/predict.py": lambda a: a["delivery"] != "batch",
    "src/*/service/replay.py": lambda a: a["delivery"] != "batch",
    "src/*/service/versions.py": lambda a: a["delivery"] != "batch",
    "src/*/service/server.py": lambda a: a["delivery"] != "batch",
    "src/*/service/page.html": lambda a: a["delivery"] != "batch",
    "ops/monitoring/*": lambda a: a["delivery"] != "batch",
    "src/*/service/batch.py": lambda a: a["delivery"] != "rest" or a["scale"] == "spark",
    "src/*/service/spark.py": lambda a: a["scale"] == "spark",
    "src/*/service/executor.py": lambda a: a["scale"] == "spark",
    "tests/service/test_app.py": lambda a: a["delivery"] != "batch",
    "tests/service/test_batching.py": lambda a: a["delivery"] != "batch",
    "tests/service/test_journal.py": lambda a: a["delivery"] != "batch",
    "src/*/training/job.py": lambda a: a["remote_training"] != "none",
    "src/*/training/remote.py": lambda a: a["remote_training"] != "none",
    "tests/model/test_job.py": lambda a: a["remote_training"] != "none",
    "src/*/training/sagemaker.py": lambda a: a["remote_training"] == "sagemaker",
    "src/*/training/kubernetes.py": lambda a: a["remote_training"] == "kubernetes",
    "ops/kubernetes/train-job.yaml": lambda a: a["remote_training"] == "kubernetes",
    "ops/compose.yaml": lambda a: a["delivery"] != "batch",
    **dict.fromkeys(
        ["ops/kubernetes/*/*.yaml", "ops/kubernetes/service.yaml", "ops/kubernetes/switch.py"],
        lambda a: a["delivery"] != "batch" and a["remote_training"] == "kubernetes",
    ),
    "tests/service/test_batch.py": lambda a: a["delivery"] != "rest" or a["scale"] == "spark",
    "tests/service/test_spark.py": lambda a: a["scale"] == "spark",
    ".github/workflows/*.yml": lambda a: a["ci"] == "github",
    ".gitlab-ci.yml": lambda a: a["ci"] == "gitlab",
    "ops/issue.py": lambda a: a["ci"] != "none",
    ".github/pull_request_template.md": lambda a: a["ci"] == "github",
    ".github/ISSUE_TEMPLATE/*.md": lambda a: a["ci"] == "github",
    ".gitlab/*/*.md": lambda a: a["ci"] == "gitlab",
    "CODEOWNERS": lambda a: a["ci"] != "none",
    "renovate.json": lambda a: a["ci"] != "none",
    "LICENSE": lambda a: a["license"] != "Proprietary",
}
"""Files that not every project has, and the answers that bring them."""


def pairwise(options: dict[str, list[Any]]) -> Iterator[Answers]:
    """Yield few combinations in which every two options meet with each of their values."""
    names = list(options)
    missing = {
        frozenset({(a, x), (b, y)})
        for a, b in combinations(names, 2)
        for x, y in product(options[a], options[b])
    }

    def new(answers: Answers) -> int:
        return sum(frozenset(pair) in missing for pair in combinations(answers.items(), 2))

    while missing:
        answers: Answers = dict(sorted(min(missing, key=sorted)))
        for name in (name for name in names if name not in answers):
            best = max(options[name], key=lambda value, name=name: new(answers | {name: value}))
            answers[name] = best
        missing -= {frozenset(pair) for pair in combinations(answers.items(), 2)}
        yield {name: answers[name] for name in names}


MATRIX = list(pairwise(OPTIONS))


@pytest.fixture(
    scope="module",
    params=[{}, *MATRIX],
    ids=lambda answers: "-".join(answers.values()) or "default",
)
def rendered(
    request: pytest.FixtureRequest,
    render: Callable[..., Project],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Project, Answers]:
    defaults = {name: QUESTIONS[name]["default"] for name in OPTIONS}
    project = render(tmp_path_factory.mktemp("rendered") / "project", **request.param)
    return project, defaults | request.param


def files(project: Project, *suffixes: str) -> list[Path]:
    found = [path for path in sorted(project.path.rglob("*")) if path.is_file()]
    return [path for path in found if not suffixes or path.suffix in suffixes]


def test_every_two_answers_meet() -> None:
    for one, other in combinations(OPTIONS, 2):
        seen = {(answers[one], answers[other]) for answers in MATRIX}
        assert seen == set(product(OPTIONS[one], OPTIONS[other]))


def test_files_are_clean(rendered: tuple[Project, Answers]) -> None:
    project, _ = rendered
    for path in files(project):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(project.path)
        without_actions = re.sub(r"\$\{\{.*?\}\}", "", text)
        assert not re.search(r"\{%|\{\{ ?[a-z_]+ ?[|}]", without_actions), f"Jinja in {name}"
        assert text.strip() or path.name in {".gitkeep", "py.typed"}, f"{name} is empty"
        assert text.endswith("\n"), f"{name} does not end with a line"
        assert not text.endswith("\n\n"), f"{name} ends with a blank line"
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), f"trailing space in {name}"
        blank = "\n\n\n\n" if path.suffix == ".py" else "\n\n\n"
        assert blank not in text, f"{name} holds blank lines in a row"
        assert "slipway_template" not in text
        assert (
            "copier" not in text
            or path.name in {"Makefile", ".copier-answers.yml"}
            or ("copier update" in text)
        ), f"{name} shows that it was rendered"


def test_files_parse(rendered: tuple[Project, Answers]) -> None:
    project, _ = rendered
    parsers: dict[str, Callable[[str], object]] = {
        ".toml": tomllib.loads,
        ".yml": lambda text: list(yaml.safe_load_all(text)),
        ".yaml": lambda text: list(yaml.safe_load_all(text)),
        ".json": json.loads,
        ".ipynb": json.loads,
        ".py": ast.parse,
    }
    found = files(project, *parsers)
    assert {path.suffix for path in found} >= {".py", ".toml", ".yaml", ".ipynb"}
    for path in found:
        assert parsers[path.suffix](path.read_text(encoding="utf-8")) is not None, path
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text())["cells"]:
                assert not cell.get("outputs"), f"{path} has outputs"
                if cell["cell_type"] == "code":
                    ast.parse("".join(cell["source"]))


def test_formatting_and_linting_find_nothing(rendered: tuple[Project, Answers]) -> None:
    project, _ = rendered
    ruff = [sys.executable, "-m", "ruff"]
    project.run(*ruff, "format", "--no-cache", "--check", ".")
    project.run(*ruff, "check", "--no-cache", ".")


def test_only_files_that_were_asked_for(rendered: tuple[Project, Answers]) -> None:
    project, answers = rendered
    for pattern, wanted in ASKED_FOR.items():
        found = [str(path.relative_to(project.path)) for path in project.path.glob(pattern)]
        assert bool(found) == wanted(answers), f"{pattern}: {found} with {answers}"


def test_the_table_names_every_file_that_some_projects_lack(
    render: Callable[..., Project], tmp_path: Path
) -> None:
    projects = [render(tmp_path / str(number), **one) for number, one in enumerate(MATRIX)]
    had = [{path.relative_to(made.path) for path in files(made)} for made in projects]
    sometimes = set.union(*had) - set.intersection(*had)

    unknown = [str(p) for p in sometimes if not any(p.match(one) for one in ASKED_FOR)]
    assert unknown == []


def test_answers_are_kept(rendered: tuple[Project, Answers]) -> None:
    project, answers = rendered
    kept = yaml.safe_load((project.path / ".copier-answers.yml").read_text())
    asked = {name for name, question in QUESTIONS.items() if name[0] != "_" and "help" in question}
    if answers["delivery"] == "batch":
        asked.remove("latency_budget_ms")  # nobody was asked

    assert asked <= set(kept), f"{asked - set(kept)} would be asked again at each update"
    assert kept.items() >= answers.items()
    assert kept["_commit"] == "0.1.0"
    config = tomllib.loads(project.config.read_text())
    assert config["data"]["task"] == answers["task"]
    assert ("service" in config) == (answers["delivery"] != "batch")


def test_answers_reach_the_package(rendered: tuple[Project, Answers]) -> None:
    project, answers = rendered
    made = tomllib.loads((project.path / "pyproject.toml").read_text())
    served = any(need.startswith("fastapi") for need in made["project"]["dependencies"])

    assert made["project"]["requires-python"] == f">={answers['python_version']}"
    assert served == (answers["delivery"] != "batch")
    if answers["license"] != "Proprietary":
        licence = (project.path / "LICENSE").read_text()
        assert {
            "MIT": "MIT License",
            "BSD-3-Clause": "BSD 3-Clause",
            "Apache-2.0": "Apache License",
        }[answers["license"]] in licence


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"project_name": "1st try"}, "Start with a letter"),
        ({"project_name": 'Say "hi"'}, "Start with a letter"),
        ({"project_name": "MLflow", "package_name": "ours"}, "MLflow is a command already"),
        ({"package_name": "class"}, "class is taken"),
        ({"package_name": "pandas"}, "pandas is taken"),
        ({"project_name": "Statistics"}, "statistics is taken"),
        ({"package_name": "1x"}, "Lower case letters"),
        ({"package_name": "my-model"}, "Lower case letters"),
        ({"package_name": ""}, "Lower case letters"),
        ({"description": 'Predicts "late"'}, "without double quotes"),
        ({"description": "two\nlines"}, "One line"),
        ({"description": ""}, "One line"),
        ({"author_name": " "}, "A name"),
        ({"author_name": 'A "B" C'}, "without double quotes"),
        ({"author_name": "A\nB"}, "without double quotes"),
        ({"author_email": "nobody"}, "An e-mail address"),
        ({"author_email": "a b@example.com"}, "An e-mail address"),
        ({"author_email": "a\\b@example.com"}, "An e-mail address"),
        ({"latency_budget_ms": 0}, "Between 1 and 60000"),
        ({"latency_budget_ms": 60001}, "Between 1 and 60000"),
        ({"retrain_every_days": 0}, "Between 1 and 3650"),
        ({"license": "GPL"}, "Invalid choice for 'license'"),
        ({"task": "clustering"}, "Invalid choice for 'task'"),
        ({"delivery": "carrier pigeon"}, "Invalid choice for 'delivery'"),
    ],
)
def test_a_bad_answer_is_explained(
    template: Path, tmp_path: Path, answers: Answers, message: str
) -> None:
    given = [f"--data={name}={value}" for name, value in answers.items()]
    done = subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--defaults", *given, template, tmp_path / "p"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert message in said
    assert not (tmp_path / "p" / "pyproject.toml").exists()


def test_odd_but_allowed_answers_give_a_sound_project(
    render: Callable[..., Project], tmp_path: Path
) -> None:
    project = render(
        tmp_path / "p",
        project_name="Els 2nd_Model-x",
        author_name="Zoë O'Neil: #1 {x}",
        description="Says 'yes', 100 % of it: [a] & {b} #c",
        retrain_every_days=29,
    )
    made = tomllib.loads((project.path / "pyproject.toml").read_text())["project"]

    assert made["authors"][0]["name"] == "Zoë O'Neil: #1 {x}"
    assert made["description"] == "Says 'yes', 100 % of it: [a] & {b} #c"
    assert (project.package, project.slug) == ("els_2nd_model_x", "els-2nd-model-x")
    assert '"47 5 */29 * *"' in (project.path / ".github/workflows/schedule.yml").read_text()
    test_files_parse((project, {}))
    test_formatting_and_linting_find_nothing((project, {}))


def test_names_of_any_length_are_formatted(render: Callable[..., Project], tmp_path: Path) -> None:
    """Import lines are sorted and wrapped whatever the package is called."""
    for name in ["a", "zz9", "an_uncommonly_long_name_for_it_all"]:
        project = render(tmp_path / name, project_name=name.replace("_", " "))
        made = tomllib.loads((project.path / "pyproject.toml").read_text())["project"]
        assert made["name"] == project.package.replace("_", "-"), "the package asks for itself"
        assert [*made["scripts"]] == [project.slug] == [name.replace("_", "-")]
        test_formatting_and_linting_find_nothing((project, {}))


def test_rendering_is_quick(render: Callable[..., Project], tmp_path: Path) -> None:
    taken = []
    for number in range(3):
        start = time.process_time()
        render(tmp_path / str(number))
        taken.append(time.process_time() - start)

    assert min(taken) < 2, f"{min(taken):.1f} s"


def test_copying_runs_no_code_and_needs_no_trust(template: Path, tmp_path: Path) -> None:
    unsafe = {"_tasks", "_migrations", "_jinja_extensions"}
    assert not unsafe & set(QUESTIONS)
    assert not re.search(rf"^({'|'.join(unsafe)})", (ROOT / "copier.yml").read_text(), re.MULTILINE)

    copier.run_copy(
        str(template), tmp_path / "p", defaults=True, quiet=True, unsafe=False, vcs_ref="HEAD"
    )

    assert (tmp_path / "p" / "Makefile").exists()


def test_a_shallow_clone_renders(template: Path, tmp_path: Path) -> None:
    clone, made = tmp_path / "clone", tmp_path / "made"
    env = environment()
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", f"file://{template}", clone], env=env, check=True
    )
    subprocess.run(
        [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", clone, made],
        env=env,
        check=True,
    )

    assert (made / "pyproject.toml").exists()


def test_litter_in_the_template_never_reaches_a_project(template: Path, tmp_path: Path) -> None:
    """People lint and test the template in place, and copy from a folder that is no repository."""
    littered, made = tmp_path / "littered", tmp_path / "made"
    shutil.copytree(template, littered, ignore=shutil.ignore_patterns(".git"))
    litter = ["__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".hypothesis"]
    for name in litter:
        for folder in ["", "tests", "src/{{ package_name }}/cli"]:
            (littered / "template" / folder / name).mkdir(parents=True)
            (littered / "template" / folder / name / "CACHEDIR.TAG").write_text("a cache\n")

    copier.run_copy(str(littered), made, defaults=True, quiet=True)

    assert (made / "Makefile").exists()
    assert [path for path in made.rglob("*") if path.name in litter] == []


def test_the_repository_repeats_nothing_by_hand() -> None:
    """Versions that are said here and in the template are the same."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
    theirs = re.sub(r"\{%.*?%\}", "", (ROOT / "template/pyproject.toml.jinja").read_text())
    listed = re.search(r"\ndependencies = \[\n(.*?)\n\]", theirs, re.DOTALL)[1]
    wanted = re.findall(r'^    "(.*?)",$', listed, re.MULTILINE)

    assert ours["dependency-groups"]["project"] == wanted
    assert f'exclude-newer = "{ours["tool"]["uv"]["exclude-newer"]}"' in theirs
    assert f"copier>={QUESTIONS['_min_copier_version'].removesuffix('.0')}" in str(ours)


@pytest.mark.long
@pytest.mark.parametrize("task", OPTIONS["task"])
@pytest.mark.parametrize("delivery", OPTIONS["delivery"])
def test_all_combinations_are_clean(
    render: Callable[..., Project], tmp_path: Path, task: str, delivery: str
) -> None:
    rest = {name: OPTIONS[name] for name in OPTIONS if name not in {"task", "delivery"}}
    for number, values in enumerate(product(*rest.values())):
        answers = {"task": task, "delivery": delivery} | dict(zip(rest, values, strict=True))
        project = render(tmp_path / str(number), **answers)
        test_files_are_clean((project, answers))
        test_files_parse((project, answers))
        test_only_files_that_were_asked_for((project, answers))
        test_formatting_and_linting_find_nothing((project, answers))
