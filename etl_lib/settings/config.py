"""The settings of the jobs: typed, frozen, and the same for every environment but for their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from etl_lib.process.errors import ConfigError
from etl_lib.settings.api_settings import ApiSource
from etl_lib.settings.jdbc_settings import JdbcSource
from etl_lib.settings.sink_settings import SinkName, SinkSettings
from etl_lib.settings.strict_model import Location, Section, Share
from etl_lib.settings.telling_settings import Health, Logs, Telling

DEFAULT_CONFIG = Path(__file__).resolve().parents[2] / "conf" / "local.yaml"

TimeField = Literal["updated_at", "created_at"]
Layout = Literal["auto", "lines", "array"]
FeatureWindow = Literal["calendar", "rolling"]
TargetWeek = Literal["latest", "last_complete"]
DriftKind = Literal["new_field", "lost_field", "changed_type", "changed_case"]
DatasetName = Annotated[str, StringConstraints(pattern="^(orders|users|products|prints|taps|pays)$")]
GateEffect = Literal["stop", "hold_publish", "warn"]
DriftPolicy = Literal["ignore", "warn", "fail"]
OptionalField = Literal[
    "user_id",
    "amount",
    "currency",
    "metadata",
    "metadata.source",
    "metadata.promo",
    "items",
    "items.price",
    "event_data.position",
]


class Inputs(Section):
    """Where the landing files are: each a file, a folder or a glob on any Hadoop file system.

    A job asks for those that it needs (`location`), so that one configuration serves all jobs.
    """

    orders: Location | None = None
    users: Location | None = None
    products: Location | None = None
    layout: Layout = "auto"
    """How order files are laid out: `auto` looks at the first character of each."""
    damaged: Literal["stop", "set_aside"] = "stop"
    """What a file that cannot be read does: end the run, or wait, told in every run, until it changes."""
    prints: Location | None = None
    taps: Location | None = None
    pays: Location | None = None

    @property
    def locations(self) -> list[str]:
        """Every location that is given."""
        named = (self.orders, self.users, self.products, self.prints, self.taps, self.pays)
        return [location for location in named if location is not None]

    def location(self, dataset: str) -> str:
        """Where a dataset is without which a job cannot run; ConfigError when that is not said."""
        location: str | None = getattr(self, dataset)
        if location is None:
            raise ConfigError(f"input.{dataset}: missing; give its files in the configuration or with --set")
        return location


class Sources(Section):
    """Where orders come from: files that somebody lands, or an API or a database from which they are pulled.

    What is pulled lands as files first (`<landing>/<dataset>/<pull>/`), and from there takes the way of all files.
    """

    orders: Literal["files", "api", "jdbc"] = "files"
    landing: Location | None = None
    """The folder for what is pulled, on a file system that pyarrow knows, too."""
    api: ApiSource | None = None
    jdbc: JdbcSource | None = None

    @property
    def pulled(self) -> tuple[str, ...]:
        """The datasets that are pulled, in the order in which they are: orders last."""
        if self.orders == "api":
            return ("orders",)
        if self.orders == "jdbc" and self.jdbc is not None:
            return tuple(dataset for dataset in ("users", "products", "orders") if getattr(self.jdbc, dataset))
        return ()

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.orders != "files":
            for needed in ("landing", self.orders):
                if getattr(self, needed) is None:
                    raise ValueError(f"orders: {self.orders} needs sources.{needed}")
        return self


class GateEffects(Section):
    """What a closed gate does: stop the run before any table changes, keep the sinks as they are, or warn."""

    rejected: GateEffect = "stop"
    records: GateEffect = "stop"
    freshness: GateEffect = "hold_publish"
    volume: GateEffect = "hold_publish"
    profile: GateEffect = "hold_publish"


class Quality(Section):
    """The limits of the gates, apart from the rules with severity `fail` and the drift with policy `fail`."""

    max_rejected_share: Share = 1.0
    """The greatest share of the orders (prints, taps, pays) that may be rejected."""
    min_records: dict[DatasetName, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """The fewest records of a run that has files of the dataset."""
    max_age_hours: dict[DatasetName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How old the newest version of an order (the newest day of an event) may be when the run begins."""
    max_volume_z: Annotated[float, Field(gt=0)] | None = None
    """How far the records of a run may be from the usual: the greatest robust z-score, either way."""
    volume_runs: Annotated[int, Field(ge=3)] = 5
    """The usual is what the last so many runs of the same weekday read; while there are fewer the gate is open."""
    max_profile_shift: Annotated[float, Field(gt=0)] | None = None
    """How much the profile of a field may differ from that of the run before."""
    invariants: Literal["off", "warn", "hold_publish"] = "off"
    """What a broken invariant does, of the dates that the run has changed."""
    effects: GateEffects = GateEffects()


