"""What Prometheus reads at /metrics. Each figure that depends on a model carries its version."""

import os
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, compress, groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandera.pandas as pa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ..data.columns import categories
from .durations import Durations
from .scoring import Predictions, Scorer, label_text

SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
TENTHS = [number / 10 for number in range(1, 11)]
FIGURES: dict[str, tuple[type, str, list[str]]] = {
    "requests": (Counter, "Requests to /predict", ["version", "code"]),
    "timeouts": (Counter, "Requests that waited too long", ["version"]),
    "predictions": (Counter, "Rows answered", ["version", "assigned", "runtime"]),
    "predicted_labels": (Counter, "Rows by the class they were given", ["version", "label"]),
    "unknown_categories": (Counter, "Values that the schema does not list", ["version", "column"]),
    "missing_values": (Counter, "Inputs left out or null", ["version", "column"]),
    "not_finite_answers": (Counter, "Answers that were not sent", ["version"]),
    "journal_errors": (Counter, "Micro-batches that the journal did not take", ["version"]),
    "request_seconds": (Histogram, "From the first byte to the answer", ["version"]),
    "model_seconds": (Histogram, "Run time, per micro-batch", ["version", "runtime"]),
    "predicted_values": (Histogram, "The highest probability, or the value", ["version"]),
    "waiting_requests": (Gauge, "Requests in the queue", []),
    "answering_version": (Gauge, "The version of an alias, 0 where there is none", ["alias"]),
    "latency_budget_seconds": (Gauge, "Time in which 95 of 100 answers are promised", []),
}


class Batch(NamedTuple):
    """Rows that a version answered together."""

    scorer: Scorer
    assigned: str
    values: dict[str, tuple[Any, ...]]
    """What was asked, by input."""
    made: Predictions
    seconds: float


class Metrics:
    """The figures of one process; those of several workers are added up when they are read.

    What is counted is kept, and noted some milliseconds later for many answers at once, which takes
    a quarter of the work of noting one by one.
    """

    def __init__(
        self, champion: Scorer, schema: pa.DataFrameSchema, budget_ms: float | None
    ) -> None:
        self.registry = CollectorRegistry()
        # The budget bounds a bucket, so the share of answers within it is exact; the bucket above
        # shows that a budget beyond all others was missed.
        budget = (budget_ms or 0) / 1000
        seconds = sorted({*SECONDS, budget, 2 * budget} - {0})
        options: dict[str, dict[str, Any]] = {
            "request_seconds": {"buckets": seconds},
            "model_seconds": {"buckets": seconds},
            "predicted_values": {"buckets": _buckets(champion)},
            "waiting_requests": {"multiprocess_mode": "livesum"},
            "answering_version": {"multiprocess_mode": "mostrecent"},
            "latency_budget_seconds": {"multiprocess_mode": "mostrecent"},
        }
        self._figures: dict[str, Any] = {
            name: kind(name, text, labels, registry=self.registry, **options.get(name, {}))
            for name, (kind, text, labels) in FIGURES.items()
            if budget or name != "latency_budget_seconds"
        }
        self.figure = lru_cache(10_000)(self._figure)
        if budget:
            self.figure("latency_budget_seconds").set(budget)
        self.durations = Durations()
        self.requests: deque[tuple[int, int, float]] = deque()
        """Version, code and seconds of each request that is not noted yet."""
        self.batches: deque[Batch] = deque()
        known = {name: categories(column) for name, column in schema.columns.items()}
        self._known = {name: frozenset(values) for name, values in known.items() if values}

    def _figure(self, name: str, *labels: object) -> Any:
        figure = self._figures[name]
        return figure.labels(*map(str, labels)) if labels else figure

    def catch_up(self) -> None:
        """Note all requests and batches that are not noted yet."""
        by_code = itemgetter(0, 1)
        for (version, code), some in groupby(sorted(_taken(self.requests), key=by_code), by_code):
            seconds = [taken for _, _, taken in some]
            self.figure("requests", version, code).inc(len(seconds))
            _observe(self.figure("request_seconds", version), seconds)
            if code == 200:
                self.durations.add(version, seconds)
        for _, group in groupby(sorted(_taken(self.batches), key=_whose), _whose):
            self._predicted(list(group))

    def _predicted(self, batches: list[Batch]) -> None:
        """Note what was asked of a version, its answers and the time they took."""
        scorer, assigned = batches[0].scorer, batches[0].assigned
        version, finite = scorer.version, np.concatenate([one.made.finite for one in batches])
        model_seconds = self.figure("model_seconds", version, scorer.runtime)
        _observe(model_seconds, [one.seconds for one in batches])
        self.figure("predictions", version, assigned, scorer.runtime).inc(int(finite.sum()))
        if not finite.all():
            self.figure("not_finite_answers", version).inc(int((~finite).sum()))
        labels = chain.from_iterable(one.made.labels for one in batches)
        answers = list(compress(labels, finite))  # a sum never gets over what is not finite
        shares = [one.made.probabilities for one in batches if one.made.probabilities is not None]
        if shares:
            for label, count in Tally(answers).items():
                self.figure("predicted_labels", version, label_text(label)).inc(count)
            answers = np.concatenate(shares)[finite].max(axis=1).tolist()
        _observe(self.figure("predicted_values", version), answers)
        values = [one.values for one in batches]
        for name in values[0]:
            column = list(chain.from_iterable(map(itemgetter(name), values)))
            if missing := column.count(None) + column.count(""):
                self.figure("missing_values", version, name).inc(missing)
            if known := self._known.get(name):
                unknown = len(column) - missing - sum(map(known.__contains__, column))
                if unknown:
                    self.figure("unknown_categories", version, name).inc(unknown)

    def text(self) -> bytes:
        """Return all figures in Prometheus' format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # has no types
        return generate_latest(together)


def _whose(batch: Batch) -> tuple[int, str]:
    return batch.scorer.version, batch.assigned


def _taken(queue: deque[Any]) -> list[Any]:
    """Empty a queue that others may still add to."""
    return [queue.popleft() for _ in range(len(queue))]


def _observe(histogram: Histogram, values: Iterable[float]) -> None:
    for value in values:
        histogram.observe(value)


def _buckets(scorer: Scorer) -> list[float]:
    """Tenths for probabilities; for values, as many golden answers in each as in the others."""
    if scorer.classes is not None:
        return TENTHS
    return np.unique(np.quantile(scorer.artifact.answer(scorer.artifact.golden), TENTHS)).tolist()
