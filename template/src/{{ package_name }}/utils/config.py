"""`resources/config.toml` and the environment, as one frozen and validated object.

Every setting has its default here, so the file holds only what a project changed. A value can be
overridden in the environment as <PACKAGE>__SECTION__KEY.
"""

import os
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, PlainSerializer, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource

from .errors import UsageError
from .paths import PACKAGE, RESOURCES, project_root

CONFIG_FILE = RESOURCES / "config.toml"
SECRET = re.compile(
    r"(://[^:/@\s]*:)[^@\s]*(?:@[^@/?#\s]*)*(?=@)|(https?://)[^/@\s]+(?=@)"
    r"|([?&;][^=&\s]*(?:password|pwd|token|secret|sig|signature|credential|key)=)[^&#\s]+",
    re.IGNORECASE,
)
"""A password or token in a URL, odd ones too, behind what leads to it."""
PREFIX = f"{PACKAGE.name}__"
"""What settings in the environment begin with, in capitals or not."""


def without_password(source: str) -> str:
    """Return a source as it may be shown and recorded."""
    return SECRET.sub(r"\1\2\3***", source)


Source = Annotated[str, PlainSerializer(without_password)]
"""A file, Delta table or query. A password stays out of run records and of `config show`."""


class Section(BaseModel):
    """A section of the file: frozen; an unknown key is an error, as is a number that is none."""

    model_config = {"frozen": True, "extra": "forbid", "allow_inf_nan": False}


class Roles(Section):
    """Which column plays which part; all others are inputs of the model."""

    target: str
    """The column to predict."""
    key: list[str] = []
    """The columns that name a row; empty where rows have no name."""
    group: str | None = None
    """The entity (customer, machine, patient) that owns several rows."""
    time: str | None = None
    """When the row came to be."""
    exclude: list[str] = []
    """Columns that are never inputs, such as those known only afterwards."""


class Data(Roles):
    """[data]: what is predicted, and from which tables."""

    task: Literal["classification", "regression"]
    sources: dict[str, Source] = Field(min_length=1)
    """Table name to where it is ingested from: a file, or `sample:ROWS` for invented rows."""
    bad_rows: Literal["fail", "drop", "quarantine"] = "quarantine"
    """What ingest does with rows that break the schema."""
    max_bad_share: float = Field(default=0.05, ge=0, le=1)
    """Above this share of bad rows ingest refuses the source, whatever the policy."""

    @model_validator(mode="after")
    def _can_be_joined(self) -> Self:
        if len(self.sources) > 1 and not self.key:
            raise ValueError("several sources are joined by the key: name its column(s) in key")
        return self


class SplitSettings(Section):
    """[split]: which rows train, validate and test."""

    strategy: Literal["auto", "key", "group", "time", "stratified"] = "auto"
    """`auto`: by entity where one is named, else by time where one is named, else by key."""
    seed: str = Field(default="v1", min_length=1)
    """Another seed, another split."""
    validation: float = Field(default=0.15, ge=0.0001, lt=1)
    """Share of the rows that choose between models."""
    test: float = Field(default=0.15, ge=0.0001, lt=1)
    """Share of the rows that judge the chosen one."""
    folds: int = Field(default=5, ge=2, le=10_000)
    """Folds of cross-validation."""

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation = {self.validation:g} and test = {self.test:g} leave no rows to train"
            )
        return self

    def resolve(self, group: str | None, time: str | None) -> str:
        """Name the strategy that `auto` stands for."""
        if self.strategy != "auto":
            return self.strategy
        return "group" if group else "time" if time else "key"

    def cuts(self, scale: int) -> tuple[int, int]:
        """Share of test, and of test and validation together, on a scale from 0."""
        return round(self.test * scale), round((self.test + self.validation) * scale)


class Training(Section):
    """[training]: how the model is made."""

    seed: int = Field(default=20_240_601, ge=0)
    """Every random generator of a run gets its own stream from this one number."""
    rules: list[str] = []
    """Names of the rules of estimators/rules.py that correct the model, in order."""
    threads: int = Field(default=1, ge=1, le=1_024)
    """With one thread the same model comes out on any machine, to the bit."""
    golden_rows: int = Field(default=300, ge=10)
    """Rows whose predictions are stored with a version, to be compared when it is loaded."""


