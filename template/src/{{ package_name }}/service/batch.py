"""Scores a file or table of any length, holding a few chunks at a time."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
from tqdm import tqdm

from ..data.sinks import atomic_writer
from ..data.sources import read_batches
from ..data.validation import conform, declared_types, nullable_type, screen
from ..utils.errors import UsageError
from .scoring import Scorer, input_schema, label_text
from .tally import Tally, count

Chunk = tuple[pd.DataFrame, pd.DataFrame, Tally]
AHEAD = 2
"""Chunks that are scored at the same time."""


@dataclass(frozen=True)
class Scored:
    """What a batch run did."""

    rows: int
    scored: int
    rejected: int
    version: int
    output: str
    rejects: str | None
    """Where the rejected rows are, with the reason of each."""
    tally: Tally = field(repr=False, compare=False)
    """The inputs and answers as counts, for monitoring."""


def score_file(
    source: str, output: Path, scorer: Scorer, schema: pa.DataFrameSchema, chunk_rows: int
) -> Scored:
    """Score every row of `source` into `output`.

    The output holds, for each row scored, its place in the source (`row`), its key, the prediction
    and the model's version. It appears when all rows are through, never half; where none could be
    scored, what was there stays.

    UsageError where the source can't be read or lacks an input, or the output would take its
    place.
    """
    rejects = Path(rejects_of(source, str(output)))
    asked = input_schema(schema, scorer.artifact.columns)
    key = schema.select_columns(scorer.artifact.about.roles.key)
    score = partial(score_chunk, scorer=scorer, asked=asked, key=key)
    rows, scored, tally = 0, 0, Tally(version=scorer.version)
    progress = tqdm(unit=" rows", unit_scale=True, disable=None, desc="predict")
    with progress, atomic_writer(output) as write, atomic_writer(rejects) as reject:
        for good, bad, counts in _ahead(score, read_batches(source, chunk_rows)):
            write(good.assign(row=good["row"] + rows))
            reject(bad.assign(row=bad["row"] + rows))
            rows += len(good) + len(bad)
            scored += len(good)
            tally += counts
            progress.update(len(good) + len(bad))
        if not rows:
            raise UsageError(f"{source} holds no rows.")
    rejected = rows - scored
    if not rejected and rejects.is_file():
        rejects.unlink()  # those of an earlier run
    aside = str(rejects) if rejected else None
    return Scored(rows, scored, rejected, scorer.version, str(output), aside, tally)


def rejects_of(source: str, output: str) -> str:
    """Return where the rejected rows go; UsageError where the source is there, or is the output."""
    stem, _, kind = output.rpartition(".")
    rejects = f"{stem}.rejected.{kind}"
    if Path(source).resolve() in {Path(output).resolve(), Path(rejects).resolve()}:
        said = f"{output} or {rejects} would take its place"
        raise UsageError(f"{source} would be gone: {said}. Name another output.")
    return rejects


def _ahead(
    score: Callable[[pyarrow.RecordBatch], Chunk], batches: Iterator[pyarrow.RecordBatch]
) -> Iterator[Chunk]:
    """Yield the chunks in order. While some are scored, the next is read and one written."""
    running: deque[Future[Chunk]] = deque()
    with ThreadPoolExecutor(AHEAD, "predict") as beside:
        for batch in batches:
            running.append(beside.submit(score, batch))
            if len(running) > AHEAD:
                yield running.popleft().result()
        for future in running:
            yield future.result()


def score_chunk(
    batch: pyarrow.RecordBatch, scorer: Scorer, asked: pa.DataFrameSchema, key: pa.DataFrameSchema
) -> Chunk:
    """Return the predictions of the good rows, the bad rows with their reasons, and the counts.

    `row` is the place of each in the batch.
    """
    frame = batch.to_pandas(types_mapper=nullable_type)
    screened = screen(frame, asked)
    predictions = scorer.predict(screened.good)
    made = pd.DataFrame({"row": screened.positions})
    infinite = np.flatnonzero(~predictions.finite).tolist()
    refused = dict.fromkeys(infinite, "the model's answer is not finite")
    if all(name in frame for name in key.columns):
        names, unread = conform(frame.iloc[screened.positions].reset_index(drop=True), key)
        refused |= {row: reason for (row, _), reason in unread.items()}
        made = made.join(names.astype(declared_types(key), errors="ignore"))
    made["prediction"] = pd.Series(predictions.labels, index=made.index)
    if predictions.probabilities is not None:
        for label, shares in zip(scorer.classes or [], predictions.probabilities.T, strict=True):
            made[f"probability_{label_text(label)}"] = shares
    made["model_version"] = scorer.version
    rows = list(refused)
    reasons = pd.DataFrame({"row": screened.positions[rows], "reason": [*refused.values()]})
    bad = pd.concat([screened.bad, reasons], ignore_index=True)
    bad = bad.astype(dict.fromkeys(asked.columns, "str"))
    tally = count(scorer, screened.good, predictions)
    tally.rejected, tally.faults = len(screened.bad), screened.faults
    return made.drop(index=rows), bad, tally
