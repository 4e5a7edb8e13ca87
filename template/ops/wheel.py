"""One wheel on its way from a commit to production: builds it, and lets nothing else pass.

    python ops/wheel.py build            dist/*.whl, and what it is made of beside it
    python ops/wheel.py check            whether it is that wheel, and of this commit
    python ops/wheel.py install FOLDER   an environment with that wheel and what uv.lock says

`dist/wheel.json` holds the wheel's name, SHA-256, commit and files; `install` leaves it in the
environment, where `GET /model` and the run record find it. `dist/sbom.cdx.json` lists everything
that is installed along with it. Needs nothing but Python, git and uv.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

DIST = Path("dist")
RECORD = DIST / "wheel.json"
UV = os.environ.get("UV", "uv")  # `uv run` names itself


def run(*command: str | Path) -> str:
    """Return what a command prints; stop with its own message where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def refuse(reason: str) -> None:
    """Stop: the gate says no."""
    sys.exit(f"Wheel gate: {reason}")


def digest(content: bytes) -> str:
    """Return the SHA-256."""
    return hashlib.sha256(content).hexdigest()


def head() -> str | None:
    """Return the commit that is checked out, None before the first one."""
    command = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or None


def build() -> None:
    """Build the wheel from what git knows: no litter, and the same bytes wherever it is built."""
    changed = run("git", "status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()
    lock = Path("uv.lock")
    built = {
        "commit": head(),
        "changes": len(changed),
        "lock": digest(lock.read_bytes()) if lock.exists() else None,
    }
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in filter(None, listed.split("\0")):
            if Path(name).is_file():
                (folder / Path(name)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, folder / Path(name))
        (resources,) = Path(folder).glob("src/*/resources")
        (resources / "built.json").write_text(json.dumps(built))
        run(UV, "build", "--quiet", "--wheel", "--out-dir", DIST.resolve(), folder)
    if lock.exists():
        sbom = ["--format", "cyclonedx1.5", "--output-file", DIST / "sbom.cdx.json"]
        run(UV, "export", "--quiet", "--frozen", "--no-default-groups", *sbom)
    (wheel,) = DIST.glob("*.whl")
    with zipfile.ZipFile(wheel) as inside:
        names = [name for name in inside.namelist() if ".dist-info/" not in name]
        files = {name: digest(inside.read(name)) for name in names if name[-1] != "/"}
    record = {"wheel": wheel.name, "sha256": digest(wheel.read_bytes()), **built, "files": files}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{wheel}: SHA-256 {record['sha256']}, commit {record['commit']}")
    if changed:
        print("It holds uncommitted work, so `make verify` refuses it.")


def check() -> tuple[Path, dict[str, Any]]:
    """Return the wheel and its record; stop where it is not what was built from this commit."""
    if not RECORD.exists():
        refuse("there is no dist/wheel.json, so nobody knows the wheel. Run `make build`.")
    record = json.loads(RECORD.read_text())
    wheels = sorted(DIST.glob("*.whl"))
    if [wheel.name for wheel in wheels] != [record["wheel"]]:
        held = ", ".join(wheel.name for wheel in wheels) or "no wheel"
        refuse(f"dist/ holds {held}; {record['wheel']} was built. Run `make build` again.")
    (wheel,) = wheels
    found = digest(wheel.read_bytes())
    if found != record["sha256"]:
        refuse(
            f"{wheel} is not the wheel that was built: its SHA-256 is {found}, "
            f"{record['sha256']} was recorded. Run `make build` again, and ask who changed it."
        )
    if record["changes"]:
        refuse(f"{wheel} holds uncommitted work. Commit it, then `make build` again.")
    if record["commit"] != head():
        refuse(f"{wheel} was built from {record['commit']}, and {head()} is checked out.")
    return wheel, record


def install(folder: Path) -> None:
    """Make an environment of that wheel and the locked libraries, each held to its digest."""
    wheel, record = check()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    locked = run(UV, "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project")
    name = record["wheel"].split("-")[0]
    locked += f"{name} @ {wheel.resolve().as_uri()} --hash=sha256:{record['sha256']}\n"
    run(UV, "venv", "--quiet", "--clear", folder)
    with tempfile.TemporaryDirectory() as aside:
        wanted = Path(aside) / "requirements.txt"
        wanted.write_text(locked)
        run(UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", wanted)
    shutil.copy(RECORD, folder)
    print(f"{folder} holds {wheel.name} and what uv.lock says")


if __name__ == "__main__":
    if shutil.which("git") is None:
        sys.exit("git is not on the PATH; install it.")
    match sys.argv[1:]:
        case ["build"]:
            build()
        case ["check"]:
            check()
        case ["install", folder]:
            install(Path(folder))
        case _:
            sys.exit(__doc__)
