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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JError
from pyarrow.dataset import Dataset, ParquetFragmentScanOptions, dataset
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from ..data.sources import UNREADABLE
from ..data.tables import rows_of
from ..data.validation import declared_types
from ..utils.config import Settings
from ..utils.errors import GateRefused, UsageError
from ..utils.paths import PACKAGE
from .batch import Scored, rejects_of
from .executor import PLACE, Batches, Summary, answer, columns_kept, numbered, read, written
from .scoring import Scorer, input_schema, label_text
from .tally import Tally

PARTS_PER_CORE = 4
LOGGED_TWICE = [
    "org.apache.spark.executor.Executor",
    "org.apache.spark.scheduler.TaskSetManager",
    "org.apache.spark.storage.BlockManager",
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

    UsageError where the source can't be read or lacks an input, or the
    cluster fails; GateRefused where an executor fails a gate of `training.artifact`.
    """
    if not output.endswith((".csv", ".parquet")):
        raise UsageError(f"{output}: Spark writes names that end in .csv or .parquet.")
    rejects = rejects_of(source, output)
    asked = input_schema(schema, scorer.artifact.columns)
    key = schema.select_columns(scorer.artifact.about.roles.key)
    with _beside(output) as folder, _session(master, settings, scorer.artifact.digest) as spark:
        found = _open(spark, source)
        if absent := [name for name in asked.columns if name not in found.schema.names]:
            raise UsageError(f"{source} lacks the column {', '.join(absent)}.")
        key = key if set(key.columns) <= set(found.schema.names) else pa.DataFrameSchema()
        kinds = _kinds(scorer, asked, key)
        model = (scorer.artifact.digest, scorer.version, settings.service.environment == "refuse")
        answers = partial(answer, model, asked, key, kinds, folder)
        reading: Callable[[Batches], Batches] = iter  # what Spark has read
        names = [*key.columns, *asked.columns]
        if isinstance(found, DataFrame):
            rows = found.select(*(f"`{name.replace('`', '``')}`" for name in names), PLACE)
        else:
            pieces = [one for file in found.get_fragments() for one in file.split_by_row_group()]
            tasks = min(len(pieces), PARTS_PER_CORE * spark.sparkContext.defaultParallelism)
            rows = spark.range(0, len(pieces), 1, max(tasks, 1))
            scan = {"schema": found.schema, "columns": names, "use_threads": False}
            scan["batch_size"] = settings.service.chunk_rows
            scan["fragment_scan_options"] = ParquetFragmentScanOptions(pre_buffer=False)
            reading = partial(read, pieces, scan)
        columns = from_arrow_schema(columns_kept(folder))
        kept = rows.mapInArrow(lambda given: answers(reading(given)), columns)
        kept = kept.persist(StorageLevel.DISK_ONLY)
        return _write(kept, kinds, (output, rejects), folder, scorer.version)


@contextmanager
def _beside(output: str) -> Iterator[Path | None]:
    """Make a folder for executors to write to, None for an output in an object store.

    To write Parquet through the JVM takes three times as long.
    """
    if "://" in output:
        yield None
        return
    path = Path(output).absolute()
    folder = path.with_name(f".{path.name}.{os.getpid()}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    with tempfile.TemporaryDirectory() as folder:
        model = shutil.make_archive(f"{folder}/model", "zip", settings.var / "models" / digest)
        code = shutil.make_archive(f"{folder}/code", "zip", PACKAGE.parent, PACKAGE.name)
        try:
            with SparkSession.builder.master(master).config(map=options).getOrCreate() as spark:
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
            causes = re.findall(r"^(?:Caused by)?: [\w.]+: (.*)", str(error), re.MULTILINE)
            causes = causes or re.findall(r"^[\w.]+Error: .*", str(error), re.MULTILINE)
            why = causes[-1] if causes else str(error).splitlines()[0]
            raise UsageError(f"Spark at {master} failed: {why}") from None


def _pack(folder: Path) -> Path:
    """Pack this environment for the executors, once for each set of installed packages."""
    installed = sorted(f"{one.name} {one.version}" for one in distributions())
    packed = folder / f"{sha256(' '.join(installed).encode()).hexdigest()[:16]}.tar.gz"
    if not packed.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            whole = Path(scratch, packed.name)
            with tarfile.open(whole, "w:gz", compresslevel=1) as file:  # Spark brings itself
                file.add(sys.prefix, "", filter=lambda o: None if "/pyspark" in o.name else o)
            whole.rename(packed)
    return packed


def _open(spark: SparkSession, source: str) -> DataFrame | Dataset:
    """Return a table of files for the executors to read, or else the rows, each with its place.

    Spark reads CSV, as text, and what is in an object store. To get a row of Parquet through its
    JVM takes half as long as to score it.
    """
    local = "://" not in source
    if local and not Path(source).exists():
        raise UsageError(f"{source} does not exist.")
    if source.lower().endswith(".csv"):
        read = spark.read.csv(source, header=True, multiLine=True, escape='"', mode="FAILFAST")
        # Such a file is read by one task, as a line may end inside a value; many can score it.
        return read.withColumn(PLACE, sql.monotonically_increasing_id()).repartition(
            PARTS_PER_CORE * spark.sparkContext.defaultParallelism
        )
    plain = source.lower().endswith((".parquet", ".pq"))
    try:
        if plain and local:
            return dataset(Path(source).absolute(), format="parquet", partitioning="hive")
        if plain:
            rows = spark.read.parquet(source)
        else:
            table = DeltaTable(Path(source).absolute() if local else source)
            found = rows_of(table)  # refuses what plain Parquet can't tell, as Spark
            if local:
                return found
            declared = StructType.fromJson(json.loads(table.schema().to_json()))
            reader = spark.read.schema(declared).option("basePath", source)
            rows = reader.parquet(*table.file_uris())
    except (DeltaError, *UNREADABLE) as error:
        raise UsageError(f"{source}: Spark scores .csv, .parquet and Delta: {error}") from None
    return rows.withColumn(PLACE, sql.monotonically_increasing_id())


def _kinds(
    scorer: Scorer, asked: pa.DataFrameSchema, key: pa.DataFrameSchema
) -> dict[str, pyarrow.Schema]:
    """Return the columns of predictions (`good`) and of rejected rows (`bad`)."""
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
    return {"good": pyarrow.schema(good), "bad": pyarrow.schema(bad)}


def _write(
    kept: DataFrame,
    kinds: dict[str, pyarrow.Schema],
    outputs: tuple[str, str],
    folder: Path | None,
    version: int,
) -> Scored:
    """Write the predictions and the rejected rows."""
    spark = kept.sparkSession
    ended = kept.where("summary is not null").collect()
    told = [Summary.model_validate_json(row.summary) for row in ended]
    tally = sum((one.tally for one in told), Tally(version=version))
    scored = sum(one.scored for one in told)
    ends = Counter[int]()
    for one in told:
        ends |= one.ends  # the larger of the two
    rows = ends.total()
    if not rows:
        raise UsageError("The source holds no rows.")
    sizes = np.array([ends[part] for part in range(max(ends) + 1)])
    starts = sizes.cumsum() - sizes
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 1)  # a row is a whole chunk now
    output, rejects = outputs
    for name, path, wanted in ("bad", rejects, rows - scored), ("good", output, scored):
        if path == output and not scored:
            continue  # what was written before stays
        chunks = kept.select(name).where(f"{name} is not null")
        if folder:
            _put(chunks if wanted else None, starts, folder / Path(path).name, Path(path))
        else:
            found = chunks.mapInArrow(partial(numbered, starts), from_arrow_schema(kinds[name]))
            _appear(spark, found if wanted else None, path)
    aside = rejects if scored < rows else None
    return Scored(rows, scored, rows - scored, version, output, aside, tally)


def _put(chunks: DataFrame | None, starts: np.ndarray, scratch: Path, path: Path) -> None:
    """Let the executors write a folder, then put it in the place of what was there."""
    if chunks is not None:
        chunks.mapInArrow(partial(written, scratch, starts), "nothing int").collect()
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if chunks is not None:
        scratch.rename(path)


def _appear(spark: SparkSession, found: DataFrame | None, path: str) -> None:
    """As `_put`, in an object store, whose files the JVM writes."""
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
