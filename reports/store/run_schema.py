"""What ``run.json`` must be: the machine, the environment, the techniques and the sessions of a run."""

from typing import Literal

from pydantic import ConfigDict, Field

from reports.store import fields
from reports.store.schema import Model


class Machine(Model):
    """What ``run.json`` says of the machine."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, fields.Fact]

    processor: fields.Plain = None
    cores: fields.Plain = None
    gpus: list[str] | None = None


class Check(Model):
    """A check of the host."""

    name: str
    state: str
    found: str
    advice: str = ""


class Git(Model):
    """The revision of the sources."""

    revision: str | None
    dirty: bool | None


class PromisedRaces(Model):
    """The races that decide a promise, or say what it costs."""

    workloads: list[str]
    operations: list[str]
    does: str
    instead: str
    over: str


class Promise(Model):
    """What a technique promises, and what decides it."""

    kind: Literal["quality", "speed", "memory", "safety"]
    statement: fields.Name
    label: str
    races: PromisedRaces | None
    claim: str
    properties: list[str]
    costs: str
    commands: dict[str, str]


class Technique(Model):
    """A technique, with what it promises and which wrong variants each of its properties catches."""

    title: fields.Name
    promises: list[Promise] = Field(default_factory=list)
    caught: dict[str, list[str]] = Field(default_factory=dict)


class LeftOut(Model):
    """What a session did not come to, and how to measure it."""

    kind: Literal["race", "property", "trial"]
    name: str
    keys: list[str]
    command: str


class Session(Model):
    """A session that wrote into this folder."""

    started: str
    finished: str | None
    exit: int | None
    arguments: list[str]
    minutes: float | None = None
    left_out: list[LeftOut] = Field(default_factory=list)


class Run(Model):
    """``run.json``, but for its format, which is looked at first."""

    created: str
    scale: str
    machine: Machine
    environment: dict[str, fields.Plain]
    host: list[Check] | None = None
    machine_hash: fields.Name
    environment_hash: fields.Name
    lock_hash: str | None
    git: Git
    techniques: dict[str, Technique]
    fingerprints: dict[str, str] | None = None
    sessions: list[Session]
