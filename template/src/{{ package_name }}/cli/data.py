"""The commands about data."""

from ..utils.errors import ColumnsGone, GateRefused, Stop, UsageError
from .command import Options, Project, Result, argument, command


@command(
    "data ingest",
    argument("source", nargs="?", metavar="SOURCE", help="all of [data.sources] by default"),
    argument("--name", metavar="TABLE", help="the first table of [data.sources] by default"),
)
def ingest(options: Options, project: Project) -> Result:
    """Make the rows of a source the next version of a table."""
    from ..data import ingest

    settings, schema = project.settings, project.schema
    try:
        if options.source:
            name = options.name or next(iter(settings.data.sources))
            done = [ingest.ingest(options.source, name, schema, settings)]
        else:
            done = ingest.ingest_all(schema, settings)
    except ColumnsGone as gone:
        raise GateRefused(f"{gone}{_leaning_on(gone.columns, project)}") from None
    lines = []
    for one in done:
        if one.table not in settings.data.sources:
            lines.append(f"{one.table} is not in [data.sources]: training does not read it.")
        fewer = one.before and 2 * one.rows < one.before
        before = f" ({one.before:,} in the version before)" if fewer else ""
        lines.append(
            f"{one.table} version {one.version}: {one.rows:,} rows{before} from {one.source}, "
            f"{one.bad} bad ({settings.data.bad_rows}), fingerprint {one.fingerprint}"
        )
        lines += [f"  {reason}: {count}" for reason, count in one.reasons.items()]
    return "\n".join(lines), {"tables": done}, 0


def _leaning_on(columns: list[str], project: Project) -> str:
    """Say how much the champion needs these columns, where there is a champion."""
    from ..training import registry

    try:
        importance = registry.record(registry.champion(project.client).run_id).importance
    except Stop:  # there is none, or nobody can say what it leans on
        return ""
    known = [f"by {importance[name]:.4f} without {name}" for name in columns if name in importance]
    return f" The champion leans on it: its loss grows {', '.join(known)}." if known else ""


@command(
    "data check",
    argument("a", metavar="A"),
    argument("b", nargs="?", metavar="B"),
    argument("--save", metavar="FILE", help="keep A's fingerprint, to carry elsewhere"),
)
def check(options: Options, project: Project) -> Result:
    """Compare two tables, files, versions (TABLE@N) or saved fingerprints."""
    from pathlib import Path

    from ..data.check import fingerprint_of
    from ..data.compare import compare, describe

    schema, root = project.schema, project.settings.tables
    if options.b is None and not options.save:
        raise UsageError("data check needs B to compare with, or --save FILE.")
    a = fingerprint_of(options.a, schema, root)
    if options.save:
        Path(options.save).write_text(a.to_json())
    if options.b is None:
        return f"Fingerprint {a.digest} in {options.save}", {"fingerprint": a.digest}, 0
    found = compare(a, fingerprint_of(options.b, schema, root))
    return describe(found), vars(found), int(found.verdict == "different")


@command("data history", argument("--name", metavar="TABLE", help="all tables by default"))
def history(options: Options, project: Project) -> Result:
    """List the versions of the tables."""
    from ..data import tables

    names = [options.name] if options.name else list(project.settings.data.sources)
    lines, listed = [], []
    for one in (one for name in names for one in tables.history(project.settings.tables, name)):
        facts = {name: fact for name, fact in one.facts.items() if name != "content"}
        listed.append(facts | {"table": one.table, "version": one.version, "written": one.written})
        lines.append(
            f"{one.table}@{one.version}  {one.written:%Y-%m-%d %H:%M:%S}  "
            f"{facts.get('rows', 0):,} rows  {facts.get('fingerprint', '')}  "
            f"{facts.get('source', '')}"
        )
    return "\n".join(lines), {"versions": listed}, 0


@command(
    "data adopt",
    argument("file", metavar="FILE", help="a .csv or .parquet file"),
    argument("--target", required=True, metavar="T", help="the column to predict"),
    argument("--key", metavar="K", help="the column(s) that name a row, comma between"),
    argument("--time", metavar="C", help="when the row came to be"),
    argument("--group", metavar="G", help="the entity that owns several rows"),
)
def adopt(options: Options, project: Project) -> Result:
    """Take over your own data: writes schema.py and [data]."""
    from datetime import datetime
    from pathlib import Path

    import pandera.pandas as pa

    from ..data.adopt import adopt
    from ..utils.config import CONFIG_FILE, Data
    from ..utils.paths import PACKAGE

    schema_file = PACKAGE / "preprocessing" / "schema.py"
    kept = project.settings.var / "before-adopt" / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    ingested: list[str] = []

    def take_in(schema: pa.DataFrameSchema, data: Data) -> None:
        project.schema = schema
        policy = project.settings.data.model_dump(include={"bad_rows", "max_bad_share"})
        now = data.model_copy(update=policy)  # as the environment has it
        project.settings = project.settings.model_copy(update={"data": now})
        ingested.append(ingest(Options(source=None, name=None), project)[0])
        kept.mkdir(parents=True, exist_ok=True)
        for file in (schema_file, CONFIG_FILE):
            (kept / file.name).write_bytes(file.read_bytes())

    adopted = adopt(
        Path(options.file),
        options.target,
        options.key.split(",") if options.key else [],
        options.time,
        options.group,
        schema_file=schema_file,
        config_file=CONFIG_FILE,
        accept=take_in,
    )
    lines = [f"{options.file}: {adopted.task} of {options.target}"]
    lines += [f"  {role:9} {declared}" for _, role, declared in adopted.columns]
    lines += ["Look at these:", *(f"  {note}" for note in adopted.notes)]
    lines += [*ingested, f"The former schema.py and config.toml are in {kept}", "Next: make train"]
    return "\n".join(lines), vars(adopted), 0


@command(
    "data sample",
    argument("file", metavar="FILE", help="a .csv, .parquet or .delta"),
    argument("--rows", type=int, default=20_000, metavar="N"),
    argument("--seed", type=int, default=1, metavar="S"),
)
def sample(options: Options, project: Project) -> Result:
    """Write invented rows that keep the schema."""
    from pathlib import Path

    from ..data import sample
    from ..data.columns import describe

    columns = describe(project.schema, project.settings.data)
    sample.write_file(Path(options.file), project.schema, columns, options.rows, options.seed)
    result = {"rows": options.rows, "file": options.file}
    return f"{options.rows:,} rows in {options.file}", result, 0
