"""Run folders side by side: what each is called, and in which settings they differ.

A side is one run folder: a machine, an environment, and sources at one time. Whoever reads a ratio of two sides wants
to know what changed from the one to the other: the hardware, a package, a setting, or the program itself.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports import words
from reports.statistics.across import FLOOR_UNKNOWN
from reports.store.files import RunFolderError
from reports.store.run_folder import Row
from reports.tables import frames
from reports.tables.frames import Tables
from reports.tables.places import Run, letters, machine_name

HARDWARE, ENVIRONMENT, SETTINGS, SOURCES, RUN = "hardware", "environment", "settings", "sources", "run"

LIMITS = {"cpus_allowed", "cpu_quota_cores", "memory_limit_bytes"}
"""What a container or a policy leaves of the machine, which is a setting though it stands in the environment."""

BACKENDS = {
    "tensorflow": {"tensorflow", "tensorflow-cpu"},
    "jax": {"jax", "jaxlib"},
    "torch": {"torch"},
}
"""The packages that matter to rows of one backend only."""

NEVER_TIMED = {"hypothesis", "pytest", "pytest-benchmark", "scikit-learn"}
"""Packages that no timed step runs."""

ON_GPUS = {"gpus", "nvidia_driver"}
"""Facts that do not matter to what runs on the processor."""

NONE = "none"


@dataclass(frozen=True)
class Fact:
    """One setting of a side, in words."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True)
class Side:
    """One run folder beside others.

    Attributes:
        letter: what it is called in tables.
        name: the letter, the machine, and what else tells it from the other sides.
        tables: all that it holds.
        facts: its settings, by kind and name.
    """

    letter: str
    name: str
    tables: Tables
    facts: Mapping[tuple[str, str], Fact]

    @property
    def run(self) -> Run:
        """The run folder."""
        return self.tables.runs[0]

    @property
    def floor(self) -> float:
        """The smallest ratio that its A/A races could tell from noise, or what counts as that without any."""
        return max(self.tables.floors.values(), default=FLOOR_UNKNOWN)

    @property
    def floor_known(self) -> bool:
        """Whether it held an A/A race."""
        return bool(self.tables.floors)


@dataclass(frozen=True)
class Difference:
    """A setting in which sides differ: what each has, in their order."""

    kind: str
    name: str
    texts: Sequence[str]

    @property
    def title(self) -> str:
        """Its name in words."""
        return title(self.name)


def title(name: str) -> str:
    """What a setting is called: ``physical_cores`` are physical cores, and packages stay as they are."""
    return name.removesuffix("_bytes").replace("_", " ") if name.islower() else name


