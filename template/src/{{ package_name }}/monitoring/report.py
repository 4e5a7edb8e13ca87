"""The monitoring report: one page for a person, which opens without a network and prints well."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import pandas as pd

from ..data.profile import ANSWER, LABEL
from ..utils.plain import to_json
from .monitor import MonitoringResult

PAGE = Path(__file__).with_name("report.html")
WIDTH, HEIGHT, FOOT = 320, 140, 18
COLORS = ["before", "now"]
MOST_PICTURES = 12


def write_report(seen: MonitoringResult, folder: Path) -> Path:
    """Write the page, and the same as JSON beside it; return where the page is."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "monitoring.html"
    page.write_text(_page(seen), encoding="utf-8")
    page.with_suffix(".json").write_text(to_json(as_json(seen, page), indent=1))
    return page


def as_json(seen: MonitoringResult, report: Path) -> dict[str, object]:
    """Return what `monitor --json` prints: all but the counts that pictures are drawn from."""
    told = {"verdict": seen.verdict, "report": str(report)} | vars(seen)
    return {name: value for name, value in told.items() if name not in {"reference", "current"}}


def _page(seen: MonitoringResult) -> str:
    many = len(seen.alarms)
    fine = "All is well" if seen.enough else "Too few predictions to judge"
    moved = [one for one in seen.shifts if one.alarming or one.name in {ANSWER, LABEL}]
    moved = sorted(moved, key=lambda one: (not one.alarming, -one.psi))[:MOST_PICTURES]
    pictures = "".join(_distribution(seen, one.name) for one in moved)
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        verdict=seen.verdict,
        word=f"{many} alarm{'s' * (many > 1)}" if many else fine,
        about=f"{seen.about[0].upper()}{seen.about[1:]}.",
        alarms="".join(
            f"<li><b>{escape(one.kind)}</b>: {escape(one.what)}. <i>{escape(one.advice)}.</i></li>"
            for one in seen.alarms
        ),
        moved=pictures or "<p>Too few predictions to compare.</p>",
        traffic=_volume(seen) + _latency(seen),
        performance=_performance(seen),
        columns=_table(seen.shifts),
    )


def _distribution(seen: MonitoringResult, name: str) -> str:
    part, now = seen.reference[name], seen.current[name]
    before = np.asarray(part.counts)
    shown = np.flatnonzero(before + now)
    names = [part.names[number] for number in shown]
    shares = [before[shown] / before.sum(), now[shown] / max(now.sum(), 1)]
    most = np.argsort(-np.abs(shares[1] - shares[0]), kind="stable")[:3]
    said = ", ".join(f"{names[n]}: {shares[0][n]:.1%} → {shares[1][n]:.1%}" for n in most)
    return _bars(f"{name} ({said})", names, [share.tolist() for share in shares], ".1%")


def _volume(seen: MonitoringResult) -> str:
    if not seen.volume:
        return "<p>No prediction.</p>"
    return _bars("Predictions by day", list(seen.volume), [list(seen.volume.values())], ",")


def _latency(seen: MonitoringResult) -> str:
    if not seen.latency:
        return ""
    told = pd.DataFrame(seen.latency)
    series = [told["median_ms"].tolist(), told["promised_ms"].tolist()]
    title = "Milliseconds for half of the answers, and for 95 of 100; dashed what is promised"
    return _bars(title, told["day"].tolist(), series, ".4g", seen.budget_ms)


def _performance(seen: MonitoringResult) -> str:
    if not seen.performance:
        return "<p>No outcomes yet: <code>outcomes FILE</code> takes them in.</p>"
    tried = seen.comparison
    said = "" if tried is None else f"<p><b>{tried.verdict}</b>: {tried.reason}.</p>"
    pictures = ""
    for name, points in seen.timeline.items():
        if len(points) > 1:
            days, means, _ = zip(*points, strict=True)
            pictures += _bars(f"Version {name}: mean loss by day", days, [means], ".4g")
    return f'{_table(seen.performance)}{said}<div class="pictures">{pictures}</div>'


def _bars(
    title: str,
    names: Sequence[str],
    series: Sequence[Sequence[float]],
    form: str,
    limit: float | None = None,
) -> str:
    """Draw for each name a bar of each series, the last one as the present, and a dashed limit."""
    step, most = WIDTH / len(names), max([*map(max, series), limit or 0]) or 1
    wide, marks = 0.9 * step / len(series), ""
    for place, (name, *values) in enumerate(zip(names, *series, strict=True)):
        said = escape(f"{name}: {', '.join(format(value, form) for value in values)}")
        for side, (color, value) in enumerate(zip(COLORS[-len(series) :], values, strict=True)):
            high = (HEIGHT - FOOT) * value / most
            marks += (
                f'<rect class="{color}" x="{place * step + side * wide:.1f}" width="{wide:.1f}" '
                f'y="{HEIGHT - FOOT - high:.1f}" height="{high:.1f}"><title>{said}</title></rect>'
            )
    if limit:
        high = (HEIGHT - FOOT) * (1 - limit / most)
        marks += f'<line class="limit" x1="0" x2="{WIDTH}" y1="{high:.1f}" y2="{high:.1f}"/>'
    last = escape(names[-1]) if len(names) > 1 else ""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{marks}'
        f'<text x="0" y="{HEIGHT - 4}">{escape(names[0])}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{last}</text></svg></figure>'
    )


def _table(rows: Sequence[object]) -> str:
    """Lay out what is known of each row, a column for each field."""
    known = pd.DataFrame([vars(row) for row in rows]).dropna(axis="columns", how="all")
    frame = known.rename(columns=lambda name: name.replace("_", " "))
    page = frame.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)
    return f'<div class="wide">{page}</div>'
