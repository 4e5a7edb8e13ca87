"""The image beside the one that `mlflow models build-docker` makes of the same model.

    uv run python benchmarks/image.py

Both are really built, on the same base of Debian's packages; MLflow's by the Dockerfile that it
writes itself. Needs buildah, debootstrap and root, and takes some minutes.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from first_hour import ROOT, copy

sys.path.insert(0, str(ROOT / "tests"))
from container import BASE, Builder, lacking

from conftest import Project

GOAL = 0.5


def mlflows(project: Project, builder: Builder) -> None:
    """Build what `mlflow models build-docker` would, with its base exchanged for ours."""
    context = project.path / "build/mlflow"
    model = f"models:/{project.slug}@champion"
    uv = ["uv", "run", "--quiet", "--isolated", "--only-group", "ui"]
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{project.path}/var/mlflow.db"}
    generate = ["mlflow", "models", "generate-dockerfile", "-m", model, "-d", str(context)]
    project.run(*uv, *generate, **store)
    written = (context / "Dockerfile").read_text().splitlines()
    (start,) = [number for number, line in enumerate(written) if line.startswith("FROM ")]
    print(f"MLflow's own base would be {written[start].removeprefix('FROM ')}.", flush=True)
    shutil.copy(builder.pip, context / "pip.conf")
    written[start] = (
        f"FROM {BASE}\nCOPY pip.conf /etc/pip.conf\n"
        "RUN python3 -m venv /venv\nENV PATH=/venv/bin:$PATH"
    )
    (context / "Dockerfile").write_text("\n".join(written))
    builder.build("localhost/mlflows:1", context)


def megabytes(builder: Builder, name: str) -> int:
    """Return what an image's files take on disk, as du counts them."""
    with builder.laid_out(name) as image:
        return int(subprocess.check_output(["du", "-sm", image.root], text=True).split()[0])


def main() -> None:
    """Print one table."""
    if what := lacking():
        raise SystemExit(f"{what} is not here.")
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "project", "shipment_delays")
        copy(project.path)
        project.make("setup")
        project.cli("train", "--allow-dirty")
        builder = Builder(Path(folder))
        try:
            base = megabytes(builder, BASE)
            project.commit("Start")
            project.make("build")
            project.make("image", *builder.options, **builder.env)
            ours = megabytes(builder, f"localhost/{project.slug}:0.1.0")
            mlflows(project, builder)
            theirs = megabytes(builder, "localhost/mlflows:1")
        finally:
            builder.close()
    print("| | MB | without the base |\n| --- | --- | --- |")
    print(f"| base | {base} | |\n| ours | {ours} | {ours - base} |")
    print(f"| mlflow models build-docker | {theirs} | {theirs - base} |")
    print(f"\nRatio {ours / theirs:.2f} (goal: {GOAL}).")


if __name__ == "__main__":
    main()
