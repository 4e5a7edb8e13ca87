"""What a copy and an update cost, beside the bare start of the tools and other templates.

    uv run python benchmarks/update.py

Other templates are in no package registry: each checkout of one that lies in build/templates is
timed too, with its own defaults and without its tasks. Environments of tools are made before the
clock starts. Medians of some runs, in turn.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUNS = 3
COPIER = [sys.executable, "-m", "copier"]
PEER_COPIER = ["uv", "tool", "run", "--quiet", "--with", "jinja2-time", "copier"]
COOKIECUTTER = [sys.executable, "-m", "cookiecutter"]
KEDRO = ["uv", "tool", "run", "--quiet", "kedro"]
CCDS = ["uv", "tool", "run", "--quiet", "--from", "cookiecutter-data-science", "ccds"]


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command, and stop with what it said where it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")


def git(where: Path, *commands: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for command in commands:
        run("git", *who, *command.split(), cwd=where)


def releases(where: Path) -> Path:
    """Return a repository of the template with two tags, one managed line apart."""
    where.mkdir()
    for name in ("copier.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, where)
    litter = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(ROOT / "template", where / "template", ignore=litter)
    git(where, "init -q", "add --all --force", "commit -qm one", "tag 1.0.0")
    with (where / "template/ruff.toml").open("a") as file:
        file.write("# A new practice.\n")
    git(where, "commit -qam two", "tag 1.1.0")
    return where


def copied(template: Path, where: Path, tag: str) -> None:
    run(*COPIER, "copy", "-q", "--defaults", "--vcs-ref", tag, template, where, cwd=where.parent)


def prepared(template: Path, where: Path) -> Path:
    copied(template, where, "1.0.0")
    git(where, "init -q", "add --all", "commit -qm one")
    return where


def peer(checkout: str) -> Callable[[Path], None]:
    """Return what renders a checkout of another template, with its own tool and defaults."""
    if (Path(checkout) / "copier.yml").exists():
        command = [*PEER_COPIER, "copy", "-q", "--defaults", "--trust", "--skip-tasks"]
        command += ["--vcs-ref", "HEAD", checkout]
        return lambda where: run(*command, where, cwd=where.parent)
    tool = CCDS if (Path(checkout) / "ccds.json").exists() else COOKIECUTTER

    def render(where: Path) -> None:
        where.mkdir()
        run(*tool, checkout, "--no-input", cwd=where)

    return render


def kedro(where: Path) -> None:
    where.mkdir()
    run(*KEDRO, "new", "--name=peer", "--tools=none", "--example=n", "--telemetry=no", cwd=where)


def main() -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        template = releases(here / "template")
        work: dict[str, Callable[[Path], None]] = {
            "start of Python": lambda _: run(sys.executable, "-c", "pass", cwd=here),
            "start of Copier": lambda _: run(*COPIER, "--version", cwd=here),
            "start of cookiecutter": lambda _: run(*COOKIECUTTER, "--version", cwd=here),
            "Slipway: copier copy": lambda where: copied(template, where, "1.1.0"),
            "Slipway: copier update": lambda where: run(
                *COPIER, "update", "-q", "--defaults", cwd=where
            ),
            "kedro new, an empty project": kedro,
        }
        for checkout in sorted((ROOT / "build" / "templates").glob("*")):
            work[f"{checkout.name}, rendered"] = peer(str(checkout))
        took: dict[str, list[float]] = {name: [] for name in work}
        for number in range(RUNS + 1):
            for place, (name, do) in enumerate(work.items()):
                where = here / f"{place}-{number}"
                if name.endswith("update"):
                    prepared(template, where)
                start = time.perf_counter()
                do(where)
                if number:  # the first one fills caches
                    took[name].append(time.perf_counter() - start)
    base = statistics.median(took["start of Copier"])
    print("| | seconds | times the start of Copier |\n| --- | --- | --- |")
    for name, seconds in took.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.2f} | {median / base:.1f} |")


if __name__ == "__main__":
    main()
