"""C: what goes wrong when a model is trained, kept and trained again."""

import json
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest

from conftest import Project, environment

from .conftest import Deliver, Stopped
from .test_b_splits import failed_hooks, git_head, pytest_of, run_of

LABEL = "late"


@pytest.mark.pitfall("C1", "an estimator without `random_state`", gate="commit")
def test_an_estimator_without_a_seed(project: Project, stopped: Stopped) -> None:
    head = git_head(project)
    model = project.source / "estimators/model.py"
    project.replace(
        model,
        "HistGradientBoostingClassifier, HistGradientBoostingRegressor",
        "HistGradientBoostingRegressor, RandomForestClassifier",
    )
    project.replace(
        model, "HistGradientBoostingClassifier(random_state=seed)", "RandomForestClassifier()"
    )

    with stopped:
        said = project.commit(code=1)

    assert "seeds" in failed_hooks(said)
    stopped.says(said, "estimators/model.py:", "RandomForestClassifier", "random_state")
    assert git_head(project) == head


@pytest.mark.pitfall("C2", "trained from code that is in no commit", gate="promote")
def test_a_model_of_uncommitted_code(trained: Project, stopped: Stopped) -> None:
    model = trained.source / "estimators/model.py"
    trained.replace(model, "Classifier(random_state=seed)", "Classifier(random_state=seed + 1)")

    with stopped:
        done = trained.cli("train", code=1)

    stopped.says(done.stdout, "Commit gate: 1 file(s) differed from commit")
    assert (trained.versions(), trained.champion()) == ([1, 2], 1)

    # Committing afterwards does not help: what ran can't be had again from that commit.
    trained.commit()
    assert trained.json("promote", code=1)["champion"] == 1
    assert "dirty commit" in trained.cli("audit", code=1).stdout


@pytest.mark.pitfall("C2", "the lock file deleted", gate="promote")
def test_a_run_without_a_lock_file(trained: Project, stopped: Stopped) -> None:
    (trained.path / "uv.lock").unlink()

    with stopped:
        done = trained.cli("train", "--allow-dirty", code=1)

    stopped.says(done.stdout, "Record gate: the run's record lacks digest of uv.lock")
    assert trained.champion() == 1


@pytest.mark.pitfall("C2", "a version registered by hand, without a run", gate="promote, audit")
def test_a_version_registered_by_hand(trained: Project, stopped: Stopped) -> None:
    trained.python(
        "import mlflow\n"
        f"mlflow.set_tracking_uri('sqlite:///{trained.path}/var/mlflow.db')\n"
        "client = mlflow.MlflowClient()\n"
        f"champion = client.get_model_version_by_alias('{trained.slug}', 'champion')\n"
        f"client.create_model_version('{trained.slug}', champion.source)\n"
        "print('{}')"
    )

    with stopped:
        done = trained.cli("promote", "2", code=1)

    stopped.says(done.stdout, "Digest gate: version 2 was registered without one")
    assert trained.champion() == 1
    assert "zombie: version 2" in trained.cli("audit", code=1).stdout


