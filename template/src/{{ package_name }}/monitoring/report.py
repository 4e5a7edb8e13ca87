"""The monitoring report: one page for a person, which opens without a network and prints well."""

import json
from html import escape
from pathlib import Path

import numpy as np

from ..utils.config import Settings
from .monitor import Seen, as_json
from .performance import Performance

STYLE = """
:root { color-scheme: light dark; --line: #8884; --before: #9aa5b1; --now: #2f6fde; --bad: #c62828 }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1 { margin: 0 } h2 { margin-top: 2.5rem } .ok { color: #2e7d32 } .alarm { color: var(--bad) }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid var(--line);
padding: .3rem .5rem; text-align: left } td.n, th.n { text-align: right } figure { margin: 1rem 0 }
.pictures { display: grid; gap: 1.5rem }
@media (min-width: 44rem) { .pictures { grid-template-columns: 1fr 1fr } }
svg { width: 100%; height: auto } svg text { font-size: 11px; fill: currentColor }
.wide { overflow-x: auto } figcaption { font-weight: 600 } .quiet { opacity: .8 }
.before { color: var(--before) } .now { color: var(--now) } li, td { overflow-wrap: anywhere }
td.n { white-space: nowrap } td:first-child { min-width: 7rem }
@media print { body { font-size: 12px; margin: 0; max-width: none } h2 { break-after: avoid }
figure, li, tr { break-inside: avoid } .pictures { grid-template-columns: 1fr 1fr } }
"""
WIDTH, HEIGHT, FOOT = 320, 140, 18
MOST_PICTURES = 12


def write_report(seen: Seen, folder: Path) -> Path:
    """Write the page, and the same as JSON beside it; return where the page is."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "monitoring.html"
    page.write_text(_page(seen), encoding="utf-8")
    page.with_suffix(".json").write_text(json.dumps(as_json(seen, page), indent=1))
    return page


def report_folder(settings: Settings) -> Path:
    """Return where reports are kept."""
    return settings.var / "reports"


def _page(seen: Seen) -> str:
    many = len(seen.alarms)
    word = f"{many} alarm{'s' * (many > 1)}" if many else "All is well"
    alarms = "".join(
        f"<li><b>{escape(one.kind)}</b>: {escape(one.what)}. <i>{escape(one.advice)}.</i></li>"
        for one in seen.alarms
    )
    moved = [one for one in seen.shifts if one.alarming or one.name in {"answer", "label"}]
    pictures = "".join(
        f"<figure><figcaption>{escape(one.name)}</figcaption>{_bars(seen, one.name)}</figure>"
        for one in sorted(moved, key=lambda one: (not one.alarming, -one.psi))[:MOST_PICTURES]
    )
    left = seen.rows - seen.compared
    aside = f" Batch runs of other versions made {left:,}; these are not compared." if left else ""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Monitoring: {word}</title><style>{STYLE}</style></head><body>
<h1 class="{seen.verdict}">{word}</h1>
<p>Version {seen.version}, {seen.rows:,} predictions in the last {seen.days:g} days.{aside}</p>
<ul>{alarms}</ul>
<h2>What moved</h2>
<p class="quiet">Share of rows <b class="before">in training</b> and <b class="now">now</b>.</p>
<div class="pictures">{pictures or "<p>Too few predictions to compare.</p>"}</div>
<h2>Volume and latency</h2><div class="pictures">{_volume(seen)}{_latency(seen)}</div>
<h2>How good each version was</h2>{_performance(seen)}
<h2>All columns</h2><div class="wide">{_table(seen)}</div>
</body></html>
"""


def _bars(seen: Seen, name: str) -> str:
    """Draw two bars for each bin: reference and current."""
    part, now = seen.reference[name], seen.current[name]
    before = np.asarray(part.counts, dtype=float)
    shown = np.flatnonzero(before + now)
    pairs = np.array([before[shown] / before.sum(), now[shown] / max(now.sum(), 1)])
    step, scale = WIDTH / max(len(shown), 1), (HEIGHT - FOOT) / max(pairs.max(initial=0), 1e-9)
    marks = []
    for place, number in enumerate(shown):
        said = f"{part.names[number]}: {pairs[0][place]:.1%}, now {pairs[1][place]:.1%}"
        title = f"<title>{escape(said)}</title>"
        for side, color in enumerate(["--before", "--now"]):
            height = pairs[side][place] * scale
            marks.append(
                f'<rect x="{place * step + side * step * 0.42:.1f}" width="{step * 0.4:.1f}" '
                f'y="{HEIGHT - FOOT - height:.1f}" height="{height:.1f}" '
                f'fill="var({color})">{title}</rect>'
            )
    ends = [part.names[number] for number in shown[[0, -1]]] if len(shown) else ["", ""]
    return _svg(f"Distribution of {name}", "".join(marks) + _foot(*ends))


