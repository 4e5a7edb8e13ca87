"""The service's pages in a real browser, as a person uses them; no other host is ever asked."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from serve import serving

from conftest import PACKAGE, Project
from slipway_template.data.columns import describe
from slipway_template.data.profile import LABEL, distribution
from slipway_template.monitoring.audit import Finding
from slipway_template.monitoring.drift import judge, shift
from slipway_template.monitoring.monitor import MonitoringResult
from slipway_template.monitoring.performance import Performance, compare
from slipway_template.monitoring.report import write_report
from slipway_template.service.requests import request_model
from slipway_template.utils.config import Monitoring, Roles

FULL = os.environ.get("SLIPWAY_FULL") == "1"
WIDTHS = (1280, 390)
NOWHERE = "http://pages.invalid/some/prefix/"
"""Answered by the test itself: below a prefix, as behind a proxy."""

MARKUP = 'Größe <b>"m²"</b> & Co'
ODD = {
    MARKUP: pa.Column(float, pa.Check.ge(0.5), nullable=True),
    "kind": pa.Column(str, pa.Check.isin(["</script><script>alert(1)</script>", '"ö" & {title}'])),
    "note": pa.Column(str, nullable=True),
    "elements": pa.Column(int, pa.Check.isin([1, 2, 3])),
    "since": pa.Column("datetime64[us]"),
    "sure": pa.Column("boolean", nullable=True),
    "target": pa.Column(str),
    "id": pa.Column(int),
}
ROW = {
    MARKUP: 0.75,
    "kind": '"ö" & {title}',
    "note": "<i>ü</i>",
    "elements": 3,
    "since": "2024-05-06T07:08:09",
    "sure": None,
}
ANSWER = {
    "predictions": [
        {
            "id": "a1",
            "prediction": "<b>ß</b>",
            "probability": 0.9,
            "probabilities": {"other": 0.1, "<b>ß</b>": 0.9},
            "group": "challenger",
            "version": 8,
        }
    ],
    "model": {"name": "demo", "version": 7, "runtime": "onnx"},
}


@dataclass
class Visit:
    """A page, and all that went wrong or out while it was open."""

    page: Any
    asked: list[Any] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", self.remember)
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("console", self.note)

    def remember(self, request: Any) -> None:
        self.asked.append(request)

    def note(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(f"console: {message.text}")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was posted, oldest first."""
        posted = [request.post_data_json for request in self.asked if request.method == "POST"]
        return [row for body in posted for row in body["rows"]]

    @property
    def hosts(self) -> set[str]:
        return {urlsplit(request.url).netloc for request in self.asked}

    def predict(self) -> None:
        self.page.get_by_role("button", name="Predict").click()
        self.page.locator("[type=submit]:enabled").wait_for()

    def fact(self, name: str) -> str:
        return str(self.page.locator(f"dt:text-is('{name}') + dd").inner_text())

    def beside(self, name: str) -> str:
        """The error beside a field, as a screen reader finds it."""
        described = self.page.get_by_label(name, exact=True).get_attribute("aria-describedby")
        return str(self.page.locator(f"#{described.split()[-1]}").inner_text())

    def fits(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def missing(what: str) -> None:
    if FULL:
        pytest.fail(f"{what} is not here, and SLIPWAY_FULL=1 asks for it")
    pytest.skip(f"{what} is not here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        missing("Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=WIDTHS)
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": request.param, "height": 844}, locale="en")
    context.set_default_timeout(20_000)
    yield Visit(context.new_page())
    context.close()


@pytest.fixture(scope="module")
def url(born: Project, first_model: Path) -> Iterator[str]:
    """The service of the default project; both widths ask the same one."""
    shutil.rmtree(born.path / "var", ignore_errors=True)
    shutil.copytree(first_model, born.path / "var")
    with serving(born) as service:
        yield service.url
    shutil.rmtree(born.path / "var")


# ---------------------------------------------------------------- the real service


def test_a_person_tries_a_prediction(visit: Visit, url: str) -> None:
    page = visit.page
    page.goto(f"{url}/")
    page.get_by_label("distance_km").fill("1234.5")
    page.get_by_label("goods").select_option("missing")
    page.get_by_label("weight_kg").fill("")
    with page.expect_response("**/predict") as heard:
        visit.predict()

    (row,) = visit.rows
    (shown,) = heard.value.json()["predictions"]
    assert (row["distance_km"], row["goods"], row["weight_kg"]) == (1234.5, None, None)
    assert not {"shipment_id", "customer_id", "ordered_at", "late"} & set(row)
    (wanted,) = httpx.post(f"{url}/predict", json={"rows": [row]}).json()["predictions"]
    assert page.locator("#answer").inner_text() == ("yes" if wanted["prediction"] else "no")
    assert f"{wanted['probability']:.1%}" in page.locator("#bars").inner_text()
    assert (visit.fact("Model"), visit.fact("Version")) == ("shipment-delays", "1")
    assert visit.fact("Group") == wanted["group"]
    assert visit.fact("Prediction id") == shown["id"]
    assert page.locator("#answer").is_visible()
    assert visit.fits()
    assert visit.wrong == []
    assert visit.hosts == {urlsplit(url).netloc}


def test_what_is_wrong_is_said_beside_the_field(visit: Visit, url: str) -> None:
    page = visit.page
    page.goto(f"{url}/")
    page.get_by_label("distance_km").fill("99999")
    visit.predict()
    assert "5000" in visit.beside("distance_km")
    assert page.get_by_label("distance_km").evaluate("it => it === document.activeElement")
    assert (visit.rows, visit.wrong) == ([], [])

    page.evaluate("document.querySelector('[data-name=distance_km]').removeAttribute('max')")
    visit.predict()
    assert len(visit.rows) == 1
    assert "5000" in visit.beside("distance_km")
    assert page.get_by_label("distance_km").get_attribute("aria-invalid") == "true"
    assert not page.locator("#result").is_visible()
    assert [wrong for wrong in visit.wrong if " 422 " not in wrong] == []

    page.get_by_role("button", name="Reset").click()
    visit.predict()
    assert visit.beside("distance_km") == ""
    assert page.locator("#answer").is_visible()


def test_the_reference_tells_how_to_ask(visit: Visit, url: str) -> None:
    page = visit.page
    page.goto(f"{url}/", wait_until="networkidle")  # or what it still reads would be cut off
    page.get_by_role("link", name="API reference").click()
    page.wait_for_url(f"{url}/docs")
    section = page.locator(".opblock", has_text="/predict")
    section.get_by_role("button").first.click()
    for code in ("200", "401", "413", "422", "500", "503"):
        section.locator(f".response[data-code='{code}']").wait_for()  # one, or it raises
    example = json.loads(section.locator(".body-param__example").inner_text())
    assert set(example["rows"][0]) >= {"distance_km", "carrier"}
    section.get_by_role("tab", name="Schema").first.click()
    section.get_by_role("button", name="Expand all").first.click()
    body = section.locator(".opblock-section-request-body")
    for part in ("distance_km", "[0, 5000]", "weight_kg", "(number | null)", "[0, 100]"):
        body.get_by_text(part).first.wait_for()  # it waits: the parts unfold one after the other

    section.get_by_role("tab", name="Example Value").first.click()
    section.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/predict") as heard:
        section.get_by_role("button", name="Execute").click()
    assert len(heard.value.json()["predictions"]) == 1
    assert visit.rows == example["rows"]
    assert visit.fits()
    assert visit.wrong == []
    assert visit.hosts == {urlsplit(url).netloc}


# ---------------------------------------------------------------- any schema, any answer


@pytest.fixture
def odd(visit: Visit) -> Visit:
    """The form of a schema that holds markup; nothing answers its questions yet."""
    schema = pa.DataFrameSchema(ODD)
    columns = describe(schema, Roles(target="target", key=["id"]))
    described = request_model(schema, columns, ROW, max_rows=10).model_json_schema()
    openapi = {"info": {"title": "<u>Title</u>"}, "components": {"schemas": described["$defs"]}}
    html = (PACKAGE / "service/page.html").read_text()
    visit.page.route(NOWHERE, lambda route: route.fulfill(body=html, content_type="text/html"))
    visit.page.route(f"{NOWHERE}openapi.json", lambda route: route.fulfill(json=openapi))
    visit.page.goto(NOWHERE)
    visit.page.locator("[data-name]").first.wait_for()
    return visit


def answer(visit: Visit, status: int, body: Any) -> None:
    visit.page.unroute(f"{NOWHERE}predict")
    visit.page.route(f"{NOWHERE}predict", lambda route: route.fulfill(status=status, json=body))


def test_names_and_categories_are_text_never_markup(odd: Visit) -> None:
    answer(odd, 200, ANSWER)
    odd.predict()

    assert odd.rows == [ROW]
    assert odd.page.locator("h1").inner_text() == "<u>Title</u>"
    assert odd.page.get_by_label(MARKUP, exact=True).input_value() == "0.75"
    assert odd.page.locator("form b, form i, form script, h1 u").count() == 0
    assert odd.page.locator("#answer").inner_text() == "<b>ß</b>"
    assert odd.page.locator("#bars li").first.inner_text().split() == ["<b>ß</b>", "90%"]
    assert odd.fact("Version") == "8"
    assert odd.fits()
    assert odd.wrong == []


def test_a_number_is_shown_without_bars(odd: Visit) -> None:
    one = {"id": "a1", "prediction": 12.3456789, "probabilities": None, "group": "champion"}
    answer(odd, 200, ANSWER | {"predictions": [one]})
    odd.predict()

    assert odd.page.locator("#answer").inner_text() == "12.3457"
    assert odd.page.locator("#bars li").count() == 0


@pytest.mark.parametrize(
    ("status", "detail", "words"),
    [
        (422, [{"loc": ["body", "rows"], "msg": "Too many"}], "Too many"),
        (429, "slowly", "Too many requests"),
        (500, "The model's answer is not finite.", "not finite"),
        (503, "loading", "try again in a moment. It says: loading"),
        (502, None, "status 502"),
    ],
)
def test_a_refusal_is_said_in_plain_words(odd: Visit, status: int, detail: Any, words: str) -> None:
    answer(odd, status, {"detail": detail})
    odd.predict()

    assert words in odd.page.get_by_role("alert").inner_text()
    assert not odd.page.locator("#result").is_visible()


@pytest.mark.parametrize(
    "one",
    [
        {"loc": ["body", "rows", 0, MARKUP], "msg": "Input should be <b>small</b>"},
        {"row": 0, "reason": f"{MARKUP} is 1, too large"},
    ],
)
def test_an_error_is_beside_its_field(odd: Visit, one: dict[str, Any]) -> None:
    answer(odd, 422, {"detail": [one]})
    odd.predict()

    assert odd.beside(MARKUP) in {"Should be <b>small</b>", f"{MARKUP} is 1, too large"}
    assert "marked fields" in odd.page.get_by_role("alert").inner_text()


def test_a_service_that_is_gone_is_named(odd: Visit) -> None:
    odd.page.route(f"{NOWHERE}predict", lambda route: route.abort())
    odd.predict()

    assert "could not be reached" in odd.page.get_by_role("alert").inner_text()


def test_a_key_is_asked_for_and_sent(odd: Visit) -> None:
    key = odd.page.get_by_label("API key")
    answer(odd, 401, {"detail": "no key"})
    assert not key.is_visible()
    odd.predict()
    assert "enter the API key" in odd.page.get_by_role("alert").inner_text()
    key.fill("wrong")
    odd.predict()
    assert "not accepted" in odd.page.get_by_role("alert").inner_text()
    answer(odd, 200, ANSWER)
    key.fill("s3cret")
    odd.predict()

    assert odd.asked[-1].headers["x-api-key"] == "s3cret"
    assert not odd.page.get_by_role("alert").is_visible()
    assert odd.fact("Version") == "8"


# ---------------------------------------------------------------- the monitoring report


def seen(columns: int, days: int) -> MonitoringResult:
    """What a bad week shows, with names that are long or hold markup; nothing at all for 0 days."""
    rng = np.random.default_rng(1)
    names = [MARKUP, "a_name_that_is_longer_than_any_telephone_is_wide_" * 2]
    names += [f"column {number}" for number in range(columns - 2)]
    reference = {name: distribution(pd.Series(rng.normal(size=900)), "number") for name in names}
    reference[LABEL] = distribution(pd.Series(rng.choice(["yes", "<b>no</b>"], 900)), "category")
    now = pd.Series(rng.normal(1, 1.2, 900))
    current = {name: part.count(now) for name, part in reference.items() if name != LABEL}
    current[LABEL] = np.array([10, 890, 0, 0])
    parts = [shift(name, reference[name], current[name], Monitoring()) for name in reference]
    when = [f"2026-11-{day:02}" for day in range(1, days + 1)]
    tried = [
        Performance(9, "champion", 900, "brier", 0.31, 0.29, 0.33, 2.5, 2.4, 2.6),
        Performance(10, "challenger", 300, "brier", 0.21, 0.19, 0.23, None),
    ]
    return MonitoringResult(
        version=9,
        days=days,
        until="2026-11-08 05:17Z",
        rows=1_200 * days,
        compared=900 * days,
        enough=days > 0,
        rejected=7 * days,
        later=0,
        alarms=[Finding("drift", f"{name} has moved", "look at it") for name in names if days],
        shifts=judge(parts) if days else [],
        reference=reference,
        current=current,
        volume={day: 1_000 + 37 * len(when) for day in when},
        latency=[
            {"day": day, "answers": 1_000, "median_ms": 4.0, "promised_ms": 30.0 + 9 * n}
            for n, day in enumerate(when)
        ],
        budget_ms=50.0,
        performance=tried if days else [],
        comparison=compare(tried, 9, 200) if days else None,
        timeline={"9 as champion": [(day, 0.3 + n / 50, 130) for n, day in enumerate(when)]},
    )


def colors(picture: bytes) -> int:
    from PIL import Image

    return len(set(Image.open(io.BytesIO(picture)).convert("RGB").get_flattened_data()))


@pytest.mark.parametrize(("columns", "days"), [(15, 7), (200, 1), (3, 0)])
def test_the_monitoring_report_is_readable(
    visit: Visit, tmp_path: Path, columns: int, days: int
) -> None:
    report = write_report(seen(columns, days), tmp_path)
    visit.page.goto(report.as_uri())
    whole = visit.page.screenshot(full_page=True)
    if kept := os.environ.get("SLIPWAY_SCREENSHOTS"):
        width = visit.page.viewport_size["width"]
        (Path(kept) / f"report-{columns}-{days}-{width}.png").write_bytes(whole)

    assert colors(whole) > 20
    heading = visit.page.locator("h1")
    assert heading.inner_text() == (f"{columns} alarms" if days else "Too few predictions to judge")
    assert heading.bounding_box()["y"] < 100
    for figure in visit.page.locator("figure").all()[:8]:
        assert colors(figure.locator("svg").screenshot()) > 3
        assert figure.locator("rect").count()
    assert visit.page.locator("figure").count() <= 16
    assert visit.page.locator("li b b, td b, figcaption b").count() == 0
    assert visit.fits()
    assert json.loads(report.with_suffix(".json").read_text())["version"] == 9

    visit.page.emulate_media(media="print", color_scheme="light")
    visit.page.set_viewport_size({"width": 700, "height": 1_000})  # the text of A4
    assert visit.fits()
    cut = "[...document.querySelectorAll('.wide')].filter(it => it.scrollWidth > it.clientWidth)"
    assert visit.page.evaluate(f"{cut}.length") == 0
    assert visit.page.pdf(format="A4").startswith(b"%PDF")
    assert visit.wrong == []
    assert [request.url for request in visit.asked] == [report.as_uri()]
