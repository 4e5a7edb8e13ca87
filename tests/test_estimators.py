"""Another estimator by one edit: what follows scikit-learn's API fits."""

from collections.abc import Iterator

import pytest

from conftest import Project, reset

IN_PLACE_OF = {
    "lightgbm": (
        "from lightgbm import LGBMClassifier, LGBMRegressor",
        "LGBM{}(random_state=seed, n_jobs=1, verbose=-1)",
    ),
    "xgboost": (
        "from xgboost import XGBClassifier, XGBRegressor",
        "XGB{}(random_state=seed, n_jobs=1)",
    ),
}


@pytest.fixture
def environment_restored(project: Project) -> Iterator[None]:
    yield
    reset(project)
    project.run("uv", "sync", "--quiet", "--frozen")


@pytest.mark.usefixtures("environment_restored")
@pytest.mark.long
@pytest.mark.parametrize("library", IN_PLACE_OF)
def test_another_library_takes_one_edit(project: Project, library: str) -> None:
    imports, call = IN_PLACE_OF[library]
    model = project.source / "estimators" / "model.py"
    project.run("uv", "add", "--quiet", library)
    defaults = ["HistGradientBoostingClassifier", "HistGradientBoostingRegressor"]
    project.replace(model, f"from sklearn.ensemble import {', '.join(defaults)}", imports)
    for default, kind in zip(defaults, ["Classifier", "Regressor"], strict=True):
        project.replace(model, f"{default}(random_state=seed)", call.format(kind))
    project.make("format")
    project.commit(f"Take {library}")

    first, second = (project.json("train", code=None) for _ in range(2))

    assert first["promoted"], first["reasons"]
    for part in ["validation", "test"]:
        assert second["metrics"][part] == first["metrics"][part]
    assert "All checks passed." in project.make("check")
