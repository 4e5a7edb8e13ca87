"""What each command calls, and what it says about it.

A command returns the text for people, the object for `--json`, and its exit code.
"""

import argparse
import importlib.util
import logging
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..utils import config
from ..utils.errors import ColumnsGone, GateRefused, UsageError

Result = tuple[str, dict[str, Any], int]
PACKAGE = __package__.rpartition(".")[0]


def run(name: str, options: argparse.Namespace) -> Result:
    """Run a command. SIGTERM becomes an exception, so that a stopped run is marked as such."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    return COMMANDS[name](options)


def _ingest(options: argparse.Namespace) -> Result:
    from ..data import ingest
    from ..preprocessing.schema import Rows

    settings, schema = config.load(), Rows.to_schema()
    try:
        if options.source:
            name = options.name or next(iter(settings.data.sources))
            done = [ingest.ingest(options.source, name, schema, settings)]
        else:
            done = ingest.ingest_all(schema, settings)
    except ColumnsGone as gone:
        raise GateRefused(f"{gone}{_leaning_on(gone.columns, settings)}") from None
    lines = [
        f"{one.table} version {one.version}: {one.rows:,} rows from {one.source}, {one.bad} bad "
        f"({settings.data.bad_rows}), fingerprint {one.fingerprint}"
        for one in done
    ]
    lines += [f"  {reason}: {count}" for one in done for reason, count in one.reasons.items()]
    return "\n".join(lines), {"tables": [asdict(one) for one in done]}, 0


def _leaning_on(columns: list[str], settings: config.Settings) -> str:
    """Say how much the champion needs these columns, where there is a champion."""
    from ..training import registry, tracking

    client = tracking.connect(settings)
    champion = registry.alias(client, registry.CHAMPION)
    if champion is None:
        return ""
    importance = registry.record(champion.run_id).importance
    known = [f"by {importance[name]:.4f} without {name}" for name in columns if name in importance]
    return f" The champion leans on it: its loss grows {', '.join(known)}." if known else ""


def _check(options: argparse.Namespace) -> Result:
    from ..data.check import fingerprint_of
    from ..data.compare import compare, describe
    from ..preprocessing.schema import Rows

    schema, root = Rows.to_schema(), config.load().tables
    if options.b is None and not options.save:
        raise UsageError("data check needs B to compare with, or --save FILE.")
    a = fingerprint_of(options.a, schema, root)
    if options.save:
        Path(options.save).write_text(a.to_json())
    if options.b is None:
        return f"Fingerprint {a.digest} in {options.save}", {"fingerprint": a.digest}, 0
    found = compare(a, fingerprint_of(options.b, schema, root))
    code = 1 if found.verdict == "different" else 0
    differences = [asdict(one) for one in found.differences]
    return describe(found), {"verdict": found.verdict, "differences": differences}, code


def _history(options: argparse.Namespace) -> Result:
    from ..data import tables

    settings = config.load()
    names = [options.name] if options.name else list(settings.data.sources)
    versions = [version for name in names for version in tables.history(settings.tables, name)]
    lines = [
        f"{one.table}@{one.version}  {one.written:%Y-%m-%d %H:%M:%S}  "
        f"{one.facts.get('rows', 0):,} rows  {one.facts.get('fingerprint', '')}  "
        f"{one.facts.get('source', '')}"
        for one in versions
    ]
    listed = [
        {name: fact for name, fact in one.facts.items() if name != "content"}
        | {"table": one.table, "version": one.version, "written": one.written}
        for one in versions
    ]
    return "\n".join(lines), {"versions": listed}, 0


def _adopt(options: argparse.Namespace) -> Result:
    from ..data.adopt import adopt
    from ..utils.paths import PACKAGE as FOLDER

    adopted = adopt(
        Path(options.file),
        options.target,
        options.key.split(",") if options.key else [],
        options.time,
        options.group,
        schema_file=FOLDER / "preprocessing" / "schema.py",
        config_file=config.CONFIG_FILE,
    )
    lines = [f"{options.file}: {adopted.task} of {options.target}"]
    lines += [f"  {role:9} {declared}" for _, role, declared in adopted.columns]
    lines += ["Look at these:", *(f"  {note}" for note in adopted.notes)] if adopted.notes else []
    text, _, _ = _ingest(argparse.Namespace(source=None, name=None))
    return "\n".join([*lines, text, "Next: make train"]), asdict(adopted), 0


def _sample(options: argparse.Namespace) -> Result:
    from ..data import sample
    from ..data.columns import describe
    from ..preprocessing.schema import Rows

    settings, schema = config.load(), Rows.to_schema()
    columns = describe(schema, settings.data)
    sample.write_file(Path(options.file), schema, columns, options.rows, options.seed)
    return (
        f"{options.rows:,} rows in {options.file}",
        {"rows": options.rows, "file": options.file},
        0,
    )


def _train(options: argparse.Namespace) -> Result:
    done = _train_elsewhere(options) if options.on else _train_here(options)
    metrics = done.record.metrics
    lines = [f"Version {done.version} (run {done.run_id})"]
    lines += [
        f"  {name:10} validation {metrics['validation'][name]:.4f}  test "
        f"{metrics['test'][name]:.4f}  dummy {metrics['baseline'][name]:.4f}"
        for name in metrics["validation"]
        if name in metrics["baseline"] and name in metrics["test"]
    ]
    verdict = "promoted: it is the champion now" if done.promoted else "not promoted"
    lines += [f"Version {done.version} {verdict}", *(f"  {reason}" for reason in done.reasons)]
    result = {
        "run_id": done.run_id,
        "version": done.version,
        "promoted": done.promoted,
        "reasons": done.reasons,
        "metrics": metrics,
        "data": {name: table.model_dump() for name, table in done.record.data.items()},
        "split": done.record.split,
    }
    return "\n".join(lines), result, 0 if done.promoted or options.no_promote else 1


def _train_here(options: argparse.Namespace) -> Any:
    from ..preprocessing.schema import Rows
    from ..training import tracking, train

    def run_here() -> train.Outcome:
        settings = config.load()
        return train.train(
            tracking.connect(settings),
            settings,
            Rows.to_schema(),
            promote=not options.no_promote,
            allow_dirty=options.allow_dirty,
        )

    if importlib.util.find_spec("..training.job", __package__) is None:
        return run_here()
    from ..training.job import is_here, run

    return run(run_here, options) if is_here() else run_here()


def _train_elsewhere(options: argparse.Namespace) -> Any:
    if importlib.util.find_spec(f"..training.{options.on}", __package__) is None:
        raise UsageError(
            f"This project does not train on {options.on}. To add that: "
            f"uvx copier update --data remote_training={options.on}"
        )
    from ..training.remote import train_on

    promote, dirty = not options.no_promote, options.allow_dirty
    return train_on(options.on, config.load(), promote=promote, allow_dirty=dirty)


def _promote(options: argparse.Namespace) -> Result:
    from ..preprocessing.schema import Rows
    from ..training import promotion, tracking

    settings, schema = config.load(), Rows.to_schema()
    decision = promotion.promote(
        tracking.connect(settings),
        options.version,
        settings,
        schema,
        allow_dirty=options.allow_dirty,
        challenger=options.challenger,
    )
    if decision.promoted:
        role = "challenger" if options.challenger else "champion"
        return f"Version {decision.version} is the {role}.", asdict(decision), 0
    lines = [f"Version {decision.version} was not promoted.", *decision.reasons]
    return "\n  ".join(lines), asdict(decision), 1


def _rollback(_: argparse.Namespace) -> Result:
    from ..training import promotion, tracking

    settings = config.load()
    decision = promotion.rollback(tracking.connect(settings), settings)
    text = f"Version {decision.champion} is the champion again; {decision.previous} was."
    return text, asdict(decision), 0


def _reproduce(options: argparse.Namespace) -> Result:
    from ..preprocessing.schema import Rows
    from ..training import tracking
    from ..training.reproduce import reproduce

    settings = config.load()
    found = reproduce(tracking.connect(settings), options.run, settings, Rows.to_schema())
    lines = [f"Run {options.run}: {found.verdict}"]
    lines += [f"  {one.what}: {one.then} then, {one.now} now" for one in found.differences]
    return "\n".join(lines), asdict(found), 0 if found.verdict == "identical" else 1


def _audit(options: argparse.Namespace) -> Result:
    from ..monitoring.audit import audit
    from ..training import tracking

    settings = config.load()
    findings = audit(tracking.connect(settings), settings, mend=options.mend)
    lines = [
        f"{one.kind}: {one.what}. {one.advice[0].upper()}{one.advice[1:]}." for one in findings
    ]
    text = "\n".join(lines) or "Nothing found: every model and run can be traced."
    return text, {"findings": [asdict(one) for one in findings]}, 1 if findings else 0


def _serve(options: argparse.Namespace) -> Result:
    if importlib.util.find_spec("..service.app", __package__) is None:
        raise UsageError(
            "This project delivers in batch and has no service. To add one: "
            "uvx copier update --data delivery=both"
        )
    from ..service.server import serve

    serve(config.load(), options.host, options.port, options.workers)
    return "", {}, 0


def _predict(options: argparse.Namespace) -> Result:
    if importlib.util.find_spec("..service.batch", __package__) is None:
        raise UsageError(
            "This project delivers over REST and scores no files. To add that: "
            "uvx copier update --data delivery=both"
        )
    from ..preprocessing.schema import Rows
    from ..service.batch import score_file
    from ..service.scoring import load_scorer
    from ..service.tally import keep
    from ..training import tracking

    settings, schema = config.load(), Rows.to_schema()
    scorer = load_scorer(tracking.connect(settings), settings, schema, options.version)
    if master := getattr(options, "spark", None):
        from ..service.spark import score_in_spark

        done = score_in_spark(master, options.input, options.output, scorer, settings, schema)
    else:
        output = Path(options.output)
        done = score_file(options.input, output, scorer, schema, settings.service.chunk_rows)
    keep(settings, done.tally)
    text = f"{done.scored:,} of {done.rows:,} rows scored by version {done.version}: {done.output}"
    if done.rejects:
        text += f"\n{done.rejected:,} rows were rejected, with reasons: {done.rejects}"
    return text, {name: value for name, value in vars(done).items() if name != "tally"}, 0


def _show(_: argparse.Namespace) -> Result:
    settings = config.load().model_dump(mode="json")
    lines = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{key} = {value!r}" for key, value in values.items()), ""]
    return "\n".join(lines).rstrip(), settings, 0


def _replay(options: argparse.Namespace) -> Result:
    _needs_service("replay")
    from ..service.journal import open_journal
    from ..service.replay import replay
    from ..training import tracking

    settings = config.load()
    found = replay(tracking.connect(settings), settings, open_journal(settings), options.id)
    made = datetime.fromtimestamp(found.time, UTC).isoformat(" ", "seconds")
    lines = [
        f"{found.verdict}: {found.prediction} by version {found.version} ({found.runtime}), {made}"
    ]
    lines += [f"  {one.what}: {one.then} then, {one.now} now" for one in found.differences]
    lines += [f"  {name} = {value}" for name, value in found.inputs.items()]
    return "\n".join(lines), asdict(found), 0 if found.verdict == "identical" else 1


def _outcomes(options: argparse.Namespace) -> Result:
    _needs_service("outcomes")
    from ..monitoring import performance
    from ..preprocessing.schema import Rows
    from ..service.journal import open_journal

    settings = config.load()
    journal = open_journal(settings)
    taken = performance.take_in(options.file, Rows.to_schema(), settings.data, journal)
    found = performance.by_version(performance.losses(journal.judged()))
    lines = [
        f"{taken.matched:,} of {taken.rows:,} outcomes belong to a prediction "
        f"({taken.unmatched:,} to none, {taken.rejected:,} can't be read)"
    ]
    lines += [
        f"  version {one.version} as {one.group}: {one.metric} {one.mean:.4f} "
        f"({one.low:.4f} to {one.high:.4f}) on {one.predictions:,} predictions"
        + ("" if one.value is None else f", worth {one.value:.4g} each")
        + ("" if one.value is None else f" ({one.value_low:.4g} to {one.value_high:.4g})")
        for one in found
    ]
    return "\n".join(lines), asdict(taken) | {"results": [asdict(one) for one in found]}, 0


def _export(options: argparse.Namespace) -> Result:
    _needs_service("journal export")
    from ..service.journal import export, open_journal

    since = time.time() - 86_400 * options.days
    rows = export(open_journal(config.load()), Path(options.output), since)
    return f"{rows:,} predictions in {options.output}", {"rows": rows, "output": options.output}, 0


def _needs_service(command: str) -> None:
    if importlib.util.find_spec("..service.replay", __package__) is None:
        raise UsageError(
            f"`{command}` reads the journal of the service, and this project delivers in batch. "
            "To add a service: uvx copier update --data delivery=both"
        )


def _monitor(_: argparse.Namespace) -> Result:
    from ..monitoring.monitor import as_json, monitor
    from ..monitoring.report import report_folder, write_report
    from ..training import tracking

    settings = config.load()
    seen = monitor(tracking.connect(settings), settings)
    report = write_report(seen, report_folder(settings))
    lines = [
        f"{seen.verdict}: version {seen.version}, {seen.rows:,} predictions in {seen.days:g} days"
    ]
    lines += [f"  {one.kind}: {one.what}; {one.advice}" for one in seen.alarms]
    if (tried := seen.comparison) is not None:
        lines.append(f"  challenger against champion: {tried.verdict}; {tried.reason}")
    lines.append(f"Report: {report}")
    return "\n".join(lines), as_json(seen, report), 1 if seen.alarms else 0


COMMANDS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "data ingest": _ingest,
    "data check": _check,
    "data history": _history,
    "data adopt": _adopt,
    "data sample": _sample,
    "train": _train,
    "promote": _promote,
    "rollback": _rollback,
    "reproduce": _reproduce,
    "audit": _audit,
    "serve": _serve,
    "predict": _predict,
    "replay": _replay,
    "outcomes": _outcomes,
    "journal export": _export,
    "monitor": _monitor,
    "config show": _show,
}
