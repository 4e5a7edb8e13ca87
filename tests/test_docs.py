"""The documentation: made from its sources where it can be, links that lead somewhere, and a
tutorial whose every command is run."""

import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from conftest import ROOT, Project, environment

DOCS = ROOT / "docs"
GATES = (DOCS / "explanation/gates.md").read_text()
MKDOCS = [
    "uv",
    "run",
    "--quiet",
    "--isolated",
    "--only-group",
    "docs",
    "mkdocs",
    "build",
    "--strict",
]


def script(name: str) -> ModuleType:
    spec = spec_from_file_location(Path(name).stem, DOCS / name)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return script("reference/make.py")


def test_the_reference_is_current(reference: ModuleType) -> None:
    for name in reference.PAGES:
        written = (DOCS / "reference" / name).read_text()
        assert written == reference.made(name), f"{name}: run `make docs`"
        assert written.count("\n| `") > 5


def test_the_reference_follows_its_source(reference: ModuleType, tmp_path: Path) -> None:
    config = (reference.PACKAGE / "utils/config.py").read_text()
    changed = config.replace("seed: int = Field(default=20_240_601", "seed: int = Field(default=7")
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils/config.py").write_text(changed)
    before, package = reference.settings(), reference.PACKAGE
    reference.PACKAGE = tmp_path
    after = reference.settings()
    reference.PACKAGE = package

    assert "| `seed` | `int` | `20240601` |" in before
    assert "| `seed` | `int` | `7` |" in after


def test_every_gate_has_its_section() -> None:
    code = "".join(file.read_text() for file in (ROOT / "template/src").rglob("*.py"))
    named = set(re.findall(r"[\"' ]([A-Z][a-z]+(?: sample)? gate): ", code))
    hooks = yaml.safe_load((ROOT / "template/.pre-commit-config.yaml").read_text())["repos"]
    said = GATES.replace("\n", " ")

    assert len(named) > 10
    assert [name for name in named if f"### {name}\n" not in GATES] == []
    assert [hook["id"] for hook in hooks[0]["hooks"] if f"`{hook['id']}`" not in said] == []
    for section in re.split(r"^### ", GATES, flags=re.MULTILINE)[1:]:
        for part in ("Stops", "Idea", "Satisfy"):
            assert f"- **{part}:**" in section, f"{section.splitlines()[0]} lacks {part}"


def test_links_lead_somewhere() -> None:
    """Of the pages that the site does not hold; `mkdocs --strict` reads the others."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)|src=\"([^\"]+)", page.read_text()):
            link = target[0] or target[1]
            if "://" not in link:
                assert (ROOT / link).exists(), f"{page.name} points to {link}"


def test_the_site_is_built_strictly() -> None:
    done = subprocess.run(
        [*MKDOCS, "--quiet"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    site = ROOT / "build" / "site"
    pages = {file.relative_to(site) for file in site.rglob("*.html")}
    assert {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")} <= pages


def test_a_broken_link_stops_the_site(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[Nowhere](nowhere.md)\n")
    rules = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(rules))
    done = subprocess.run(
        [*MKDOCS, "--config-file", tmp_path / "mkdocs.yml"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "nowhere.md" in done.stderr


@pytest.mark.long
def test_every_command_of_the_tutorial_does_what_it_says(template: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.write_text(str(tmp_path))
    slow = {"TUMOURS__SERVICE__LATENCY_BUDGET_MS": "60000"}  # this machine may be busy
    assert (
        len(list(script("tutorial/walk.py").walk(str(template), place, environment() | slow))) > 10
    )
    assert Project(tmp_path / "tumours", "tumours").versions() == [1, 2]
    assert Project(tmp_path / "tumours", "tumours").champion() == 1
