"""What the rows of a run folder must be: one model per kind of row, checked where rows are read and where written.

Rows stay plain objects, which is how they are lossless: the models only say what is wrong with them. Fields that no
model names are allowed, since a newer version may add some.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from reports.store import fields


class Model(BaseModel):
    """What all models are: exact about types, and open for more fields."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Asked(Model):
    """What every row was asked."""

    technique: fields.Name
    implementation: fields.Name
    backend: fields.Name
    precision: fields.Name
    device: fields.Name
    scale: fields.Name
    source: str | None = None


class Row(Model):
    """The fields that all rows share, but ``asked``, which each kind has of its own."""

    key: fields.Name
    when: fields.Time
    command: str


class PropertyAsked(Asked):
    """What a property was asked."""

    property: fields.Name


class Known(Model):
    """A defect that an implementation declares."""

    reason: str
    link: str | None = None


class Property(Row):
    """A row of ``properties.jsonl``."""

    asked: PropertyAsked
    outcome: Literal["passed", "lenient", "failed", "not provided"]
    statement: str
    message: str = ""
    example: str = ""
    known: Known | None = None
    seconds: fields.Seconds | None = None
    examples: fields.Count | None = None
    discarded: fields.Count | None = None
    worst_error: Annotated[float, Field(ge=0)] | None = None


class MutantAsked(Asked):
    """Which mutant was tried."""

    mutant: fields.Name


class Mutant(Row):
    """A row of ``mutants.jsonl``: one change of a reference, and the property that found it."""

    asked: MutantAsked
    file: fields.Name
    line: fields.Whole
    operator: fields.Name
    code: str
    old: str
    new: str
    killer: str
    of: fields.Count
    equivalent: fields.Count


class TrialAsked(Asked):
    """What a trial was asked."""

    claim: fields.Name
    arm: fields.Name
    condition: fields.Condition = {}
    seed: fields.Whole
    purpose: Literal["judge", "tune"] = "judge"
    rate: Annotated[float, Field(gt=0, le=1e9)] | None = None


class Metric(Model):
    """A number that a trial ends with."""

    title: fields.Name
    unit: str | None = ""
    better: Literal["lower", "higher"]
    last: fields.Count = 0


class Contrast(Model):
    """What a claim expects."""

    metric: str
    arm: fields.Name
    baseline: fields.Name | Annotated[float, Field(ge=-fields.LARGEST, le=fields.LARGEST)]
    condition: fields.Condition
    scale: Literal["difference", "ratio"]
    margin: Annotated[float, Field(gt=0, le=fields.LARGEST)]
    expects: Literal["better", "equal"] = "better"


class Rates(Model):
    """The learning rates that a claim tries."""

    published: Annotated[float, Field(gt=0, le=1e9)]
    grid: Annotated[list[Annotated[float, Field(gt=0, le=1e9)]], Field(min_length=1)]


class Definition(Model):
    """A claim."""

    statement: fields.Name
    source: str
    axis: fields.Name
    metrics: dict[str, Metric]
    contrasts: Annotated[list[Contrast], Field(min_length=1)]
    arms: dict[str, str] | None = None
    rates: Rates | None = None
    tuned_by: str = ""
    fixed: dict[str, str] | None = None
    least_seeds: fields.Count = 2

    @model_validator(mode="after")
    def _metrics_are_there(self) -> Self:
        for contrast in self.contrasts:
            if contrast.metric not in self.metrics:
                raise ValueError(f"contrasts: {contrast.metric!r} is none of the metrics")
            if contrast.scale == "ratio" and not contrast.margin > 1:
                raise ValueError(f"contrasts: the margin of a ratio is a factor above 1, got {contrast.margin:g}")
        if self.rates is not None and self.tuned_by not in self.metrics:
            raise ValueError(f"tuned_by: {self.tuned_by!r} is none of the metrics")
        return self


class Trial(Row):
    """A row of ``trials.jsonl``."""

    asked: TrialAsked
    metrics: dict[str, float | None]
    series: dict[str, list[float | None]] | None = None
    steps: list[fields.Count] | None = None
    clock: list[fields.Seconds] | None = None
    digest: str = ""
    outcome: Literal["trained", "failed", "not run"] = "trained"
    reason: str = ""
    seconds: fields.Seconds | None = None
    definition: Definition

    @model_validator(mode="after")
    def _it_fits_its_claim(self) -> Self:
        if self.asked.purpose == "tune" and (self.definition.rates is None or self.asked.rate is None):
            raise ValueError("asked.purpose: a trial that tunes has a rate, and its claim has rates")
        position = self.asked.condition.get(self.definition.axis, 0)
        if isinstance(position, bool) or not isinstance(position, int | float):
            raise ValueError(f"asked.condition.{self.definition.axis}: expected a number, as it is the claim's axis")
        return self


