"""cookiecutter's door into Slipway: hands the answers to Copier, so the project can be updated.

cookiecutter has made an empty folder and runs this in it. Copier checks the answers, fills the
folder, and leaves `.copier-answers.yml`, which `copier update` needs later.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | jsonify }}""")


def main() -> None:
    """Fill the folder that cookiecutter made."""
    here = Path.cwd()
    (here / ".gitkeep").unlink(missing_ok=True)
    template = ANSWERS["_template"]
    if "://" in template:  # Copier does not see by itself that any such URL is a repository
        template = f"git+{template.removeprefix('git+')}"
    elif ":" not in template.partition("/")[0]:  # not gh:owner/name either: a folder
        template = str((here.parent / Path(template).expanduser()).resolve())
        if not Path(template).exists():
            sys.exit(f"{template} does not exist: give the template's folder as an absolute path.")
    data = {name: value for name, value in ANSWERS.items() if not name.startswith("_")}
    if data["delivery"] == "batch":
        del data["latency_budget_ms"]  # Copier does not ask for it then
    copier = [sys.executable, "-m", "copier"] if find_spec("copier") else ["uvx", "copier"]
    command = [*copier, "copy", "--defaults", "--overwrite", "--quiet"]
    if ANSWERS.get("_checkout"):
        command += ["--vcs-ref", ANSWERS["_checkout"]]
    for name, value in data.items():
        command += ["--data", f"{name}={value}"]
    try:
        done = subprocess.run([*command, template, str(here)], check=False)
    except FileNotFoundError:
        sys.exit("Slipway needs Copier: pip install copier (or uv, which fetches it), then again.")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
