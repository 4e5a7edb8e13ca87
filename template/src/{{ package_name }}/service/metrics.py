"""What Prometheus reads at /metrics. Each figure that depends on a model carries its version."""

import os
from collections import Counter as Tally
from functools import lru_cache
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from .durations import Durations
from .scoring import Predictions, Scorer, label_text

SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
TENTHS = [number / 10 for number in range(1, 11)]
COUNTERS = {
    "requests": ("Requests to /predict", ["version", "code"]),
    "timeouts": ("Requests that waited too long", ["version"]),
    "predictions": ("Rows answered", ["version", "assigned", "runtime"]),
    "predicted_labels": ("Rows by the class they were given", ["version", "label"]),
    "unknown_categories": ("Values that the schema does not list", ["version", "column"]),
    "missing_values": ("Inputs left out or null", ["version", "column"]),
    "not_finite_answers": ("Answers that were not sent", ["version"]),
    "journal_errors": ("Micro-batches that the journal did not take", ["version"]),
}


class Metrics:
    """The figures of one process; those of several workers are added up when they are read."""

    def __init__(self, champion: Scorer, budget_ms: float | None) -> None:
        self.registry = CollectorRegistry()
        # The budget bounds a bucket, so the share of answers within it is exact; the bucket above
        # shows that a budget beyond all others was missed.
        budget = (budget_ms or 0) / 1000
        seconds = sorted({*SECONDS, budget, 2 * budget} if budget else SECONDS)
        timed = {
            "request_seconds": ("From the first byte to the answer", ["version"], seconds),
            "model_seconds": ("Run time, per micro-batch", ["version", "runtime"], seconds),
            "predicted_values": (
                "The highest probability, or the value",
                ["version"],
                _buckets(champion),
            ),
        }
        self._metrics: dict[str, Any] = {
            name: Counter(name, text, labels, registry=self.registry)
            for name, (text, labels) in COUNTERS.items()
        } | {
            name: Histogram(name, text, labels, buckets=buckets, registry=self.registry)
            for name, (text, labels, buckets) in timed.items()
        }
        self.waiting = Gauge(
            "waiting_requests",
            "Requests in the queue",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.answering = Gauge(
            "answering_version",
            "The version that answers as champion or challenger, 0 where there is none",
            ["alias"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        if budget:
            promised = Gauge(
                "latency_budget_seconds",
                "Time in which 95 of 100 answers are promised",
                registry=self.registry,
                multiprocess_mode="mostrecent",
            )
            promised.set(budget)
        self.durations = Durations()
        self._of = lru_cache(10_000)(self._labelled)

    def _labelled(self, name: str, *labels: object) -> Any:
        return self._metrics[name].labels(*map(str, labels))

    def count(self, name: str, *labels: object, by: int = 1) -> None:
        """Add to one of the counters above."""
        self._of(name, *labels).inc(by)

    def requested(self, version: int, code: int, seconds: float) -> None:
        """Note a request that was answered or refused."""
        self._of("requests", version, code).inc()
        self._of("request_seconds", version).observe(seconds)
        if code == 200:
            self.durations.add(version, seconds)

    def predicted(self, scorer: Scorer, assigned: str, made: Predictions, seconds: float) -> None:
        """Note the answers to a micro-batch and what they took."""
        version = scorer.version
        self._of("model_seconds", version, scorer.runtime).observe(seconds)
        self.count("predictions", version, assigned, scorer.runtime, by=int(made.finite.sum()))
        if made.probabilities is None:
            values = made.labels
        else:
            values = made.probabilities.max(axis=1).tolist()
            for label, count in Tally(made.labels).items():
                self.count("predicted_labels", version, label_text(label), by=count)
        histogram = self._of("predicted_values", version)
        for value in values:
            histogram.observe(value)

    def text(self) -> bytes:
        """Return all figures in Prometheus' format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _buckets(scorer: Scorer) -> list[float]:
    """Tenths for probabilities; for values, as many golden answers in each as in the others."""
    if scorer.classes is not None:
        return TENTHS
    return np.unique(np.quantile(scorer.artifact.answer(scorer.artifact.golden), TENTHS)).tolist()
