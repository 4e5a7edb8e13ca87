"""What Spark's executors run: they read what is theirs, answer it, and number what is written."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandera.pandas as pa
import pyarrow
from pyarrow.dataset import Fragment
from pydantic import BaseModel
from pyspark import SparkFiles

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
KEPT = pyarrow.schema(
    {"good": pyarrow.binary(), "bad": pyarrow.binary(), "summary": pyarrow.string()}
)
"""What is kept of the answers between the pass that scores and the one that writes."""


@cache
def _scorer(digest: str, version: int, strict: bool) -> Scorer:
    """Return the scorer, proved once in each process of an executor."""
    return Scorer(open_artifact(Path(SparkFiles.get("model")), digest, strict=strict), version)


class Summary(BaseModel):
    """What an executor tells of the rows it has scored."""

    tally: Tally
    scored: int = 0
    ends: Counter[int] = Counter()
    """By part of the source: one more than the highest number of a row seen of it."""


def answer(
    model: tuple[str, int, bool],
    asked: pa.DataFrameSchema,
    key: pa.DataFrameSchema,
    kinds: dict[str, pyarrow.Schema],
    batches: Batches,
) -> Batches:
    """Yield the answers to a partition, a row for each chunk, then its `Summary`.

    The answers to a chunk are one value, a stream of Arrow: Spark keeps it without looking into it.
    """
    scorer = _scorer(*model)
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
            sink = pyarrow.BufferOutputStream()
            with pyarrow.ipc.new_stream(sink, rows.schema) as stream:
                stream.write_table(rows)
            chunk[name] = sink.getvalue().to_pybytes() if len(found) else None
        yield pyarrow.RecordBatch.from_pylist([chunk], KEPT)
    yield pyarrow.RecordBatch.from_pylist([{"summary": summary.model_dump_json()}], KEPT)


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
    for stream in chain.from_iterable(batch.column(0) for batch in batches):
        for rows in pyarrow.ipc.open_stream(stream.as_buffer()):
            at = rows.schema.get_field_index("row")
            places = rows.column(at).to_numpy()
            yield rows.set_column(at, "row", starts[places >> BITS] + (places & LOW))
