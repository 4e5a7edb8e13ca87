"""Types the commands of the README and the tutorial as a newcomer would, and notes what is seen.

    uv run python docs/tutorial/walk.py

Everything happens in a clean clone and an empty home, where not even uv is installed, and nothing
else is typed. Writes newcomer.md beside this file, and the picture in the README.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BLOCK = re.compile(r"(<!-- refused -->\n)?```(sh|text)\n(.*?)```", re.DOTALL)
REPOSITORY = "PATH-OR-URL-OF-THIS-REPOSITORY"
LINES = 10
SHOWN = ("tumours data adopt", "make train", "git commit --message", "tumours data check")
"""Commands of the tutorial that the picture shows."""


@dataclass(frozen=True)
class Step:
    """Some commands typed at once."""

    commands: str
    seconds: float
    said: str


def blocks() -> Iterator[tuple[str, bool, list[str]]]:
    """Yield the tutorial's commands, whether they are refused, and lines that they must say."""
    found = BLOCK.findall((HERE / "first-project.md").read_text())
    for number, (refused, kind, text) in enumerate(found):
        follows = found[number + 1] if number + 1 < len(found) else ("", "", "")
        if kind == "sh":
            yield text, bool(refused), follows[2].splitlines() if follows[1] == "text" else []


def typed(commands: str, place: Path, env: dict[str, str], *, refused: bool = False) -> Step:
    """Run commands in the folder that a file names, and leave there where they end.

    Raises
    ------
    SystemExit
        They ended otherwise than the tutorial says.
    """
    script = f"cd '{place.read_text().strip()}'\n{commands}\npwd > '{place}'"
    start = time.perf_counter()
    done = subprocess.run(
        ["bash", "-euc", script],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != refused:
        raise SystemExit(f"{commands}ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return Step(commands, time.perf_counter() - start, done.stdout)


def walk(repository: str, place: Path, env: dict[str, str]) -> Iterator[Step]:
    """Type the tutorial's commands, and hold what is said against what it tells."""
    for commands, refused, lines in blocks():
        step = typed(commands.replace(REPOSITORY, repository), place, env, refused=refused)
        for line in lines:
            if line not in step.said:
                raise SystemExit(f"{line!r} was not said, but:\n{step.said[-3000:]}")
        yield step


def plain(said: str, home: Path) -> str:
    """Return the last lines as a terminal shows them in the end."""
    said = re.sub(r"\x1b\[[\d;]*m", "", said.strip())
    said = re.sub(r"^.*\.\..*(Passed|Skipped)\n?", "", said, flags=re.MULTILINE)
    lines = [line.rpartition("\r")[2].rstrip() for line in said.splitlines()]
    text = "\n".join(["[...]", *lines[-LINES:]] if len(lines) > LINES else lines)
    return text.replace(str(home), "~")


def drawn(steps: list[Step], home: Path) -> str:
    """Return a picture of a terminal with some of the steps."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    for step in steps:
        if any(command in step.commands for command in SHOWN):
            for command in step.commands.strip().splitlines():
                console.print(Text(f"$ {command}", style="bold green"))
            console.print(Text(plain(step.said, home)), end="\n\n")
    picture = console.export_svg(title="Your first project")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # no font is fetched


def main() -> None:
    """Write the page and the picture."""
    kept = ("VIRTUAL_ENV", "PYTHON", "UV", "XDG_", "GIT_", "MAKE", "MFLAGS", "PYTEST_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(kept)}
    own = (sys.prefix, str(Path(os.environ.get("UV", sys.prefix)).parent))
    paths = [path for path in env["PATH"].split(os.pathsep) if not path.startswith(own)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.com\n")
        place = home / ".place"
        place.write_text(str(home))
        clone = home / "slipway"
        env |= {"HOME": str(home), "PATH": os.pathsep.join(paths)}
        readme = [f"git clone --quiet {ROOT} slipway\n", "cd slipway\n", "make demo\n", "cd ..\n"]
        steps = [typed(command, place, env) for command in readme]
        env["PATH"] = os.pathsep.join([str(clone / ".tools" / "bin"), *paths])
        for step in walk(str(clone), place, env):
            print(f"{step.seconds:6.1f} s  {step.commands.splitlines()[0]}", flush=True)
            steps.append(step)
        total = sum(step.seconds for step in steps) / 60
        text = [
            "# A newcomer's first hour",
            "What was typed, from the README and from [the tutorial](first-project.md), in a clean "
            "clone\nand an empty home, and what was seen: its last lines, without gates that "
            "passed. Written by\n`docs/tutorial/walk.py` on two cores: "
            f"{total:.1f} minutes of waiting in all.\nThe machine has Python, make, git with a "
            "user's name, and nothing else; uv is the one that\n`make demo` fetched into the "
            "clone's `.tools`.",
        ]
        for step in steps:
            commands = step.commands.replace(str(home), "~").replace(str(ROOT), REPOSITORY)
            text.append(f"```sh\n{commands.strip()}\n```")
            if step.said.strip():
                text.append(f"```text\n{plain(step.said, home)}\n```")
            if step.seconds >= 1:
                text.append(f"{step.seconds:.1f} s")
        picture = drawn(steps, home)
    (HERE / "newcomer.md").write_text("\n\n".join(text) + "\n")
    (HERE.parent / "first-project.svg").write_text(picture)


if __name__ == "__main__":
    main()
