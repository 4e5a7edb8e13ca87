"""B6, D1, D3 to D5 and E1 to E8: what goes wrong when a model answers."""

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from serve import Service, crowd, serving

from conftest import Project

from .conftest import Stopped

Row = dict[str, Any]


@pytest.fixture(scope="session")
def sent(rows: pd.DataFrame) -> list[Row]:
    """Rows as a caller sends them."""
    chosen = rows.drop(columns=["late", "delivery_days"]).head(200)
    read: list[Row] = json.loads(chosen.to_json(orient="records", date_format="iso"))
    return read


def setting(project: Project, name: str, value: object) -> dict[str, str]:
    return {f"{project.package}__SERVICE__{name}".upper(): str(value)}


def figure(service: Service, name: str) -> float:
    """The sum of a figure over its labels."""
    lines = service.get("/metrics").body.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.pitfall("B6", "a feature is computed otherwise after training", gate="test")
def test_a_feature_changed_in_one_path(
    trained: Project, stopped: Stopped, rows: pd.DataFrame, sent: list[Row]
) -> None:
    rows.head(200).to_parquet(trained.path / "some.parquet", index=False)
    everywhere = trained.source / "data/validation.py", 'inputs[name].astype("float64")'
    for_many = trained.source / "training/masks.py", "numbers = self._before.run(inputs)"
    for place, before in (everywhere, for_many):
        trained.replace(place, before, f"{before} * 1.5")
        refused = trained.cli("predict", "some.parquet", "out.csv", code=1)
        assert "Golden sample gate: the model answers otherwise than at training" in refused.stderr
        trained.replace(place, f"{before} * 1.5", before)

    numbers = "return np.array(values, dtype=float)"
    trained.replace(trained.source / "service/requests.py", numbers, f"{numbers} * 1.5")
    trained.cli("predict", "some.parquet", "out.csv")
    scored = pd.read_csv(trained.path / "out.csv", dtype={"prediction": str})["prediction"]
    with serving(trained) as service:
        served = service.post({"rows": sent}).body["predictions"]
    assert [str(one["prediction"]) for one in served] != scored.tolist()
    with stopped:
        done = trained.run(".venv/bin/pytest", "tests/service/test_app.py", code=1).stdout
    stopped.says(done, "FAILED", "test_rows_are_answered_as_the_scorer_does")


@pytest.mark.pitfall("D1", "another scikit-learn than at training", gate="predict")
def test_another_library(trained: Project, stopped: Stopped, rows: pd.DataFrame) -> None:
    rows.head(50).to_csv(trained.path / "some.csv", index=False)
    trained.replace(
        trained.source / "utils/environment.py",
        "            found[name] = version(name)\n",
        '            found[name] = "1.8.0" if name == "scikit-learn" else version(name)\n',
    )
    with stopped:
        done = trained.cli("predict", "some.csv", "out.csv", code=1)
    stopped.says(done.stderr, "Environment gate", "scikit-learn 1.9", "1.8.0 here")
    assert not (trained.path / "out.csv").exists()
    warned = trained.cli(
        "predict", "some.csv", "out.csv", **setting(trained, "ENVIRONMENT", "warn")
    )
    assert "50 of 50 rows" in warned.stdout
    assert "the model was trained with scikit-learn 1.9" in warned.stderr
    assert "1.8.0 here" in warned.stderr


@pytest.mark.pitfall("D3", "a version that fails its gates is made champion", gate="serve")
def test_a_bad_model_promoted(trained: Project, stopped: Stopped, sent: list[Row]) -> None:
    assert trained.json("train", "--no-promote")["version"] == 2
    with serving(trained, **setting(trained, "POLL_SECONDS", 0.1)) as service:
        with closing(sqlite3.connect(trained.path / "var/mlflow.db")) as store, store:
            store.execute("UPDATE model_version_tags SET value = 'x' WHERE version = 2")
            store.execute("UPDATE registered_model_aliases SET version = 2")
        with stopped:
            wait_for(lambda: "does not answer" in service.log.read_text())
        stopped.says(service.log.read_text(), "champion 2 does not answer", "Digest gate")
        assert service.get("/model").body["version"] == 1
        assert service.ids(sent[:3])


