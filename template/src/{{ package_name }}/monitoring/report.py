"""The monitoring report: one page for a person, which opens without a network and prints well."""

from html import escape
from pathlib import Path

import numpy as np

from ..utils.config import Settings
from .monitor import Seen

STYLE = """
:root { color-scheme: light dark; --line: #8884; --before: #9aa5b1; --now: #2f6fde; --bad: #c62828 }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1 { margin: 0 } h2 { margin-top: 2.5rem } .ok { color: #2e7d32 } .alarm { color: var(--bad) }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid var(--line);
padding: .3rem .5rem; text-align: left } td.n, th.n { text-align: right } figure { margin: 1rem 0 }
.pictures { display: grid; gap: 1.5rem }
@media (min-width: 44rem) { .pictures { grid-template-columns: 1fr 1fr } }
svg { width: 100%; height: auto } svg text { font-size: 11px; fill: currentColor }
.wide { overflow-x: auto } figcaption { font-weight: 600 } .quiet { opacity: .7 }
@media print { body { margin: 0; max-width: none } figure, li { break-inside: avoid } }
"""
WIDTH, HEIGHT, FOOT = 320, 140, 18


def write_report(seen: Seen, folder: Path) -> Path:
    """Write the page, and return where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "monitoring.html"
    page.write_text(_page(seen), encoding="utf-8")
    return page


def report_folder(settings: Settings) -> Path:
    """Return where reports are kept."""
    return settings.var / "reports"


def _page(seen: Seen) -> str:
    word = "All is well" if seen.verdict == "ok" else f"{len(seen.alarms)} alarm(s)"
    alarms = "".join(
        f"<li><b>{escape(one.kind)}</b>: {escape(one.what)}. <i>{escape(one.advice)}.</i></li>"
        for one in seen.alarms
    )
    pictures = "".join(
        f"<figure><figcaption>{escape(one.name)}</figcaption>{_bars(seen, one.name)}</figure>"
        for one in sorted(seen.shifts, key=lambda one: -one.psi)
        if one.alarming or one.name in {"answer", "label"}
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Monitoring: {word}</title><style>{STYLE}</style></head><body>
<h1 class="{seen.verdict}">{word}</h1>
<p>Version {seen.version}, {seen.rows:,} predictions in the last {seen.days:g} days.</p>
<ul>{alarms}</ul>
<h2>What moved</h2><p class="quiet">Grey: in training. Blue: now. Share of rows.</p>
<div class="pictures">{pictures or "<p>Too few predictions to compare.</p>"}</div>
<h2>Predictions by day</h2>{_volume(seen)}
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
    foot = (
        f'<text x="0" y="{HEIGHT - 4}">{escape(ends[0])}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{escape(ends[1])}</text>'
    )
    return _svg(f"Distribution of {name}", "".join(marks) + foot)


def _volume(seen: Seen) -> str:
    if not seen.volume:
        return "<p>None.</p>"
    days, most = list(seen.volume), max(seen.volume.values())
    step = WIDTH / len(days)
    marks = "".join(
        f'<rect x="{place * step:.1f}" width="{step * 0.9:.1f}" fill="var(--now)" '
        f'y="{(HEIGHT - FOOT) * (1 - count / most):.1f}" '
        f'height="{(HEIGHT - FOOT) * count / most:.1f}"><title>{day}: {count:,}</title></rect>'
        for place, (day, count) in enumerate(seen.volume.items())
    )
    foot = f'<text x="0" y="{HEIGHT - 4}">{days[0]}: {seen.volume[days[0]]:,}</text>'
    if len(days) > 1:
        foot += (
            f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">'
            f"{days[-1]}: {seen.volume[days[-1]]:,}</text>"
        )
    return f'<figure style="max-width:30rem">{_svg("Predictions by day", marks + foot)}</figure>'


def _performance(seen: Seen) -> str:
    if not seen.performance:
        return "<p>No outcomes yet: <code>outcomes FILE</code> takes them in.</p>"
    lines = "".join(
        f"<tr><td>{one.version} as {one.group}</td><td class=n>{one.predictions:,}</td>"
        f"<td>{one.metric}</td><td class=n>{one.mean:.4f}</td>"
        f"<td class=n>{one.low:.4f} to {one.high:.4f}</td>"
        f"<td class=n>{'' if one.value is None else f'{one.value:.4g}'}</td></tr>"
        for one in seen.performance
    )
    head = "<tr><th>version<th class=n>outcomes<th>metric<th class=n>mean"
    head += "<th class=n>95 %<th class=n>worth</tr>"
    pictures = "".join(
        f"<figure><figcaption>Version {escape(name)}: mean loss by day</figcaption>"
        f"{_line(points)}</figure>"
        for name, points in seen.timeline.items()
        if len(points) > 1
    )
    table = f'<div class="wide"><table>{head}{lines}</table></div>'
    tried = seen.comparison
    said = (
        ""
        if tried is None
        else f"<p>Challenger against champion: <b>{tried.verdict}</b>. Difference of the mean loss "
        f"{tried.difference:+.4f} ({tried.low:+.4f} to {tried.high:+.4f}); to tell a difference "
        f"of this size takes {tried.needed:,} outcomes of each.</p>"
    )
    return f'{table}{said}<div class="pictures">{pictures}</div>'


def _line(points: list[tuple[str, float, int]]) -> str:
    most = max(loss for _, loss, _ in points) or 1
    step = WIDTH / (len(points) - 1)
    places = [
        (place * step, (HEIGHT - FOOT) * (1 - loss / most))
        for place, (_, loss, _) in enumerate(points)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return _svg(
        "Mean loss by day",
        f'<polyline points="{path}" fill="none" stroke="var(--now)" stroke-width="2"/>'
        f'<text x="0" y="{HEIGHT - 4}">{points[0][0]}: {points[0][1]:.4f}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">'
        f"{points[-1][0]}: {points[-1][1]:.4f}</text>",
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


def _svg(title: str, content: str) -> str:
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"'
    return f"<svg {box}>{content}</svg>"
