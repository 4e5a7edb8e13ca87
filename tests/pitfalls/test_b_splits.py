"""B: what goes wrong between the rows and the numbers that a model is trained on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import Project

from .conftest import Deliver, Stopped

UNSEEDED = {
    "train_test_split(X, y)": "train_test_split",
    "ShuffleSplit()": "ShuffleSplit",
    "RepeatedKFold()": "RepeatedKFold",
    "GroupShuffleSplit()": "GroupShuffleSplit",
    "KFold(5, shuffle=True)": "KFold",
    "df.sample(5)": "sample",
}
SPLITTERS = "GroupShuffleSplit, KFold, RepeatedKFold, ShuffleSplit, train_test_split"


@pytest.mark.pitfall("B1", "six ways to split without a seed, in a script", gate="commit")
def test_a_script_splits_without_a_seed(project: Project, stopped: Stopped) -> None:
    head = git_head(project)
    lines = [f"found_{number} = {call}" for number, call in enumerate(UNSEEDED)]
    project.write(
        "scripts/try_out.py",
        f"import pandas as pd\nfrom sklearn.model_selection import {SPLITTERS}\n\n"
        'df = pd.read_parquet("rows.parquet")\nX, y = df, df["late"]\n' + "\n".join(lines) + "\n",
    )

    with stopped:
        said = project.commit(code=1)

    for number, name in enumerate(UNSEEDED.values(), start=6):
        assert any(f"try_out.py:{number}" in line and name in line for line in said.splitlines())
    stopped.says(said, "scripts/try_out.py:6", "train_test_split")
    assert git_head(project) == head
    assert (project.path / "scripts/try_out.py").exists()


@pytest.mark.pitfall("B1", "the same in a notebook, under another name", gate="commit")
def test_a_notebook_splits_without_a_seed(project: Project, stopped: Stopped) -> None:
    add_cell(
        project.path / "notebooks/explore.ipynb",
        "from sklearn import model_selection as ms\n\nparts = ms.train_test_split(rows)",
    )

    with stopped:
        said = project.commit(code=1)

    stopped.says(said, "explore.ipynb", "train_test_split", "random_state")
    assert "seeds" in failed_hooks(said)


def git_head(project: Project) -> str:
    return project.git("rev-parse", "HEAD")


def failed_hooks(said: str) -> list[str]:
    return [line.split("..")[0] for line in said.splitlines() if line.endswith("Failed")]


def add_cell(notebook: Path, source: str) -> None:
    content = json.loads(notebook.read_text())
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    new = cell | {"id": "new", "source": source.splitlines(keepends=True)}
    content["cells"].append(new)
    notebook.write_text(json.dumps(content, indent=1) + "\n")


@pytest.mark.pitfall("B2", "the rows arrive in another order", gate="split by key")
def test_rows_in_another_order_give_the_same_model(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    first = history(trained)[0]
    shuffled = rows.sample(frac=1, random_state=1)
    assert deliver(shuffled)["fingerprint"] == first["fingerprint"]
    shuffled.head(2_000).to_csv(trained.path / "var/some.csv", index=False)
    trained.cli("predict", "var/some.csv", "var/before.csv")

    with stopped:
        done = trained.cli("train")
        trained.cli("predict", "var/some.csv", "var/after.csv")

    before, after = (pd.read_csv(trained.path / f"var/{name}.csv") for name in ("before", "after"))
    assert set(before.pop("model_version")) == {1}
    assert set(after.pop("model_version")) == {2}
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    stopped.says(done.stdout, "Version 2 promoted")
    run = json.loads(run_of(trained, 2))
    assert trained.json("reproduce", run)["verdict"] == "identical"


def history(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.json("data", "history")["versions"]
    return found


def run_of(project: Project, version: int) -> str:
    return json.dumps(
        project.python(
            "import json; from mlflow import MlflowClient\n"
            f"client = MlflowClient('sqlite:///{project.path}/var/mlflow.db')\n"
            f"found = client.get_model_version('{project.slug}', '{version}')\n"
            "print(json.dumps(found.run_id))"
        )
    )


PARTS = """
import json
from {package}.preprocessing.schema import Rows
from {package}.training.dataset import load_dataset
from {package}.utils import config

settings, schema = config.load(), Rows.to_schema()
found = []
for version in (0, 1):
    split = load_dataset(settings, schema, {{"shipments": version}}).split
    names = split.frame["shipment_id"].astype(str)
    found.append(dict(zip(names, split.part.astype(str))))
