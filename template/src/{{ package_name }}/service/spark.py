"""Scores on a Spark cluster what one machine can't hold, through the same scorer.

The driver proves the model and ships it with the package and its environment. Each executor lets it
answer the golden sample again before it scores a row.
"""

import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import distributions
from itertools import accumulate
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pyarrow
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JError
from pyspark import SparkFiles, StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from ..data.validation import declared_types
from ..training.artifact import open_artifact
from ..utils.config import Settings, without_password
from ..utils.errors import GateRefused, UsageError
from ..utils.paths import PACKAGE
from .batch import Scored, score_chunk
from .scoring import Scorer, askable, label_text
from .tally import Tally

PLACE = "_place"
"""Where Spark read a row: its partition in the upper bits, its number in there in the lower 33."""
LOW = 2**33 - 1
LOGGED_TWICE = [
    "org.apache.spark.executor.Executor",
    "org.apache.spark.scheduler.TaskSetManager",
    "org.apache.spark.sql.execution.streaming.sinks.FileStreamSink",
]
"""They log, with its stack, what ends the command with one line anyway."""


def score_in_spark(  # noqa: PLR0913, PLR0917 - what `batch.score_file` takes, and the cluster
    master: str,
    source: str,
    output: str,
    scorer: Scorer,
    settings: Settings,
    schema: pa.DataFrameSchema,
) -> Scored:
    """Score every row of `source` into the folder `output`, as `batch.score_file` does.

    Both are paths that driver and executors see alike, or URIs that Spark opens. `master` is the
    cluster's URL, as `spark-submit --master` takes it.

    Raises
    ------
    UsageError
        The source can't be read or lacks an input, no row could be scored, or the cluster fails.
    GateRefused
        An executor fails a gate of `training.artifact`.
    """
    if not output.endswith((".csv", ".parquet")):
        raise UsageError(f"{output}: Spark writes names that end in .csv or .parquet.")
    asked = askable(schema, scorer.artifact.columns)
    key = schema.select_columns(scorer.artifact.about.roles.key)
    with _session(master, settings, scorer.artifact.digest) as spark:
        rows = _read(spark, source)
        if absent := [name for name in asked.columns if name not in rows.columns]:
            raise UsageError(f"{source} lacks the column {', '.join(absent)}.")
        key = key if set(key.columns) <= set(rows.columns) else pa.DataFrameSchema()
        names = [f"`{name.replace('`', '``')}`" for name in [*key.columns, *asked.columns]]
        kinds = _kinds(scorer, asked, key)
        strict = settings.service.environment == "refuse"
        model = (scorer.artifact.digest, scorer.version, strict)
        answer = partial(_answer, model, asked, key, kinds)
        answered = rows.select(*names, PLACE).mapInArrow(answer, from_arrow_schema(kinds))
        return _write(spark, answered.persist(StorageLevel.DISK_ONLY), output, scorer.version)


@contextmanager
def _session(master: str, settings: Settings, digest: str) -> Iterator[SparkSession]:
    """Ship package, model and, to other machines, the environment; stop when all is done.

    Where PYSPARK_PYTHON is set, the executors have an environment of their own.
    """
    local = re.match(r"local(\[|$)", master) is not None
    packed = None if local or "PYSPARK_PYTHON" in os.environ else _pack(settings.var / "spark")
    os.environ.setdefault("PYSPARK_PYTHON", "environment/bin/python" if packed else sys.executable)
    options: dict[str, bool | float | int | str | None] = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.caseSensitive": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(settings.service.chunk_rows),
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
    }
    spark = None
    with tempfile.TemporaryDirectory() as folder:
        model = shutil.make_archive(f"{folder}/model", "zip", settings.var / "models" / digest)
        code = shutil.make_archive(f"{folder}/code", "zip", PACKAGE.parent, PACKAGE.name)
        try:
            spark = SparkSession.builder.master(master).config(map=options).getOrCreate()
            for noisy in LOGGED_TWICE:
                log4j = spark._jvm.org.apache.logging.log4j
                log4j.core.config.Configurator.setLevel(noisy, log4j.Level.OFF)
            spark.sparkContext.addPyFile(code)
            spark.sparkContext.addArchive(f"{model}#model")
            if packed:
                spark.sparkContext.addArchive(f"{packed}#environment")
            yield spark
        except (PySparkException, Py4JError) as error:
            if refused := re.search(r"GateRefused: (.*)", str(error)):
                raise GateRefused(f"An executor refused. {refused[1]}") from None
            causes = re.findall(r"^Caused by: [\w.]+: (.*)", str(error), re.MULTILINE)
            causes = causes or re.findall(r"^[\w.]+Error: .*", str(error), re.MULTILINE)
            why = causes[-1] if causes else str(error).splitlines()[0]
            raise UsageError(f"Spark at {master} failed: {why}") from None
        finally:
            if spark:
                spark.stop()