class DriftPolicies(Section):
    """What schema drift does to a run, by kind: `ignore` counts it, `warn` tells it too, `fail` closes the gate."""

    new_field: DriftPolicy = "warn"
    """A member, or a CSV column, that nobody declared."""
    lost_field: DriftPolicy = "warn"
    """A declared member for which no record of the run has a value."""
    changed_type: DriftPolicy = "warn"
    """A member of another type than the declared one; the record is rejected."""
    changed_case: DriftPolicy = "warn"
    """A member whose name is a declared one but for upper and lower case; it is not read."""
    min_records: Annotated[int, Field(ge=1)] = 10
    """With fewer records of a dataset in the run no field counts as lost."""
    optional: Annotated[tuple[OptionalField, ...], Field(strict=False)] = ()
    """Fields that the sender need not send: never lost."""


class Maintenance(Section):
    """What the maintain job keeps."""

    retention_hours: Annotated[int, Field(ge=0)] = 168
    """`vacuum` leaves the files of versions that were current within so many hours."""
    keep_days: Annotated[int, Field(ge=0)] = 30
    """`purge` leaves what runs of the last so many days have staged and settled."""


class Lease(Section):
    """One run at a time where the system has no lock: on an object store, in a catalog, through Spark Connect."""

    enabled: bool = False
    """Whether a run takes the lease of its warehouse (the table `etl_lease`) before it looks at the tables."""
    expires_s: Annotated[float, Field(ge=3)] = 300
    """How long after its last renewal the lease of a run that died can be taken; renewed six times within it."""


class Settings(Section):
    """Everything a run depends on, apart from its command line."""

    warehouse: Location
    """A folder (`<warehouse>/<table>`), or `catalog:<catalog>.<schema>` for tables found by name."""
    output: Location
    """The folder for metrics and plans."""
    rules: Location
    """The YAML file with the rules of each dataset."""
    input: Inputs
    sources: Sources = Sources()
    sinks: Annotated[tuple[SinkName, ...], Field(strict=False)] = ()
    """Where the tables are published to, in this order."""
    publish: SinkSettings = Field(default=SinkSettings(), validate_default=True)
    version_fields: Annotated[tuple[TimeField, ...], Field(min_length=1, strict=False)] = ("updated_at", "created_at")
    """The times that make the version of an order: the first that is given counts."""
    window: FeatureWindow = "calendar"
    """What value_props counts over: the weeks before the target week, or the days before each print's own day."""
    window_weeks: Annotated[int, Field(ge=1, le=52)] = 3
    """The length of that window."""
    target_week: TargetWeek = "latest"
    """The week of the reference date, or the last week that the prints cover to its Sunday."""
    min_week_share: Share = 0.5
    """Warn of a week with fewer prints than this share of the week before."""
    quality: Quality = Quality()
    drift: DriftPolicies = DriftPolicies()
    maintenance: Maintenance = Maintenance()
    health: Health = Health()
    logs: Logs = Logs()
    telling: Telling = Telling()
    lock_timeout_s: Annotated[float, Field(ge=0)] = 0
    """How long to wait for a warehouse that another run holds, in seconds."""
    lease: Lease = Lease()
    samples: Annotated[int, Field(ge=1)] = 20
    """How many keys to show of what a rule or a conflict hit."""
    spark: dict[str, str] = Field(default_factory=dict)
    """Spark settings for a session that this job builds itself; one that is already there is left as it is."""

    @field_validator("publish")
    @classmethod
    def _has_every_sink(cls, publish: SinkSettings, info: ValidationInfo) -> SinkSettings:
        sinks = info.data.get("sinks", ())
        if missing := [name for name in sinks if getattr(publish, name) is None]:
            raise ValueError(f"sinks names {', '.join(missing)}; needs publish.{', publish.'.join(missing)}")
        if len(set(sinks)) < len(sinks):
            raise ValueError("sinks names a sink twice")
        return publish

    def landing_files(self, dataset: str) -> str | None:
        """Where the landing files of a dataset are: those that are pulled, or else those of `input`."""
        if dataset in self.sources.pulled:
            # The folders of pulls begin with their time; a glob, because before the first pull there is none.
            return f"{str(self.sources.landing).rstrip('/')}/{dataset}/[0-9]*"
        location: str | None = getattr(self.input, dataset)
        return location

    @property
    def layout(self) -> Layout:
        """How order files are laid out; what is pulled is always in lines."""
        return "lines" if "orders" in self.sources.pulled else self.input.layout

    def check_orders_given(self) -> None:
        """ConfigError when nothing says where orders are."""
        if "orders" not in self.sources.pulled:
            self.input.location("orders")