print(json.dumps(found))
"""


@pytest.mark.pitfall("B3", "a tenth more rows appended, by four strategies", gate="split by key")
def test_appended_rows_move_nobody(
    project: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    deliver(rows.head(18_000))
    deliver(rows)
    python = project.path / ".venv/bin/python"
    for strategy in ["key", "group", "time", "stratified"]:
        project.git("clean", "-fq", str(project.source / "resources"))
        setting = {f"{project.package}__SPLIT__STRATEGY".upper(): strategy}
        with stopped:
            done = project.run(python, "-c", PARTS.format(package=project.package), **setting)
        old, new = json.loads(done.stdout)

        assert len(old) == 18_000
        assert len(new) == 20_000
        moved = [name for name, part in old.items() if new[name] != part]
        assert moved == [], f"{strategy}: {len(moved)} rows moved"
        assert set(old.values()) == {"train", "validation", "test"}
    stopped.says("18,000 old rows, 2,000 new ones: 0 moved", "0 moved")


@pytest.mark.pitfall("B3", "the shares changed after a time split was made", gate="train")
def test_a_split_that_was_made_is_not_made_otherwise(
    project: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    deliver(rows.head(5_000))
    project.replace(project.config, "[training]", '[split]\nstrategy = "time"\n\n[training]')
    assert project.json("train")["version"] == 1
    project.replace(project.config, '"time"\n', '"time"\ntest = 0.3\n')

    with stopped:
        done = project.cli("train", code=1)

    stopped.says(done.stderr, "was made with other settings (test: 0.15 then, 0.3 now)")
    assert project.versions() == [1]


@pytest.mark.pitfall("B4", 'customers with many rows, `strategy = "key"`', gate="train")
def test_one_customer_on_both_sides(trained: Project, stopped: Stopped) -> None:
    trained.replace(trained.config, "[training]", '[split]\nstrategy = "key"\n\n[training]')

    with stopped:
        done = trained.cli("train", code=1)

    stopped.says(done.stderr, "Leak gate: customer_id", "is on both sides of the split")
    assert (trained.versions(), trained.champion()) == ([1], 1)


@pytest.mark.pitfall("B4", "the same, and nobody trained yet", gate="test")
def test_one_customer_on_both_sides_fails_the_tests(trained: Project, stopped: Stopped) -> None:
    trained.replace(trained.config, "[training]", '[split]\nstrategy = "key"\n\n[training]')

    with stopped:
        done = pytest_of(trained, "tests/data/test_schema.py", code=1)

    stopped.says(done, "customer_id", "is on both sides of the split")


def pytest_of(project: Project, *arguments: str, code: int) -> str:
    """Run some of the tests that `make test` runs."""
    done = project.run(project.path / ".venv/bin/pytest", *arguments, code=code)
    return done.stdout


@pytest.mark.pitfall("B5", "the time split was rewritten and mixes the rows", gate="train")
def test_the_future_in_the_training_rows(project: Project, stopped: Stopped) -> None:
    project.replace(project.config, "[training]", '[split]\nstrategy = "time"\n\n[training]')
    project.replace(project.config, "sample:20000", "sample:3000")
    project.replace(
        project.source / "training/splitting.py",
        "    return (moments >= validation).astype(np.int8) + (moments >= test), cuts",
        "    mixed = np.random.default_rng(0).permutation(moments)\n"
        "    return (mixed >= validation).astype(np.int8) + (mixed >= test), cuts",
    )

    with stopped:
        done = project.cli("train", code=1)

    stopped.says(done.stderr, "Leak gate: train knows the future: it has rows up to")
    assert project.versions() == []


@pytest.mark.pitfall("B7", "`np.random.choice`, `random.shuffle` inside a feature", gate="commit")
def test_a_feature_that_draws(project: Project, stopped: Stopped) -> None:
    features = project.source / "preprocessing/features.py"
    project.replace(features, "import numpy as np", "import random\n\nimport numpy as np")
    project.replace(
        features,
        "        parts = []\n        for name in X.columns:\n",
        "        parts = []\n        some = np.random.choice(len(X), 10)\n"
        "        random.shuffle(some)\n        for name in X.columns:\n",
    )

    with stopped:
        said = project.commit(code=1)

    assert "seeds" in failed_hooks(said)
    stopped.says(said, "features.py:", "np.random.choice")
    stopped.says(said, "features.py:", "random.shuffle")


def add_feature(project: Project, made: str) -> None:
    """Make something of the numbers, as a class of the project's own that it trusts."""
    features = project.source / "preprocessing/features.py"
    text = f'''
class Numbers(TransformerMixin, BaseEstimator):
    """Ours."""

    def fit(self, X: pd.DataFrame, y: object = None) -> "Numbers":  # noqa: ARG002
        """Learn nothing."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return other numbers."""
        return ({made}).to_numpy()

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:  # noqa: ARG002
        """Return the names."""
        return self.feature_names_in_


def make_features'''
    project.replace(features, "\ndef make_features", text)
    project.replace(features, '("numbers", "passthrough"', '("numbers", Numbers()')
    trusted = '    f"{PACKAGE}.preprocessing.features.DateParts",\n'
    ours = trusted.replace("DateParts", "Numbers")
    project.replace(project.source / "estimators/model.py", trusted, trusted + ours)