@pytest.mark.pitfall("C3", "the model's settings changed since", gate="reproduce")
def test_a_past_result_after_the_code_changed(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    run = json.loads(run_of(trained, 1))
    deliver(rows.head(5_000))  # what is newest now must not matter
    assert trained.json("reproduce", run)["verdict"] == "identical"

    model = trained.source / "estimators/model.py"
    trained.replace(
        model, "Classifier(random_state=seed)", "Classifier(max_iter=99, random_state=0)"
    )
    with stopped:
        done = trained.cli("reproduce", run, code=1)

    stopped.says(done.stdout, "golden answers: as recorded then, 300 of 300 differ, by up to")
    stopped.says(done.stdout, "uncommitted files: 0 then, 1 now")
    assert trained.versions() == [1]


@pytest.mark.pitfall("C4", "a training killed with `kill -9`", gate="audit")
def test_a_killed_training(trained: Project, stopped: Stopped) -> None:
    training = subprocess.Popen(
        [trained.path / ".venv/bin" / trained.slug, "train"],
        cwd=trained.path,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    said = b""
    while b"record ..." not in said:
        said += training.stderr.read(1)
    training.send_signal(signal.SIGKILL)
    training.wait()

    with stopped:
        done = trained.cli("audit", code=1)

    stopped.says(done.stdout, "crashed run: run", "is RUNNING, its process is gone")
    assert (trained.versions(), trained.champion()) == ([1], 1)
    trained.cli("audit", "--fix", code=1)
    assert trained.json("audit")["findings"] == []
    assert trained.json("train")["version"] == 2


@pytest.mark.pitfall("C5", "the labels shuffled", gate="promote")
def test_shuffled_labels(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    labels = np.random.default_rng(0).permutation(rows[LABEL])
    deliver(rows.assign(**{LABEL: labels}))

    with stopped:
        done = trained.cli("train", code=1)

    stopped.says(done.stdout, "Baseline gate:", "not better than the dummy's")
    assert (trained.versions(), trained.champion()) == ([1, 2], 1)


@pytest.mark.pitfall("C5", "a row number in the place of the distance", gate="promote")
def test_a_first_model_that_learnt_nothing(
    project: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    noise = np.random.default_rng(0)
    inputs = [name for name in rows.columns if name not in {LABEL, "shipment_id", "customer_id"}]
    deliver(rows.assign(**{name: noise.permutation(rows[name]) for name in inputs}))

    with stopped:
        done = project.cli("train", code=1)

    stopped.says(done.stdout, "Baseline gate:", "not better than the dummy's")
    assert (project.versions(), project.champion()) == ([1], None)


@pytest.mark.pitfall("C6", "the export ended after 1,500 rows", gate="promote")
def test_retraining_on_worse_data(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, deliver: Deliver
) -> None:
    deliver(rows.head(1_500))

    with stopped:
        done = trained.cli("train", code=1)

    stopped.says(done.stdout, "Champion gate:", "is worse than the champion's")
    assert (trained.versions(), trained.champion()) == ([1, 2], 1)
    decision = trained.python(
        "import json; from mlflow import MlflowClient\n"
        f"client = MlflowClient('sqlite:///{trained.path}/var/mlflow.db')\n"
        f"tags = client.get_model_version('{trained.slug}', '2').tags\n"
        "print(next(text for name, text in tags.items() if name.startswith('decision')))"
    )
    assert decision["promoted"] is False
    assert decision["reasons"][0].startswith("Champion gate:")


@pytest.mark.pitfall("C6", "the strongest column left out, and all committed", gate="promote")
def test_retraining_with_other_columns(trained: Project, stopped: Stopped) -> None:
    trained.replace(trained.config, '["delivery_days"]', '["delivery_days", "distance_km"]')
    trained.replace(trained.config, '["collected_at_depot"]', "[]")
    trained.commit()

    with stopped:
        done = trained.cli("train", code=1)

    stopped.says(done.stdout, "Champion gate:", "on the same validation rows")
    assert (trained.versions(), trained.champion()) == ([1, 2], 1)

    trained.replace(trained.config, 'time = "ordered_at"\n', "")
    done = trained.cli("train", code=1)
    assert "Commit gate: 1 file(s) differed from commit" in done.stdout


@pytest.mark.pitfall("C7", "a step that can be trained but not kept or served", gate="make demo")
def test_a_step_that_no_later_one_can_take(project: Project, stopped: Stopped) -> None:
    """On the first day `make demo` walks the whole flow, which a notebook never does."""
    features = project.source / "preprocessing/features.py"
    logged = "FunctionTransformer(lambda rows: np.log1p(rows))"
    project.replace(features, '"passthrough"', logged)
    project.replace(features, "import OneHotEncoder", "import FunctionTransformer, OneHotEncoder")

    with stopped:
        said = project.make("demo", code=2)

    stopped.says(said, "Trust gate: the model can't be saved", "features.<lambda>", "Make a lambda")
    assert project.versions() == []


@pytest.mark.pitfall("C8", "one of the models of an ensemble can't be trained", gate="train")
def test_an_ensemble_that_lost_a_model(trained: Project, stopped: Stopped) -> None:
    with stopped:
        done = trained.cli("train", "--no-promote", **grid(trained, 0.1, -1.0, 0.2))
    stopped.says(done.stderr, "the member learning_rate=-1.0 of the ensemble failed")
    assert (trained.versions(), trained.champion()) == ([1, 2], 1)


@pytest.mark.pitfall("C8", "no model of an ensemble can be trained", gate="train")
def test_an_ensemble_without_a_model(trained: Project, stopped: Stopped) -> None:
    with stopped:
        done = trained.cli("train", code=1, **grid(trained, -1.0, -2.0))
    stopped.says(done.stderr, "Ensemble gate: learning_rate=-1.0 could not be fitted")
    assert trained.versions() == [1]
    assert trained.json("audit")["findings"] == []


def grid(project: Project, *rates: float) -> dict[str, str]:
    name = f"{project.package.upper()}__ENSEMBLE__GRID"
    return {name: f'{{"learning_rate": {list(rates)}}}'}


@pytest.mark.pitfall("C9", "a rule changed under a model that is in use", gate="predict")
def test_a_rule_that_was_changed_since(
    trained: Project, stopped: Stopped, rows: pd.DataFrame
) -> None:
    rows.head(100).to_csv(trained.path / "some.csv", index=False)
    change_rule(trained, "float(not late)", "float(late)")  # for no row of the golden sample

    with stopped:
        done = trained.cli("predict", "some.csv", "out.csv", code=1)

    stopped.says(done.stderr, "Rules gate: collected_at_depot of estimators/rules.py changed")
    assert not (trained.path / "out.csv").exists()


@pytest.mark.pitfall("C9", "a rule that divides by zero", gate="test")
def test_a_rule_that_breaks(project: Project, stopped: Stopped) -> None:
    change_rule(
        project,
        "answers[spot] = 0.0 if classes is None else [float(not late) for late in classes]",
        "answers[spot] /= 1 - spot[spot][:, None]",
    )

    with stopped:
        said = pytest_of(project, "tests/model/test_answers.py", "tests/theirs", code=1)

    stopped.says(said, "FAILED", "test_a_shipment_that_travels_no_distance_is_on_time")
    stopped.says(said, "FAILED", "test_odd_rows_get_a_finite_answer[lowest]")


@pytest.mark.pitfall("C9", "a rule named in config.toml that nobody wrote", gate="train")
def test_a_rule_that_is_not_there(trained: Project, stopped: Stopped) -> None:
    trained.replace(trained.config, '"collected_at_depot"', '"collected_at_dawn"')

    with stopped:
        done = trained.cli("train", code=2)

    stopped.says(done.stderr, "[training] rules names 'collected_at_dawn'", "collected_at_depot")
    assert trained.versions() == [1]
    assert trained.json("audit")["findings"] == []


def change_rule(project: Project, old: str, new: str) -> None:
    project.replace(project.source / "estimators/rules.py", old, new)
