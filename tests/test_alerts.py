"""Alerts and dashboard: tried out by promtool, and made of figures that the service exports."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from serve import serving

from conftest import Project

PROMETHEUS_MAKES = {"up"}, {"job", "instance"}
"""Figures and labels that Prometheus adds to those of the service."""
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
MATCHERS = re.compile(r"\{([^}]*)\}")
OPERATORS = {"and", "or", "unless", "bool", "inf", "nan"}


def monitoring(project: Project) -> Path:
    return project.path / "ops" / "monitoring"


def promtool(*arguments: str | Path) -> str:
    """Run promtool and return what it says; the test fails where it finds something."""
    if shutil.which("promtool") is None:
        what = "promtool (Debian's package prometheus) is not installed"
        if os.environ.get("SLIPWAY_FULL") == "1":
            pytest.fail(f"{what}, and SLIPWAY_FULL=1 asks for it")
        pytest.skip(what)
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def rules(project: Project) -> list[dict[str, Any]]:
    read = yaml.safe_load((monitoring(project) / "alerts.yml").read_text())
    return [rule for group in read["groups"] for rule in group["rules"]]


def queries(dashboard: Any) -> Iterator[str]:
    """Yield every query of a dashboard, wherever in it."""
    if isinstance(dashboard, dict):
        for key, value in dashboard.items():
            if key in {"expr", "definition", "query"} and isinstance(value, str):
                yield value
            else:
                yield from queries(value)
    elif isinstance(dashboard, list):
        for value in dashboard:
            yield from queries(value)


def drawn(project: Project) -> list[str]:
    """Return the queries of the dashboard; those for a list of labels as figure{label=""}."""
    read = json.loads((monitoring(project) / "dashboard.json").read_text())
    found = [one for one in queries(read) if one != "prometheus"]
    return [re.sub(r"label_values\((\w+), (\w+)\)", r'\1{\2=""}', one) for one in found]


def used(query: str) -> tuple[set[str], set[str]]:
    """Return the figures and the labels that a query names."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]|\boffset\s+\w+', " ", query)
    labels = {
        name for part in GROUPING.findall(bare) for name in re.split(r"[,\s]+", part) if name
    } | {name for part in MATCHERS.findall(bare) for name in re.findall(r"\w+", part)}
    bare = GROUPING.sub(" ", MATCHERS.sub(" ", bare))
    return set(re.findall(r"\b[a-z_:][\w:]*\b(?!\s*\()", bare, re.IGNORECASE)) - OPERATORS, labels


def exported(text: str) -> tuple[set[str], set[str]]:
    """Return the figures and the labels that /metrics shows."""
    figures = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        parts = ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]
        figures |= {name + part for part in parts}
    samples = re.findall(r"^\w+\{(.*)\} \S+$", text, re.MULTILINE)
    return figures, {name for part in samples for name in re.findall(r'(\w+)="', part)}


def strangers(project: Project, text: str) -> set[str]:
    """Return what alerts and dashboard name though neither /metrics nor Prometheus shows it."""
    ours = rules(project)
    figures, labels = exported(text)
    figures |= PROMETHEUS_MAKES[0] | {rule["record"] for rule in ours if "record" in rule}
    labels |= PROMETHEUS_MAKES[1]
    unknown: set[str] = set()
    for query in [*(rule["expr"] for rule in ours), *drawn(project)]:
        named = used(query)
        assert named[0] or query.startswith("vector("), f"no figure in {query}"
        unknown |= (named[0] - figures) | (named[1] - labels)
    for rule in ours:
        said = json.dumps(rule.get("annotations", {}))
        unknown |= set(re.findall(r"\$labels\.(\w+)", said)) - labels
    return unknown


def test_alerts_and_dashboard_name_only_what_the_service_exports(
    trained: Project, samples: Path
) -> None:
    rows = pd.read_parquet(samples / "rows.parquet").drop(columns=["late", "delivery_days"])
    good = json.loads(rows.head(1).to_json(orient="records", date_format="iso"))[0]
    budget = {f"{trained.package.upper()}__SERVICE__LATENCY_BUDGET_MS": "250"}
    with serving(trained, **budget) as service:
        assert service.post(good).code == 200
        odd = good | {"carrier": "pigeon", "weight_kg": None}
        assert service.post(odd).code == 200
        assert service.post(b"no JSON").code == 422
        text = service.get("/metrics").body
    for figure in ["unknown_categories", "missing_values", "requests", "predicted_labels"]:
        assert re.search(rf'^{figure}_total\{{.*version="1".*\}} [1-9]', text, re.MULTILINE), figure
    assert "latency_budget_seconds 0.25" in text

    assert strangers(trained, text) == set()

    for file, right, wrong in [
        ("alerts.yml", "timeouts_total", "timeout_total"),
        ("alerts.yml", "request_seconds_bucket", "request_seconds"),
        ("alerts.yml", "(job, version, column)", "(job, version, feature)"),
        ("alerts.yml", "$labels.instance", "$labels.host"),
        ("dashboard.json", "missing_values_total", "missing_values"),
        ("dashboard.json", "label_values(answering_version", "label_values(answering_versions"),
        ("dashboard.json", "latency_budget_seconds", "latency_budget_ms"),
    ]:
        path = monitoring(trained) / file
        before = path.read_text()
        trained.replace(path, right, wrong)
        planted = set(re.findall(r"\w+", wrong)) - set(re.findall(r"\w+", right))
        assert strangers(trained, text) == planted, f"{wrong} in {file}"
        path.write_text(before)


def test_every_alert_is_tripped_by_its_own_test(born: Project) -> None:
    folder = monitoring(born)
    promtool("check", "config", folder / "prometheus.yml")
    promtool("check", "rules", folder / "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", folder / "alerts_test.yml")

    tests = yaml.safe_load((folder / "alerts_test.yml").read_text())["tests"]
    tripped = {
        one["alertname"]
        for test in tests
        for one in test.get("alert_rule_test", [])
        if one.get("exp_alerts")
    }
    assert tripped == {rule["alert"] for rule in rules(born) if "alert" in rule}


def test_the_queries_of_the_dashboard_parse(born: Project, tmp_path: Path) -> None:
    filled = [
        one.replace("$job", "job").replace("$__rate_interval", "1m").replace("$__range", "1h")
        for one in drawn(born)
    ]
    recorded = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(filled)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))

    assert f"{len(recorded)} rules found" in promtool("check", "rules", file)


def test_alerts_fit_other_answers(render: Callable[..., Project], tmp_path: Path) -> None:
    project = render(tmp_path / "p", project_name="No", task="regression")
    assert "LabelsShift" not in {rule.get("alert") for rule in rules(project)}
    promtool("check", "config", monitoring(project) / "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", monitoring(project) / "alerts_test.yml")


def test_without_a_service_there_is_nothing_to_watch(
    render: Callable[..., Project], tmp_path: Path
) -> None:
    assert not monitoring(render(tmp_path / "p", delivery="batch")).exists()
