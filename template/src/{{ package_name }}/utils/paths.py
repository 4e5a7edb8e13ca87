"""Where the project is, and where it keeps what git ignores."""

from pathlib import Path

PACKAGE = Path(__file__).parent.parent
RESOURCES = PACKAGE / "resources"


def project_root() -> Path:
    """Return the folder of the project.

    It is the one whose `src/` holds this package, from wherever it is called. A package installed
    from a wheel goes by the nearest folder from here upwards that holds a pyproject.toml, else by
    this one.
    """
    here = Path.cwd()
    folders = [PACKAGE.parent.parent, here, *here.parents]
    return next((folder for folder in folders if (folder / "pyproject.toml").exists()), here)


def from_root(source: str) -> str:
    """Return a source named in config.toml as it can be opened from here.

    Files are named relative to the project, whatever folder a command is called from.
    """
    moved = project_root() / source
    return str(moved) if moved.exists() else source
