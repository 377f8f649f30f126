"""Where runs were measured, and what their machines are called."""

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reports.store.run_folder import Row


@dataclass(frozen=True)
class Run:
    """One run folder: where it lies, where it was measured, and what its ``run.json`` says."""

    path: Path
    place: str
    facts: Row


def machine_of(facts: Row) -> tuple[str, str]:
    """What tells one machine and environment from another, given a ``run.json``."""
    return facts["machine_hash"], facts["environment_hash"]


def names_of(runs: Iterable[Row]) -> dict[tuple[str, str], str]:
    """A name for every machine and environment: the processor and its cores, with a letter where there are several."""
    distinct = {machine_of(facts): facts["machine"] for facts in runs}
    names = {key: machine_name(machine) for key, machine in distinct.items()}
    if len(names) == 1:
        return names
    return {key: f"{letter}: {name}" for letter, (key, name) in zip(letters(), names.items(), strict=False)}


def letters() -> Iterator[str]:
    """``A`` to ``Z``, then ``AA`` and so on."""
    yield from string.ascii_uppercase
    yield from (f"{first}{second}" for first in string.ascii_uppercase for second in string.ascii_uppercase)


def machine_name(machine: Row) -> str:
    """The processor and its cores, and GPUs where there are any."""
    cores = f"{machine['cores']} cores" if "cores" in machine else ""
    gpus = ", ".join(machine.get("gpus") or [])
    return ", ".join(part for part in (str(machine.get("processor", "unknown machine")), cores, gpus) if part)