def read(paths: Sequence[Path]) -> list[Side]:
    """Read run folders as sides, in the order given.

    Raises:
        RunFolderError: there are fewer than two, one is given twice, or one cannot be read.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise RunFolderError(f"{paths[0]} or another run folder is named twice; a comparison needs different ones")
    if len(paths) < 2:
        raise RunFolderError(f"{paths[0]} alone cannot be compared; name a second run folder")
    found = [frames.read([path]) for path in paths]
    facts = [facts_of(tables.runs[0].facts) for tables in found]
    names = _names([tables.runs[0] for tables in found], facts)
    return [Side(*each) for each in zip(letters(), names, found, facts, strict=False)]


def differences(sides: Sequence[Side]) -> list[Difference]:
    """The settings in which sides differ, hardware first."""
    keys = dict.fromkeys(key for side in sides for key in side.facts)
    kinds = (HARDWARE, ENVIRONMENT, SETTINGS, SOURCES, RUN)
    found = [Difference(*key, [_text(side, key) for side in sides]) for key in keys]
    return sorted((each for each in found if len(set(each.texts)) > 1), key=lambda each: kinds.index(each.kind))


def equal(sides: Sequence[Side]) -> list[Fact]:
    """The settings that all sides share."""
    return [fact for key, fact in sides[0].facts.items() if all(_text(side, key) == fact.text for side in sides)]


def _text(side: Side, key: tuple[str, str]) -> str:
    return side.facts[key].text if key in side.facts else NONE


def causes(side: Side, baseline: Side, backend: str, device: str) -> list[str]:
    """What differs between the sides that can matter to rows of a backend and a device: ``hardware``, packages.

    Packages of other backends are left out, and a GPU where something ran on the processor.
    """
    unused = set().union(*(names for name, names in BACKENDS.items() if name != backend)) | NEVER_TIMED
    unused |= ON_GPUS if device == "cpu" else set()
    told = [each for each in differences([baseline, side]) if each.name not in unused]
    changes = [HARDWARE] * any(each.kind == HARDWARE for each in told)
    return changes + [
        f"{each.name} {each.texts[0]} → {each.texts[1]}" for each in told if each.kind in (ENVIRONMENT, SETTINGS)
    ]


def said(causes: Sequence[str], sources: Sequence[str]) -> str:
    """All that differs between two measurements, in words: ``only hardware``, ``hardware and keras 3.14 → 3.15``."""
    changes = [*causes, *([f"the sources of the {' and the '.join(sources)}"] if sources else [])]
    if not changes:
        return "nothing known"
    return f"only {changes[0]}" if len(changes) == 1 else f"{', '.join(changes[:-1])} and {changes[-1]}"


def changed_sources(own: Any, others: Any, measured: str) -> list[str]:
    """Which sources differ, by their digests: of what is measured (``workload``, ``claim``), or the implementation."""
    if own == others:
        return []
    pairs = [str(each).split("-") for each in (own, others)]
    if any(len(pair) != 2 for pair in pairs):
        return [measured]
    return [name for name, a, b in zip((measured, "implementation"), *pairs, strict=True) if a != b]


def facts_of(run: Row) -> dict[tuple[str, str], Fact]:
    """The settings of a run, given its ``run.json``, by kind and name."""
    found = [Fact(HARDWARE, name, _value(name, value)) for name, value in run["machine"].items()]
    for name, value in run["environment"].items():
        kind = SETTINGS if name.isupper() or name in LIMITS else ENVIRONMENT
        found.append(Fact(kind, name, _value(name, value)))
    git = run.get("git") or {}
    revision = f"{str(git['revision'])[:9]}{', changed' if git.get('dirty') else ''}" if git.get("revision") else NONE
    found += [Fact(SOURCES, "revision", revision), Fact(SOURCES, "lock file", str(run.get("lock_hash") or NONE)[:9])]
    for where, digest in (run.get("fingerprints") or {}).items():
        found.append(Fact(RUN, f"bits of a small training, {where}", str(digest)[:9]))
    found += [Fact(RUN, "scale", str(run["scale"])), Fact(RUN, "begun", str(run["created"])[:16].replace("T", " "))]
    return {(fact.kind, fact.name): fact for fact in found}


def _value(name: str, value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{part} {_value(name, each)}" for part, each in value.items()) or NONE
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or NONE
    if name.endswith("_bytes") and isinstance(value, int | float):
        return words.mebibytes(value)
    return str(value)


def _names(runs: Sequence[Run], facts: Sequence[Mapping[tuple[str, str], Fact]]) -> list[str]:
    """A name for each side: its letter and machine and, where several share those, what tells them apart."""
    machines = [machine_name(run.facts["machine"]) for run in runs]
    said = list(machines)
    for machine in set(machines):
        alike = [i for i, name in enumerate(machines) if name == machine]
        keys = sorted({key for i in alike for key in facts[i]}, key=_tells_best)
        for key in keys:
            texts = [facts[i][key].text if key in facts[i] else NONE for i in alike]
            if len(set(texts)) > 1 and max(Counter(said[i] for i in alike).values()) > 1:
                for i, text in zip(alike, texts, strict=True):
                    said[i] += f", {key[1]} {text}"
        if max(Counter(said[i] for i in alike).values()) > 1:
            for i in alike:
                said[i] += f", {runs[i].path}"
    return [f"{letter}: {name}" for letter, name in zip(letters(), said, strict=False)]


def _tells_best(key: tuple[str, str]) -> tuple[int, int, str]:
    """A sort key: a package before a setting, a revision, a time, and the finer points of a processor."""
    kinds = (ENVIRONMENT, SETTINGS, SOURCES, RUN, HARDWARE)
    first = ("tensorflow", "tensorflow-cpu", "keras", "jax", "torch", "python")
    place = first.index(key[1]) if key[1] in first else len(first) + (key[1] in NEVER_TIMED)
    return kinds.index(key[0]), place, "" if key[1] == "begun" else key[1]