def _volume(seen: Seen) -> str:
    if not seen.volume:
        return "<p>No prediction.</p>"
    days, most = list(seen.volume), max(seen.volume.values())
    step = WIDTH / len(days)
    marks = "".join(
        f'<rect x="{place * step:.1f}" width="{step * 0.9:.1f}" fill="var(--now)" '
        f'y="{(HEIGHT - FOOT) * (1 - count / most):.1f}" '
        f'height="{(HEIGHT - FOOT) * count / most:.1f}"><title>{day}: {count:,}</title></rect>'
        for place, (day, count) in enumerate(seen.volume.items())
    )
    ends = [f"{day}: {seen.volume[day]:,}" for day in days[:: len(days) - 1 or 1]]
    return _figure("Predictions by day", marks + _foot(*ends))


def _latency(seen: Seen) -> str:
    if not seen.latency:
        return ""
    slow = [(one.day, one.promised_ms) for one in seen.latency]
    usual = [(one.day, one.median_ms) for one in seen.latency]
    lines = [("--now", slow), ("--before", usual)]
    title = "Milliseconds in which 95 of 100 answers were given, and half of them"
    return _figure(title, _lines(lines, seen.budget_ms, "budget"))


def _performance(seen: Seen) -> str:
    if not seen.performance:
        return "<p>No outcomes yet: <code>outcomes FILE</code> takes them in.</p>"
    lines = "".join(
        f"<tr><td>{one.version} as {one.group}</td><td class=n>{one.predictions:,}</td>"
        f"<td>{one.metric}</td><td class=n>{one.mean:.4f}</td>"
        f"<td class=n>{one.low:.4f} to {one.high:.4f}</td>"
        f"<td class=n>{_worth(one)}</td></tr>"
        for one in seen.performance
    )
    head = "<tr><th>version<th class=n>outcomes<th>metric<th class=n>mean loss"
    head += "<th class=n>95 %<th class=n>worth of one, 95 %</tr>"
    pictures = "".join(
        _figure(
            f"Version {name}: mean loss by day",
            _lines([("--now", [(day, loss) for day, loss, _ in points])]),
        )
        for name, points in seen.timeline.items()
        if len(points) > 1
    )
    table = f'<div class="wide"><table>{head}{lines}</table></div>'
    tried = seen.comparison
    said = "" if tried is None else f"<p><b>{tried.verdict}</b>: {tried.reason}.</p>"
    return f'{table}{said}<div class="pictures">{pictures}</div>'


def _worth(one: Performance) -> str:
    if one.value is None:
        return ""
    return f"{one.value:.4g} ({one.value_low:.4g} to {one.value_high:.4g})"


def _lines(
    lines: list[tuple[str, list[tuple[str, float]]]], limit: float | None = None, name: str = ""
) -> str:
    """Draw values by day from 0 up, each line in its color, and a dashed limit."""
    most = max([value for _, points in lines for _, value in points] + [limit or 0]) or 1
    step = WIDTH / max(len(lines[0][1]) - 1, 1)
    drawn = []
    for color, points in lines:
        places = [(n * step, _height(value, most)) for n, (_, value) in enumerate(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        style = f'fill="none" stroke="var({color})" stroke-width="2"'
        drawn.append(f'<polyline points="{path}" {style}/>')
        drawn += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var({color})">'
            f"<title>{day}: {value:.4g}</title></circle>"
            for (x, y), (day, value) in zip(places, points, strict=True)
        ]
    if limit:
        y = _height(limit, most)
        drawn.append(
            f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--bad)" '
            f'stroke-dasharray="4"/><text x="0" y="{y - 3:.1f}">{name} {limit:g}</text>'
        )
    points = lines[0][1]
    return "".join(drawn) + _foot(
        *(f"{day}: {value:.4g}" for day, value in points[:: len(points) - 1 or 1])
    )


def _height(value: float, most: float) -> float:
    return FOOT + (HEIGHT - 2 * FOOT) * (1 - value / most)


def _foot(first: str, last: str = "") -> str:
    return (
        f'<text x="0" y="{HEIGHT - 4}">{escape(first)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{escape(last)}</text>'
    )


def _table(seen: Seen) -> str:
    lines = "".join(
        f'<tr class="{"alarm" if one.alarming else ""}"><td>{escape(one.name)}</td>'
        f"<td class=n>{one.psi:.4f}</td><td class=n>{one.tail:+.2%}</td>"
        f"<td class=n>{one.p:.2g}</td></tr>"
        for one in seen.shifts
    )
    head = "<tr><th>column<th class=n>PSI<th class=n>more in the tails<th class=n>p</tr>"
    return f"<table>{head}{lines}</table>"


def _figure(title: str, content: str) -> str:
    caption = f"<figcaption>{escape(title)}</figcaption>"
    return f"<figure>{caption}{_svg(title, content)}</figure>"


def _svg(title: str, content: str) -> str:
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"'
    return f"<svg {box}>{content}</svg>"