def _pack(folder: Path) -> Path:
    """Pack this environment for the executors, once for each set of installed packages."""
    installed = sorted(f"{one.name} {one.version}" for one in distributions())
    packed = folder / f"{sha256(' '.join(installed).encode()).hexdigest()[:16]}.tar.gz"
    if not packed.exists():
        folder.mkdir(parents=True, exist_ok=True)
        scratch = packed.with_name(f".{packed.name}.{os.getpid()}")
        try:
            with tarfile.open(scratch, "w:gz", compresslevel=1) as file:  # Spark brings itself
                file.add(sys.prefix, "", filter=lambda o: None if "/pyspark" in o.name else o)
            scratch.rename(packed)
        finally:
            scratch.unlink(missing_ok=True)
    return packed


def _read(spark: SparkSession, source: str) -> DataFrame:
    """Return the rows as they stand in the source, text in a CSV, each with its place."""
    if source.lower().endswith(".csv"):
        read = spark.read.csv(source, header=True, multiLine=True, escape='"', mode="FAILFAST")
        # Such a file is read by one task, as a line may end inside a value; many can score it.
        return read.withColumn(PLACE, sql.monotonically_increasing_id()).repartition(
            4 * spark.sparkContext.defaultParallelism
        )
    reader = spark.read
    files = [source]
    if not source.lower().endswith((".parquet", ".pq")):
        try:
            table = DeltaTable(source)
            table.to_pyarrow_dataset()  # refuses what plain Parquet can't tell: deletion vectors
        except DeltaError as error:
            shown = without_password(source)
            raise UsageError(f"{shown}: Spark scores .csv, .parquet and Delta: {error}") from None
        declared = StructType.fromJson(json.loads(table.schema().to_json()))
        reader, files = reader.schema(declared).option("basePath", source), table.file_uris()
    return reader.parquet(*files).withColumn(PLACE, sql.monotonically_increasing_id())


def _kinds(scorer: Scorer, asked: pa.DataFrameSchema, key: pa.DataFrameSchema) -> pyarrow.Schema:
    """Return what executors give back. In each row one of the columns is filled."""
    whole, real, text = pyarrow.int64(), pyarrow.float64(), pyarrow.string()
    named = pd.DataFrame({n: pd.Series(dtype=kind) for n, kind in declared_types(key).items()})
    good = [
        ("row", whole),
        *pyarrow.Schema.from_pandas(named, preserve_index=False),
        ("prediction", pyarrow.array(scorer.classes or [0.0]).type),
        *((f"probability_{label_text(label)}", real) for label in scorer.classes or []),
        ("model_version", whole),
    ]
    bad = [*((name, text) for name in asked.columns), ("row", whole), ("reason", text)]
    structs = [("good", pyarrow.struct(good)), ("bad", pyarrow.struct(bad))]
    return pyarrow.schema([*structs, ("tally", text)])


@cache
def _scorer(digest: str, version: int, strict: bool) -> Scorer:
    """Return the scorer in an executor, proved once in each of its processes."""
    return Scorer(open_artifact(Path(SparkFiles.get("model")), digest, strict=strict), version)