@pytest.mark.pitfall("B8", "a feature that walks the rows one by one", gate="promote")
def test_a_feature_that_is_too_slow(project: Project, stopped: Stopped) -> None:
    project.replace(project.config, "sample:20000", "sample:3000")
    project.replace(project.config, "[training]", "[budgets]\nfeature_seconds = 5\n\n[training]")
    add_feature(project, "X.apply(lambda row: np.log1p(row), axis=1)")

    with stopped:
        done = project.cli("train", "--allow-dirty", code=1)

    stopped.says(done.stdout, "Budget gate: the step 'numbers' of features.py takes", "is 5")
    assert (project.versions(), project.champion()) == ([1], None)


@pytest.mark.pitfall("B9", "nulls, infinities and extremes in live data", gate="predict")
def test_odd_values_in_live_data(trained: Project, stopped: Stopped, rows: pd.DataFrame) -> None:
    live = rows.head(100).drop(columns=["late", "delivery_days"])
    live = live.astype(object).where(live.notna(), None)
    live.loc[0, ["weight_kg", "items", "declared_value", "goods", "insured"]] = None
    live.loc[1, ["weight_kg", "distance_km"]] = [0, 5_000]
    live.loc[2, "carrier"] = "pelican"
    live.loc[10, "distance_km"] = np.inf
    live.loc[11, "weight_kg"] = -np.inf
    live.loc[12, "distance_km"] = None
    live.loc[13, "items"] = 10**15
    live.to_csv(trained.path / "live.csv", index=False)
    parquet = live.astype({"distance_km": "float64", "weight_kg": "float64", "items": "float64"})
    parquet.to_parquet(trained.path / "live.parquet", index=False)

    with stopped:
        done = trained.json("predict", "live.csv", "out.csv")
    again = trained.json("predict", "live.parquet", "again.parquet")

    assert (done["scored"], done["rejected"]) == (again["scored"], again["rejected"]) == (96, 4)
    rejected = pd.read_csv(trained.path / "out.rejected.csv").set_index("row")["reason"]
    assert list(rejected.index) == [10, 11, 12, 13]
    stopped.says("\n".join(rejected), "items is 1000000000000000, above 500")
    stopped.says("\n".join(rejected), "distance_km is missing")
    by_csv = pd.read_csv(trained.path / "out.csv")
    by_parquet = pd.read_parquet(trained.path / "again.parquet")
    assert {0, 1, 2} <= set(by_csv["row"])
    assert np.isfinite(by_csv["probability_true"]).all()
    pd.testing.assert_frame_equal(by_csv, by_parquet, check_exact=True)


@pytest.mark.pitfall("B9", "nulls filled with the mean of the rows at hand", gate="test")
def test_a_feature_that_looks_at_other_rows(project: Project, stopped: Stopped) -> None:
    add_feature(project, "X.fillna(X.mean())")

    with stopped:
        said = pytest_of(project, "tests/model/test_answers.py", code=1)

    stopped.says(said, "FAILED", "test_a_row_gets_the_same_answer_alone_and_among_others")

    features = project.source / "preprocessing/features.py"
    project.replace(features, "X.fillna(X.mean())", "X.clip(upper=X.quantile(0.99), axis=1)")
    said = pytest_of(project, "tests/theirs/test_features.py", code=1)
    assert "test_a_row_becomes_the_same_numbers_alone_and_among_others" in said


@pytest.mark.pitfall("B9", "an encoder that refuses unseen categories", gate="test")
def test_an_encoder_that_fails_on_the_unseen(project: Project, stopped: Stopped) -> None:
    features = project.source / "preprocessing/features.py"
    project.replace(features, 'handle_unknown="ignore"', 'handle_unknown="error"')

    with stopped:
        said = pytest_of(project, "tests/model/test_answers.py", code=1)

    stopped.says(said, "FAILED", "test_odd_rows_get_a_finite_answer[unseen]")