@pytest.mark.pitfall("D4", "two versions answer side by side", gate="serve, outcomes")
def test_a_and_b(trained: Project, stopped: Stopped, rows: pd.DataFrame, sent: list[Row]) -> None:
    trained.json("train", "--no-promote")
    assert trained.json("promote", "2", "--challenger")["challenger"] == 2
    with serving(trained, **setting(trained, "CHALLENGER_SHARE", 0.5)) as service:
        first, again = (service.post({"rows": sent}).body["predictions"] for _ in range(2))
    groups = [(one["group"], one["version"]) for one in first]
    assert groups == [(one["group"], one["version"]) for one in again]
    assert {("champion", 1), ("challenger", 2)} == set(groups)
    rows.head(200)[["shipment_id", "late"]].to_csv(trained.path / "late.csv", index=False)
    with stopped:
        done = trained.cli("outcomes", "late.csv")
    stopped.says(done.stdout, "version 1 as champion")
    stopped.says(done.stdout, "version 2 as challenger")


@pytest.mark.pitfall("D5", "one byte of a model file is changed", gate="serve")
def test_a_corrupted_model_file(trained: Project, stopped: Stopped) -> None:
    for model in (trained.path / "var").rglob("model.onnx"):
        spoilt = bytearray(model.read_bytes())
        spoilt[-100] ^= 1
        model.write_bytes(spoilt)
    with stopped:
        done = trained.cli("serve", code=1)
    stopped.says(done.stderr, "Version 1 was refused", "Digest gate")


@pytest.mark.pitfall("E1", "a rule that sleeps", gate="promote, test")
def test_a_slow_model(project: Project, stopped: Stopped) -> None:
    rules = project.source / "estimators/rules.py"
    project.replace(rules, "import numpy as np\n", "import time\n\nimport numpy as np\n")
    project.replace(
        rules,
        '    spot = rows["distance_km"]',
        '    time.sleep(0.3)\n    spot = rows["distance_km"]',
    )
    with stopped:
        done = project.cli("train", code=1)
    stopped.says(done.stdout, "Latency gate: one row takes", "the budget is")
    assert project.champion() is None


@pytest.mark.pitfall("E2", "a rule that answers NaN for some rows", gate="serve, predict")
def test_an_answer_that_is_no_number(
    project: Project, stopped: Stopped, rows: pd.DataFrame, sent: list[Row]
) -> None:
    rules = project.source / "estimators/rules.py"
    project.replace(
        rules,
        '    spot = rows["distance_km"] == 0\n',
        (
            '    spot = rows["distance_km"] == 0\n'
            '    answers = np.where((rows["distance_km"] == 4_999.5)[:, None], np.nan, answers)\n'
        ),
    )
    assert project.json("train", "--allow-dirty")["promoted"]
    odd = sent[0] | {"distance_km": 4_999.5}
    with serving(project) as service:
        with stopped:
            answer = service.post({"rows": [sent[1], odd]})
        assert answer.code == 500
        assert figure(service, "not_finite_answers_total") == 1
        assert service.ids(sent[1:2])
    stopped.says(answer.body["detail"], "not finite", "not sent")
    pd.concat([rows.head(9), rows.head(1).assign(distance_km=4_999.5)]).to_csv(
        project.path / "some.csv", index=False
    )
    done = project.json("predict", "some.csv", "out.csv")
    assert (done["scored"], done["rejected"]) == (9, 1)


@pytest.mark.pitfall("E3", "a carrier nobody has seen", gate="serve")
def test_an_unseen_category(trained: Project, stopped: Stopped, sent: list[Row]) -> None:
    with serving(trained) as service:
        service.ids([sent[0] | {"carrier": "new in town"}, sent[1]])
        with stopped:
            text = service.get("/metrics").body
    stopped.says(text, 'unknown_categories_total{column="carrier",version="1"} 1.0')


