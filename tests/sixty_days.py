"""Lives sixty days in the sample project, whose own interpreter runs this, and tells each as JSON.

Every day the service's journal takes the day's predictions and what came of them, and then
`monitor` is asked, all through the project's own code; only the clock is made up.
"""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from shipment_delays.data import ingest, sample
from shipment_delays.data.columns import describe
from shipment_delays.data.validation import screen
from shipment_delays.monitoring.monitor import DAY, monitor
from shipment_delays.preprocessing.schema import Rows
from shipment_delays.service.journal import Entry, Outcome, new_id, open_journal
from shipment_delays.service.scoring import input_schema, load_scorer
from shipment_delays.training import tracking, train
from shipment_delays.utils import config

DAYS, ROWS_A_DAY, TRAINING_ROWS = 60, 300, 6_000
RIGHT, WRONG = 3.0, -5.0
"""What a prediction is worth."""


def silent(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(weight_kg=1.0)


def heavier(rows: pd.DataFrame) -> pd.DataFrame:
    more = 0.3 * rows["weight_kg"].std()
    return rows.assign(weight_kg=(rows["weight_kg"] + more).clip(upper=100))


def kestrel_is_late(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(late=rows["late"] | (rows["carrier"] == "kestrel"))


def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(late=np.random.default_rng(3).permutation(rows["late"]))


FAULTS = [
    (range(11, 16), silent, "weight_kg is always 1"),
    (range(26, 31), heavier, "shipments are heavier by 0.3 sd"),
    (range(39, DAYS + 1), kestrel_is_late, "all that kestrel carries is late"),
]
RETRAININGS = {44: (shuffled, "outcomes in another order"), 47: (kestrel_is_late, "newest rows")}


def main() -> None:
    settings, schema = config.load(), Rows.to_schema()
    # A version is as old as the real clock says, so its age is not part of the story.
    rules = settings.monitoring.model_copy(update={"retrain_every_days": DAYS})
    settings = settings.model_copy(update={"monitoring": rules})
    client, columns = tracking.connect(settings), describe(schema, settings.data)
    journal, folder = open_journal(settings), Path(settings.var)
    begin = time.time()
    everything = sample.generate(schema, columns, DAYS * ROWS_A_DAY, seed=60)
    scorer = load_scorer(client, settings, schema)
    for day in range(1, DAYS + 1):
        told = {"day": day, "truth": "nothing", "retraining": None}
        if day in RETRAININGS:
            change, name = RETRAININGS[day]
            rows = change(sample.generate(schema, columns, TRAINING_ROWS, seed=day))
            file = folder / "delivered.parquet"
            rows.to_parquet(file, index=False)
            ingest.ingest(str(file), next(iter(settings.data.sources)), schema, settings)
            done = train.train(client, settings, schema, allow_dirty=True)
            told["retraining"] = {"on": name, "promoted": done.promoted, "reasons": done.reasons}
            scorer = load_scorer(client, settings, schema)
        rows = everything.iloc[(day - 1) * ROWS_A_DAY : day * ROWS_A_DAY].reset_index(drop=True)
        for days, change, truth in FAULTS:
            if day in days:
                rows, told["truth"] = change(rows), truth
        good = screen(rows[columns.inputs], input_schema(schema, columns)).good
        made = scorer.predict(good)
        shares = made.shares(scorer.names)
        sent = good.to_json(orient="records", lines=True).splitlines()
        noon = begin + DAY * (day - 0.5)
        answered = [
            Entry(new_id(noon), noon, scorer.version, scorer.runtime, "champion", None, *texts)
            for texts in zip(
                sent, map(json.dumps, made.labels), map(json.dumps, shares), strict=True
            )
        ]
        journal.write(answered)
        journal.add_outcomes(
            [
                Outcome(one.id, json.dumps(late), RIGHT if late == label else WRONG)
                for one, late, label in zip(
                    answered, rows["late"].tolist(), made.labels, strict=True
                )
            ]
        )
        seen = monitor(client, settings, now=begin + DAY * day)
        told["version"], told["rows"] = seen.version, seen.rows
        told["alarms"] = [[one.kind, one.what] for one in seen.alarms]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
