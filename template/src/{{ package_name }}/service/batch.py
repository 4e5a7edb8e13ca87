"""Scores a file or table of any length, holding one chunk at a time."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from tqdm import tqdm

from ..data.sinks import appearing
from ..data.sources import read_batches
from ..data.validation import Screened, conform, declared_types, nullable_type, screen
from ..utils.errors import UsageError
from .scoring import Predictions, Scorer, askable, label_text
from .tally import Tally, count

AHEAD = 2
"""Chunks that are predicted at the same time."""


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
    tally: Tally | None = field(default=None, repr=False, compare=False)
    """The inputs and answers as counts, for monitoring."""


def score_file(
    source: str,
    output: Path,
    scorer: Scorer,
    schema: pa.DataFrameSchema,
    chunk_rows: int,
) -> Scored:
    """Score every row of `source` into `output`.

    The output holds, for each row scored, its place in the source (`row`), its key, the prediction
    and the model's version. It appears when all rows are through, never half.

    Raises
    ------
    UsageError
        The source can't be read or lacks an input, or no row of it could be scored.
    """
    rejects = output.with_name(f"{output.stem}.rejected{output.suffix}")
    asked = askable(schema, scorer.artifact.columns)
    key = schema.select_columns(scorer.artifact.about.roles.key)
    rows, scored, tally = 0, 0, Tally.empty(scorer.version)
    progress = tqdm(unit=" rows", unit_scale=True, disable=None, desc="predict")
    with progress, appearing(output) as write, appearing(rejects) as reject:
        for frame, screened, predictions in _predicted(source, scorer, asked, chunk_rows):
            tally = tally + count(scorer, screened.good, predictions)
            good, bad = sort_out(frame, screened, predictions, scorer, key)
            write(good.assign(row=good["row"] + rows))
            reject(bad.assign(row=bad["row"] + rows))
            rows += len(frame)
            scored += len(good)
            progress.update(len(frame))
        if not rows:
            raise UsageError(f"{source} holds no rows.")
    if not scored:
        raise UsageError(f"Not one of {rows} rows could be scored; {rejects} says why.")
    rejected = rows - scored
    aside = str(rejects) if rejected else None
    return Scored(rows, scored, rejected, scorer.version, str(output), aside, tally)


def _predicted(
    source: str, scorer: Scorer, asked: pa.DataFrameSchema, chunk_rows: int
) -> Iterator[tuple[pd.DataFrame, Screened, Predictions]]:
    """Yield the chunks in order. While some are predicted, the next is read and one written."""
    running: deque[tuple[pd.DataFrame, Screened, Future[Predictions]]] = deque()
    with ThreadPoolExecutor(AHEAD, "predict") as beside:
        for batch in read_batches(source, chunk_rows):
            frame = batch.to_pandas(types_mapper=nullable_type)
            screened = screen(frame, asked)
            running.append((frame, screened, beside.submit(scorer.predict, screened.good)))
            if len(running) > AHEAD:
                frame, screened, future = running.popleft()
                yield frame, screened, future.result()
        for frame, screened, future in running:
            yield frame, screened, future.result()


def sort_out(
    frame: pd.DataFrame,
    screened: Screened,
    predictions: Predictions,
    scorer: Scorer,
    key: pa.DataFrameSchema,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the predictions of the good rows, and the bad rows with their reasons."""
    made = pd.DataFrame({"row": screened.positions})
    if all(name in frame for name in key.columns):
        names, _ = conform(frame.iloc[screened.positions].reset_index(drop=True), key)
        made = made.join(names.astype(declared_types(key), errors="ignore"))
    made["prediction"] = pd.Series(predictions.labels, index=made.index)
    if predictions.probabilities is not None:
        for number, label in enumerate(scorer.classes or []):
            made[f"probability_{label_text(label)}"] = predictions.probabilities[:, number]
    made["model_version"] = scorer.version
    infinite = pd.DataFrame({"row": screened.positions[~predictions.finite]})
    infinite["reason"] = "the model's answer is not finite"
    bad = pd.concat([screened.bad, infinite], ignore_index=True)
    return made[predictions.finite], bad
