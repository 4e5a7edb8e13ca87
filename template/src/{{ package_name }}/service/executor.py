"""What Spark's executors run: they read what is theirs, answer it, and number what is written."""

import secrets
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np
import pandera.pandas as pa
import pyarrow
from pyarrow.dataset import Fragment
from pydantic import BaseModel
from pyspark import SparkFiles, TaskContext

from ..data.sinks import atomic_writer
from ..data.sources import UNREADABLE
from ..training.artifact import open_artifact
from .batch import score_chunk
from .scoring import Scorer
from .tally import Tally

Batches = Iterator[pyarrow.RecordBatch]
PLACE = "_place"
"""Where a row was read: the part of the source in the upper bits, its number in there below."""
BITS = 33  # as Spark's monotonically_increasing_id has them
LOW = 2**BITS - 1


@cache
def _scorer(digest: str, version: int, strict: bool) -> Scorer:
    """Return the scorer, proved once in each process of an executor."""
    return Scorer(open_artifact(Path(SparkFiles.get("model")), digest, strict=strict), version)


def columns_kept(folder: Path | None) -> pyarrow.Schema:
    """Return what is kept between the pass that scores and the one that writes.

    A chunk of answers is one value, a stream of Arrow or the path of its file in `folder`: Spark
    keeps it without looking into it.
    """
    chunk = pyarrow.string() if folder else pyarrow.binary()
    return pyarrow.schema({"good": chunk, "bad": chunk, "summary": pyarrow.string()})


class Summary(BaseModel):
    """What an executor tells of the rows it has scored."""

    tally: Tally
    scored: int = 0
    ends: Counter[int] = Counter()
    """By part of the source: one more than the highest number of a row seen of it."""


def answer(  # noqa: PLR0913, PLR0917 - the driver binds all but the last
    model: tuple[str, int, bool],
    asked: pa.DataFrameSchema,
    key: pa.DataFrameSchema,
    kinds: dict[str, pyarrow.Schema],
    folder: Path | None,
    batches: Batches,
) -> Batches:
    """Yield the answers to a partition, a row for each chunk, then its `Summary`."""
    if folder and not folder.exists():
        said = f"{folder.parent} is no folder that {gethostname()} shares with the driver"
        raise OSError(f"{said}: name one that all machines see, or an object store")
    scorer, columns = _scorer(*model), columns_kept(folder)
    summary = Summary(tally=Tally(version=scorer.version))
    for batch in batches:
        places = batch.column(PLACE).to_numpy()
        good, bad, counts = score_chunk(batch, scorer, asked, key)
        summary.tally += counts
        summary.scored += len(good)
        of, number = places >> BITS, places & LOW
        for source in np.unique(of).tolist():
            end = int(number[of == source].max()) + 1
            summary.ends[source] = max(summary.ends[source], end)
        chunk = {}
        for name, found in {"good": good, "bad": bad}.items():
            placed = found.assign(row=places[found["row"].to_numpy(dtype=int)])
            rows = pyarrow.Table.from_pandas(placed, kinds[name], preserve_index=False)
            chunk[name] = _keep(rows, folder) if len(found) else None
        yield pyarrow.RecordBatch.from_pylist([chunk], columns)
    yield pyarrow.RecordBatch.from_pylist([{"summary": summary.model_dump_json()}], columns)


def _keep(rows: pyarrow.Table, folder: Path | None) -> bytes | str:
    path = str(folder / secrets.token_hex(8)) if folder else ""
    sink = pyarrow.OSFile(path, "wb") if folder else pyarrow.BufferOutputStream()
    with sink, pyarrow.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return path if folder else bytes(sink.getvalue())


def read(pieces: list[Fragment], scan: dict[str, Any], numbers: Batches) -> Batches:
    """Yield the rows of the pieces whose numbers are given, each with its place."""
    for piece in chain.from_iterable(batch.column(0).to_pylist() for batch in numbers):
        place = piece << BITS
        try:
            for batch in pieces[piece].to_batches(**scan):
                places = pyarrow.array(np.arange(place, place + len(batch)))
                yield batch.replace_schema_metadata().append_column(PLACE, places)
                place += len(batch)
        except UNREADABLE as error:
            raise OSError(f"{pieces[piece].path} can't be read: {error}") from None


def numbered(starts: np.ndarray, batches: Batches) -> Batches:
    """Yield the rows of kept chunks, numbered as they stand in the source."""
    for chunk in chain.from_iterable(batch.column(0).to_pylist() for batch in batches):
        stream = pyarrow.input_stream(chunk) if isinstance(chunk, str) else chunk
        for rows in pyarrow.ipc.open_stream(stream):
            at = rows.schema.get_field_index("row")
            places = rows.column(at).to_numpy()
            yield rows.set_column(at, "row", starts[places >> BITS] + (places & LOW))


def written(output: Path, starts: np.ndarray, batches: Batches) -> Batches:
    """Write the rows of kept chunks, numbered, into a file of the folder `output`."""
    part = TaskContext.get().partitionId()
    with atomic_writer(output / f"part-{part:05}{output.suffix}") as write:
        for rows in numbered(starts, batches):
            write(pyarrow.Table.from_batches([rows]))
    yield from ()
