"""Energy: joules from the counters of the processor (RAPL) or of the GPU (NVML), where they can be read.

A counter counts whatever its package or GPU does: other processes, other cores and idling too. Contenders take turns,
so each one's rounds can be counted apart, and their differences are fair; their levels hold the machine's own.

RAPL counts the package, not the memory beside it, and its counter moves about every millisecond (Hähnel, Döbel, Völp &
Härtig 2012, "Measuring Energy Consumption for Short Code Paths Using RAPL"). Since CVE-2020-8694 it is root's to read.
NVML's moves every 10 ms or more rarely, by what the board's sensor saw, which on A100 and H100 is a quarter of the time
(Yang, Adámek & Armour 2024, "Accurate and Convenient Energy Measurements for GPUs", SC24).
"""

from pathlib import Path
from typing import Protocol

from benchmarks.harness import linux
from benchmarks.harness.nvml import Gpu


class Meter(Protocol):
    """A counter of energy.

    Attributes:
        resolution_s: the time between two moves of the counter; what is much shorter cannot be told apart.
    """

    resolution_s: float

    def joules(self) -> float:
        """Joules since the meter was made; never decreases."""


class Rapl:
    """The packages of a processor, summed.

    A counter starts again from zero at its range, which takes minutes at full power: read it more often than that.
    """

    resolution_s = 1e-3

    def __init__(self, packages: dict[Path, int]) -> None:
        """Take each package's folder, and its counter's range in microjoules.

        Raises:
            OSError: a counter may not be read.
        """
        self._packages = packages
        self._last = {package: _microjoules(package) for package in packages}
        self._total = 0

    def joules(self) -> float:
        """Joules since the meter was made, of all packages."""
        for package, range_uj in self._packages.items():
            now = _microjoules(package)
            gained = now - self._last[package]
            self._total += gained if gained >= 0 else gained + range_uj
            self._last[package] = now
        return self._total * 1e-6


class GpuEnergy:
    """The GPU on which a contender computes; Volta and later have the counter, in millijoules."""

    resolution_s = 0.1  # ten times the fastest that was seen: drivers and boards differ, and none tells

    def __init__(self, gpu: Gpu, start_mj: int) -> None:
        self._gpu, self._start, self._last = gpu, start_mj, start_mj

    def joules(self) -> float:
        """Joules since the meter was made."""
        now = self._gpu.ask("TotalEnergyConsumption")
        self._last = self._last if now is None else max(self._last, now)
        return (self._last - self._start) * 1e-3


def meter(device: str, sysfs: Path = linux.SYS) -> Meter | None:
    """A counter of the energy that a device (``cpu`` or ``gpu``) takes, or ``None`` where it is not measurable.

    Make it in the process that reads it: NVML does not survive a fork.
    """
    if device == "gpu":
        gpu = Gpu.first()
        start = gpu.ask("TotalEnergyConsumption") if gpu else None
        return None if gpu is None or start is None else GpuEnergy(gpu, start)
    packages = {}
    for zone in sorted((sysfs / "class/powercap").glob("intel-rapl:*")):  # AMD's too; cores and memory lie below them
        if (linux.read(zone / "name") or "").startswith("package-"):
            range_uj = linux.number(zone / "max_energy_range_uj")
            if range_uj is None or linux.number(zone / "energy_uj") is None:
                return None  # a sum over some of the packages would look like one over all
            packages[zone] = range_uj
    return Rapl(packages) if packages else None


def _microjoules(package: Path) -> int:
    return int((package / "energy_uj").read_text(encoding="ascii"))
