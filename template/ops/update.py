"""Takes in the newest practices of the template: `copier update`, and what belongs around it.

    make update                                   the newest version
    make update ARGS=--dry-run                    only say what is coming
    make update ARGS="--data delivery=batch"      with another answer

What it says also lies in `var/update.md`, for a scheduled job to put into a merge request; without
that file there was nothing to take in. Ends with 0 (done), 1 (conflicts, or a check failed) or
2 (wrong use).
"""

import difflib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

COPIER = [sys.executable, "-m", "copier"]
SAID = Path("var/update.md")
LOG = Path("docs/slipway.md")
ANSWERS = Path(".copier-answers.yml")
PROJECT = Path("pyproject.toml")
TWO_DATES = re.compile(
    r"<<<<<<< [^\n]*\n(exclude-newer = [^\n]*\n)=======\n(exclude-newer = [^\n]*\n)>>>>>>> [^\n]*\n"
)
WAY_OUT = """\
Fix what stands between <<<<<<< and >>>>>>> there, `git add` these files, then `make setup check`.
Or go back to where you were: git reset --hard && git clean -fd"""


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints; stop where it refuses."""
    done = subprocess.run(["git", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        sys.exit(2)
    return done.stdout.splitlines()


def say(text: str) -> None:
    """Print a part, and keep it for the merge request."""
    print(text, flush=True)
    SAID.parent.mkdir(exist_ok=True)
    with SAID.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def versions() -> tuple[str, str]:
    """Return the version that this project has and the newest one; stop where none can be read."""
    command = [*COPIER, "check-update", "--output-format", "json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(f"{done.stderr}_src_path in {ANSWERS} must be a full path or a URL.\n")
        sys.exit(2)
    found = json.loads(done.stdout)
    return found["current_version"], found["latest_version"]


def news(template: str) -> tuple[str, str]:
    """Return what the newest change log says that this project's does not, and all answers."""
    old = LOG.read_text(encoding="utf-8") if LOG.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        command = [*COPIER, "copy", "--quiet", "--defaults", template, folder]
        subprocess.run(command, check=True)
        new, answers = ((Path(folder) / name).read_text("utf-8") for name in (LOG, ANSWERS))
    both = difflib.ndiff(old.splitlines(), new.splitlines())
    return "\n".join(line[2:] for line in both if line.startswith("+ ")).strip(), answers


def keep_the_later_date() -> None:
    """Settle the one conflict that `make upgrade` makes: both sides moved `exclude-newer`."""
    text = PROJECT.read_text(encoding="utf-8")
    settled = TWO_DATES.sub(lambda sides: max(sides.groups()), text)
    if settled != text:
        PROJECT.write_text(settled, encoding="utf-8")
        if "<<<<<<< " not in settled:
            git("reset", "--quiet", "--", str(PROJECT))  # no longer unmerged


def main(arguments: list[str]) -> int:
    """Update, check, and return the exit code."""
    only_look = "--dry-run" in arguments
    others = [one for one in arguments if one != "--dry-run"]
    if git("status", "--porcelain") and not only_look:
        sys.stderr.write("There is uncommitted work. Commit or stash it, then update.\n")
        return 2
    SAID.unlink(missing_ok=True)
    current, latest = versions()
    if current == latest and not others:
        print(f"Version {current} of Slipway is the newest.")
        return 0
    coming, asked = news(yaml.safe_load(ANSWERS.read_text(encoding="utf-8"))["_src_path"])
    for name in re.findall(r"(?:--data[= ]|-d ?)(\w+)=", " ".join(others)):
        if f"\n{name}: " not in asked:
            sys.stderr.write(f"No question is called {name}; {ANSWERS} lists them.\n")
            return 2
    title = f"{current} to {latest}" if current != latest else f"{current}, with other answers"
    say(f"# Slipway {title}\n\n{coming}\n")
    if only_look:
        return 0

    command = [*COPIER, "update", "--quiet", "--defaults", *others]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(re.sub(r"Traceback .*\n(?=\S)", "", done.stderr, flags=re.DOTALL))
    if done.returncode:
        return 2
    keep_the_later_date()
    changed = "\n".join(git("status", "--short"))
    say(f"## In this project\n\n```\n{changed}\n```\n")
    moved = git("diff", "--unified=0", str(ANSWERS))
    answered = ", ".join(line[1:] for line in moved if re.match(r"\+[a-z]", line))
    if answered:
        say(f"New answers: {answered}. Files of yours, such as config.toml, do not follow.\n")
    clash = sorted({line.partition("\t")[2] for line in git("ls-files", "--unmerged")})
    if clash:
        say(f"Both sides changed the same lines of {', '.join(clash)}.\n{WAY_OUT}")
        return 1
    if subprocess.run(["make", "setup", "check", "ARGS="], check=False).returncode:
        say("`make setup check` fails after it. Fix that, or: git reset --hard && git clean -fd")
        return 1
    say("All checks are green. Look at it (git diff), then commit it.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