@pytest.mark.pitfall("E4", "a field is left out of a request", gate="serve")
def test_a_missing_field(trained: Project, stopped: Stopped, sent: list[Row]) -> None:
    without = {name: value for name, value in sent[0].items() if name != "distance_km"}
    optional = {name: value for name, value in sent[0].items() if name != "weight_kg"}
    with serving(trained) as service:
        with stopped:
            refused = service.post(without)
        assert service.post(optional).code == 200
        figures = service.get("/metrics").body
    assert refused.code == 422
    stopped.says(json.dumps(refused.body), "distance_km", "Field required")
    assert re.search(r'missing_values_total\{column="weight_kg",version="1"\} [12]\.0', figures)


@pytest.mark.pitfall("E5", "garbage, wrong types and huge bodies are sent", gate="serve")
def test_bad_input(trained: Project, stopped: Stopped, sent: list[Row]) -> None:
    with serving(trained, **setting(trained, "MAX_MEGABYTES", 0.1)) as service:
        codes = [service.post(body).code for body in (b"", b"\xff\xfe", b"{", b"[" * 50_000, b"7")]
        huge = service.post({"rows": sent * 50})
        with stopped:
            wrong = service.post(sent[0] | {"distance_km": "far"})
        assert service.ids(sent[:1])
    assert set(codes) == {422}
    assert huge.code == 413
    stopped.says(json.dumps(wrong.body), "distance_km", "valid number")


@pytest.mark.pitfall("E6", "more load than it can take", gate="serve")
def test_too_much_load(trained: Project, stopped: Stopped, sent: list[Row]) -> None:
    with serving(trained, **setting(trained, "QUEUE", 4)) as service:
        with stopped:
            answers = asyncio.run(crowd(service, sent, size=300))
        refused = next(one for one in answers if one.status_code == 503)
        assert {one.status_code for one in answers} == {200, 503}
        assert refused.headers["retry-after"] == "1"
        assert service.ids(sent[:1])
    stopped.says(refused.text, "Too much load", "try again")


@pytest.mark.pitfall("E7", "a customer asks why, two versions later", gate="replay")
def test_a_past_prediction(trained: Project, stopped: Stopped, sent: list[Row]) -> None:
    with serving(trained) as service:
        name = service.ids(sent[:1])[0]
        service.kill()
    trained.json("train", "--allow-dirty")
    trained.cli("promote", "2", "--allow-dirty")
    with stopped:
        done = trained.cli("replay", name)
    stopped.says(done.stdout, "identical", "by version 1")
    assert f"distance_km = {sent[0]['distance_km']}" in done.stdout


@pytest.mark.pitfall("E8", "somebody asks which version was slow", gate="serve")
def test_figures_without_the_version(trained: Project, stopped: Stopped, sent: list[Row]) -> None:
    with serving(trained) as service:
        service.ids(sent)
        service.post(b"garbage")
        with stopped:
            text = service.get("/metrics").body
    kpis = ["requests_total", "request_seconds_count", "predictions_total", "model_seconds_count"]
    for name in [*kpis, "predicted_values_count"]:
        lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
        assert lines, name
        assert all('version="1"' in line for line in lines)
    stopped.says(text, 'requests_total{code="200",version="1"} 1.0')


@pytest.mark.pitfall("E14", "executors with another scikit-learn than at training", gate="predict")
def test_another_library_in_spark(spark_project: Project, stopped: Stopped, tmp_path: Path) -> None:
    spark_project.cli("data", "sample", tmp_path / "rows.parquet", "--rows", "100")
    other = tmp_path / "scikit_learn-1.8.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 1.8.0\n")
    theirs = tmp_path / "python"
    python = spark_project.path / ".venv/bin/python"
    theirs.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {python} "$@"\n')
    theirs.chmod(0o755)
    command = [
        "predict",
        tmp_path / "rows.parquet",
        tmp_path / "out.parquet",
        "--spark",
        "local[1]",
    ]
    with stopped:
        done = spark_project.cli(
            *command, code=None, PYSPARK_PYTHON=str(theirs), SPARK_LOCAL_IP="127.0.0.1"
        )
    assert done.returncode == 1
    stopped.says(done.stderr, "An executor refused. Environment gate", "1.8.0 here")
    assert not (tmp_path / "out.parquet").exists()