class Ensemble(Section):
    """[ensemble]: many models in the place of one, where `grid` or `by` is said."""

    grid: dict[str, list[Any]] = {}
    """Parameters of the model and values to try: each combination is a candidate."""
    combine: Literal["mean", "best"] = "mean"
    """Whether all candidates answer, by the mean, or the one with the least loss on validation."""
    by: str | None = None
    """The category whose values get a model each; one of all rows answers for the others."""
    jobs: int = Field(default=-1, ge=-1)
    """Models in training at once on this machine; -1 for one on each core."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose cluster trains them instead, such as tcp://host:8786."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if self.grid and self.by:
            raise ValueError("it names both grid and by, candidates and segments: choose one")
        return self


class Budgets(Section):
    """[budgets]: how long things may take; docs/brief.md says why."""

    data_seconds: float = Field(default=600, gt=0)
    """Reading the data of one training."""
    feature_seconds: float = Field(default=60, gt=0)
    """Each step of features.py, for a million rows."""


class Promotion(Section):
    """[promotion]: what a version must show before it answers for production."""

    threshold: float | None = None
    """The worst acceptable value of the primary metric on validation rows."""
    champion_tolerance: float = Field(default=0.01, ge=0)
    """How much worse than the champion, relative to its metric, still passes."""
    slice_rows: int = Field(default=100, ge=10)
    """Categories with fewer validation rows are not held against the model."""


class Service(Section):
    """[service]: limits and promises of the running service."""

    latency_budget_ms: float | None = Field(default=None, gt=0)
    """Time in which 95 of 100 rows are answered; a model that alone needs more is refused."""
    environment: Literal["refuse", "warn"] = "refuse"
    """What happens to a model that was trained with other library versions."""
    max_rows: int = Field(default=10_000, ge=1)
    """Rows in one request."""
    max_megabytes: float = Field(default=20, gt=0)
    """Size of one request's body."""
    queue: int = Field(default=256, ge=1)
    """Requests that may wait for their turn; the next one gets 503 at once."""
    timeout_seconds: float = Field(default=10, gt=0)
    """A request that waited this long gets 503."""
    api_key: SecretStr | None = None
    """What callers of /predict must send as X-API-Key. Set it in the environment, not here."""
    operating_port: int | None = Field(default=None, ge=1, le=65_535)
    """Where /metrics is; on the service's own port, for callers on this machine, if not said."""
    journal: Source | None = None
    """URL of the database that keeps the predictions; `<var>/journal.db` where not said."""
    keep_days: float = Field(default=365, gt=0)
    """How long the journal keeps a prediction."""
    challenger_share: float = Field(default=0, ge=0, le=1)
    """Share of the keys that the version called `challenger` answers."""
    shadow: bool = False
    """Whether the challenger predicts along for all rows, while the champion answers."""
    poll_seconds: float = Field(default=10, gt=0)
    """How often the service looks for a new champion."""
    chunk_rows: int = Field(default=50_000, ge=1)
    """Rows that batch scoring takes at once; it holds a few times as many."""


class ColumnRules(Section):
    """How much of a change in a column is too much."""

    missing_share: float = Field(default=0.05, ge=0, le=1)
    """How much more of a column may be missing than in training."""
    unseen_share: float = Field(default=0.02, ge=0, le=1)
    """How much of a column may be categories that training never saw."""
    drift_psi: float = Field(default=0.015, ge=0)
    """A distribution may move by this population stability index, beyond chance."""
    drift_tail: float = Field(default=0.01, ge=0, le=1)
    """Or by this share more of the rows in its outer bins than in training."""


class Monitoring(ColumnRules):
    """[monitoring]: when to worry."""

    retrain_every_days: int = Field(default=30, ge=1)
    """A champion older than this is stale."""
    window_days: float = Field(default=7, gt=0)
    """What is held against training, and against as many days before."""
    outcome_days: float = Field(default=7, gt=0)
    """How far back predictions are judged by their outcomes: more where these come late."""
    min_rows: int = Field(default=200, ge=1)
    """Fewer predictions or outcomes in the window than this tell nothing."""
    confused_share: float = Field(default=0.98, ge=0, le=1)
    """A model that gives this share of rows the same answer, and did not before, is confused."""
    refused_retrainings: int = Field(default=3, ge=1)
    """This many versions refused one after another are reported."""
    expected_to_move: list[str] = []
    """Columns whose drift is no news."""
    columns: dict[str, ColumnRules] = {}
    """[monitoring.columns.NAME]: what is otherwise for one column."""

    def of(self, column: str) -> ColumnRules:
        """Return the rules for a column: its own where it has some, else those for all."""
        own = self.columns.get(column)
        return self.model_copy(update=own.model_dump(exclude_unset=True)) if own else self