class TimingAsked(Asked):
    """What a contender was asked."""

    workload: fields.Name
    operation: fields.Name
    parameters: dict[str, fields.Plain] | None = None
    seed: fields.Whole | None = None
    variation: dict[str, fields.Plain] | None = None


class Cost(Model):
    """The work of a step."""

    multiply_adds: fields.Work
    bytes: fields.Work


class Memory(Model):
    """What a process held."""

    baseline_bytes: fields.Bytes | None = None
    peak_bytes: fields.Bytes | None = None
    peak_bytes_by_heat: list[fields.Bytes] | None = None
    device_peak_bytes: fields.Bytes | None = None


class Operation(Model):
    """One operation of a step's profile."""

    name: str
    share: float
    dtype: str | None = None


class Profile(Model):
    """Where a step spends its time."""

    operations: list[Operation]


class Fact(Model):
    """What a heat says of a contender; of one that was cut short, not all."""

    loops: fields.Count | None = None
    items: fields.Count | None = None
    traces: fields.Count | None = None
    start_s: fields.Seconds | None = None
    build_s: fields.Seconds | None = None
    first_call_s: fields.Seconds | None = None
    call_s: fields.Seconds | None = None
    warm_up: list[fields.Seconds | None] | None = None
    memory: Memory | None = None
    profile: Profile | None = None


class ContenderRow(Row, Fact):
    """The ``extra_info`` of an entry of ``timings.json``."""

    asked: TimingAsked
    race: fields.Name
    heat: list[fields.Count]
    block: list[fields.Count]
    cost: Cost | None = None
    joules: list[fields.Joules] | None = None
    why_faster: str | None = None
    stopped: str | None = None


class Samples(Model):
    """What pytest-benchmark measured."""

    data: Annotated[list[fields.Step], Field(min_length=1)]


class Timing(Model):
    """An entry of ``timings.json``: pytest-benchmark's, with the fields of a contender."""

    extra_info: ContenderRow
    stats: Samples

    @model_validator(mode="after")
    def _one_of_each_per_round(self) -> Self:
        rounds = len(self.stats.data)
        for name in ("heat", "block", "joules"):
            found = getattr(self.extra_info, name)
            if found is not None and len(found) != rounds:
                raise ValueError(f"extra_info.{name}: expected one per round, {rounds}, and found {len(found)}")
        return self


class FailedRound(Model):
    """A round of a contender that did not finish."""

    heat: fields.Count
    block: fields.Count
    seconds: fields.Step
    joules: fields.Joules | None = None


class Failure(Row):
    """A contender that did not finish."""

    asked: TimingAsked
    outcome: Literal["failed", "not provided"] = "failed"
    reason: str
    phase: str | None = None
    race: str | None = None
    rounds: list[FailedRound] | None = None


class Reading(Model):
    """The conditions of a block: numbers by name, and what disturbed it."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, fields.Number | None]

    heat: fields.Count
    block: fields.Count
    disturbed: str | None = None


class RaceConditions(Model):
    """The conditions of a race."""

    readings: list[Reading]


class JournalEntry(Model):
    """A block of a race that is under way, or the end of a heat."""

    heat: fields.Count
    block: fields.Count | None = None
    rounds: list[Annotated[fields.JournalRound, Strict(False)]] = []
    facts: dict[str, Fact] = {}
    stopped: dict[str, str] = {}

    @model_validator(mode="after")
    def _rounds_have_a_block(self) -> Self:
        if self.rounds and self.block is None:
            raise ValueError("block: Field required")
        return self


class TimingsFile(Model):
    """``timings.json`` but for its entries, which are checked one by one."""

    benchmarks: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    races: dict[str, RaceConditions] = {}


def fault(model: type[Model], value: Any) -> str | None:
    """The first thing that is wrong with a row, as ``field: what was expected``; ``None`` where it is a right one."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False, include_context=False)
        where = ".".join(str(part) for part in first["loc"])
        an_object = first["type"] in ("model_type", "dict_type")
        said = "expected an object" if an_object else first["msg"].removeprefix("Value error, ")
        more = f" (and {len(others)} more)" if others else ""
        return ": ".join(part for part in (where, said) if part) + more
    return None


def is_foreign(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of ``timings.json`` is another program's, which pytest-benchmark wrote without a contender."""
    info = entry.get("extra_info", {})
    return isinstance(info, Mapping) and not {"key", "asked", "race"} & info.keys()