def _answer(
    model: tuple[str, int, bool],
    asked: pa.DataFrameSchema,
    key: pa.DataFrameSchema,
    kinds: pyarrow.Schema,
    batches: Iterable[pyarrow.RecordBatch],
) -> Iterator[pyarrow.RecordBatch]:
    """Yield, in an executor, the predictions and rejected rows of a partition, then its tally."""
    scorer, tally = _scorer(*model), Tally(version=model[1])

    def only(name: str, found: pyarrow.Array) -> pyarrow.RecordBatch:
        filled = [
            found if kind.name == name else pyarrow.nulls(len(found), kind.type) for kind in kinds
        ]
        return pyarrow.RecordBatch.from_arrays(filled, schema=kinds)

    for batch in batches:
        places = batch.column(PLACE).to_numpy()
        good, bad, counts = score_chunk(batch, scorer, asked, key)
        tally += counts
        for name, found in {"good": good, "bad": bad}.items():
            placed = found.assign(row=places[found["row"].to_numpy(dtype=int)])
            fields = pyarrow.schema(kinds.field(name).type.fields)
            rows = pyarrow.Table.from_pandas(placed, fields, preserve_index=False)
            yield only(name, rows.to_struct_array().combine_chunks())  # texts come in pieces
    yield only("tally", pyarrow.array([tally.model_dump_json()]))


def _write(spark: SparkSession, answered: DataFrame, output: str, version: int) -> Scored:
    """Write the predictions and the rejected rows, numbered as they stand in the source."""
    counted = answered.where("tally is not null").select("tally").collect()
    tally = sum((Tally.model_validate_json(row.tally) for row in counted), Tally(version=version))
    place = sql.expr("coalesce(good.row, bad.row)")
    placed = answered.where("tally is null").withColumn("place", place)
    placed = placed.selectExpr("good", "bad", "shiftright(place, 33) part", f"place & {LOW} nth")
    parts = placed.groupBy("part").agg(sql.max("nth") + 1, sql.count("good")).sort("part").collect()
    rows, scored = sum(part[1] for part in parts), sum(part[2] for part in parts)
    if not rows:
        raise UsageError("The source holds no rows.")
    before = accumulate((part[1] for part in parts), initial=0)
    starts = [(part[0], start) for part, start in zip(parts, before, strict=False)]
    start = sql.broadcast(spark.createDataFrame(starts, "part long, start long"))
    placed = placed.join(start, "part").withColumn("row", sql.expr("start + nth"))
    stem, _, kind = output.rpartition(".")
    rejects = f"{stem}.rejected.{kind}"
    for name, path, wanted in ("bad", rejects, rows - scored), ("good", output, scored):
        found = placed.where(f"{name} is not null").withColumn(
            name, sql.col(name).withField("row", sql.col("row"))
        )
        _appear(spark, found.select(f"{name}.*") if wanted else None, path)
    if not scored:
        raise UsageError(f"Not one of {rows} rows could be scored; {rejects} says why.")
    aside = rejects if scored < rows else None
    return Scored(rows, scored, rows - scored, version, output, aside, tally)


def _appear(spark: SparkSession, found: DataFrame | None, path: str) -> None:
    """Put a folder in the place of the old one once it is whole; none where there are no rows."""
    hadoop = spark._jvm.org.apache.hadoop.fs.Path
    files = hadoop(path).getFileSystem(spark._jsc.hadoopConfiguration())
    folder, slash, name = path.rpartition("/")
    scratch = f"{folder}{slash}.{name}.{os.getpid()}"
    try:
        if found is not None:
            quoted = found.write.options(header=True, escape='"')  # as all but Spark read CSV
            quoted.format(name.rpartition(".")[2]).save(scratch)
        files.delete(hadoop(path), True)
        if found is not None:
            files.rename(hadoop(scratch), hadoop(path))
    finally:
        files.delete(hadoop(scratch), True)