class Remote(Section):
    """[remote]: where `train --on` runs. What only SageMaker needs says so."""

    image: str | None = None
    """The project's image, as the platform can pull it."""
    max_minutes: int = Field(default=60, ge=1)
    """A job that runs longer is stopped."""
    role: str | None = None
    """SageMaker: the ARN of the role that the job takes on."""
    output: str | None = None
    """SageMaker: the s3:// folder for the model's files."""
    instance: str = "ml.m5.large"
    """SageMaker: the kind of machine."""
    spot: bool = True
    """SageMaker: spare machines, much cheaper, that may be taken away; the job then starts anew."""
    wait_minutes: int = Field(default=60, ge=0)
    """SageMaker: how long a spot job may wait for a machine."""
    subnets: list[str] = []
    """SageMaker: the network to run in, where the tracking server is in a private one."""
    security_groups: list[str] = []
    """SageMaker: what may be reached from there."""
    channels: dict[str, str] = {}
    """SageMaker: table to the s3:// file that is its source in the job."""
    secret: str | None = None
    """SageMaker: the name of a secret in AWS Secrets Manager, variables for the job as JSON."""


class Paths(Section):
    """[paths]: where data, models and reports live, relative to the project."""

    var: str = "var"
    tables: Source | None = None
    """A folder or object-store URI for the tables; `<var>/tables` where not said."""


class Environment(EnvSettingsSource):
    """The environment. What should be JSON and is none is left for the section to refuse."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """Read a list, a table or a section."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class Settings(BaseSettings):
    """All settings of the project."""

    model_config = {"frozen": True, "env_prefix": PREFIX, "env_nested_delimiter": "__"}

    data: Data
    split: SplitSettings = SplitSettings()
    training: Training = Training()
    ensemble: Ensemble = Ensemble()
    budgets: Budgets = Budgets()
    promotion: Promotion = Promotion()
    service: Service = Service()
    monitoring: Monitoring = Monitoring()
    remote: Remote = Remote()
    paths: Paths = Paths()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: Any, *_: Any, **__: Any
    ) -> tuple[Any, ...]:
        """Read what is passed in first, then the environment, then the file; nothing else."""
        said = tomllib.loads(CONFIG_FILE.read_text(encoding="utf-8-sig"))
        file = InitSettingsSource(settings_cls, said)
        return init_settings, Environment(settings_cls), file

    @property
    def var(self) -> Path:
        """The folder for everything that git ignores."""
        return project_root() / (self.paths.var or "var")  # compose makes "" of what is not set

    @property
    def tables(self) -> str:
        """The folder or URI that holds the tables."""
        return self.paths.tables or str(self.var / "tables")


@lru_cache
def load() -> Settings:
    """Read and check all settings.

    UsageError where the file is missing or no TOML, or a value is unknown or out of range.
    """
    if not CONFIG_FILE.exists():
        raise UsageError(f"The settings file {CONFIG_FILE} is missing; get it back from git.")
    _check_names()
    try:
        return Settings()  # type: ignore[call-arg]  # the file and the environment fill it
    except UnicodeDecodeError:
        raise UsageError(f"{CONFIG_FILE} is not in UTF-8; save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{CONFIG_FILE} is no valid TOML: {error}") from None
    except ValidationError as error:
        raise UsageError("\n".join(_explain(detail) for detail in error.errors())) from None


def _check_names() -> None:
    """Refuse variables that name no section, or a setting with one underscore instead of two."""
    keys = {
        f"{PACKAGE.name}_{section}_{key}"
        for section, field in Settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", ())
    }
    for name in os.environ:
        head, prefix, rest = name.lower().partition(PREFIX)
        section = rest.partition("__")[0]
        if prefix and not head and section not in Settings.model_fields:
            raise UsageError(f"The environment: {name} names [{section}], which is no section.")
        if not prefix and head.replace("__", "_") in keys:
            raise UsageError(f"The environment: {name} lacks an underscore: settings take two.")


def _explain(detail: Any) -> str:
    section, *key = [str(part) for part in detail["loc"]]
    place, said = f"[{section}] {'.'.join(key)}".rstrip(), detail["msg"]
    path = PREFIX + "__".join([section, *key, ""]).lower()
    ways = {f"{name}__".lower(): name for name in os.environ if name.lower().startswith(PREFIX)}
    names = [name for way, name in ways.items() if way.startswith(path) or path.startswith(way)]
    origin = " and ".join(names) or "config.toml"
    if detail["type"] == "extra_forbidden":
        return f"{origin}: {place} is no known setting."
    if detail["type"] == "missing":
        return f"config.toml: {place} is missing."
    if isinstance(detail["input"], dict):  # a whole section, which may hold a password
        return f"{origin}: {place}: {said}."
    if names and detail["type"] in {"list_type", "dict_type", "model_type"}:
        said += """. Write JSON: a list as ["a", "b"], a table as {"a": "b"}"""
    value = "***" if "api_key" in key else without_password(repr(detail["input"]))
    return f"{origin}: {place} is {value}: {said}."
