"""The commands that look at how things are."""

from .command import Options, Project, Result, argument, command


@command(
    "outcomes",
    argument("file", metavar="FILE", help="prediction_id or key, the target, maybe a value"),
)
def outcomes(options: Options, project: Project) -> Result:
    """Join what really happened to the predictions, and judge each version by it."""
    journal = project.journal  # or the word that there is no service
    import time

    from ..monitoring.outcomes import take_in
    from ..monitoring.performance import by_version, losses

    days = project.settings.monitoring.outcome_days
    since = time.time() - 86_400 * days
    taken = take_in(options.file, project.schema, project.settings.data, journal, since)
    found = by_version(losses(journal.judged()))
    lines = [
        f"{taken['matched']:,} of {taken['rows']:,} outcomes belong to a prediction "
        f"({taken['unmatched']:,} to none, {taken['rejected']:,} can't be read)"
    ]
    notes = {
        "contradicted": "are contradicted by a later row, which counts",
        "late": f"predictions are older than the {days:g} outcome_days that `monitor` judges",
        "no_value": "values are no finite number: these are left out",
    }
    lines += [f"  {taken[name]:,} {said}" for name, said in notes.items() if taken[name]]
    for one in found:
        line = f"  version {one.version} as {one.group}: {one.metric} {one.mean:.4f} "
        line += f"({one.low:.4f} to {one.high:.4f}) on {one.predictions:,} predictions"
        if one.value is not None:
            line += f", worth {one.value:.4g} each ({one.value_low:.4g} to {one.value_high:.4g})"
        lines.append(line)
    return "\n".join(lines), taken | {"results": found}, 0


@command("monitor")
def monitor(_: Options, project: Project) -> Result:
    """Look for drift, silence, decay and staleness."""
    from ..monitoring.monitor import monitor
    from ..monitoring.report import as_json, write_report

    seen = monitor(project.client, project.settings)
    report = write_report(seen, project.settings.var / "reports")
    lines = [f"{seen.verdict}: {seen.about}"]
    lines += [f"  {one.kind}: {one.what}; {one.advice}" for one in seen.alarms]
    if (tried := seen.comparison) is not None:
        lines.append(f"  challenger against champion: {tried.verdict}; {tried.reason}")
    lines.append(f"Report: {report}")
    return "\n".join(lines), as_json(seen, report), 1 if seen.alarms else 0


@command(
    "audit",
    argument("--fix", action="store_true", help="mark what a crash left behind as such"),
)
def audit(options: Options, project: Project) -> Result:
    """List models and runs that nobody can trace."""
    from ..monitoring.audit import audit

    findings = audit(project.client, project.settings, fix=options.fix)
    lines = [
        f"{one.kind}: {one.what}. {one.advice[0].upper()}{one.advice[1:]}." for one in findings
    ]
    text = "\n".join(lines) or "Nothing found: every model and run can be traced."
    return text, {"findings": findings}, 1 if findings else 0


@command("config show")
def show(_: Options, project: Project) -> Result:
    """Print all settings as they are in force."""
    settings = project.settings.model_dump(mode="json")
    lines = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{key} = {value!r}" for key, value in values.items()), ""]
    return "\n".join(lines).rstrip(), settings, 0
