"""From raw rows to a model in production: data, preprocessing, estimators, training, service."""

import os

# One OpenMP thread unless told otherwise: more threads add up sums in another order, so the same
# training gives another model, and on shared cores one row takes longer with them, not shorter.
os.environ.setdefault("OMP_NUM_THREADS", "1")
