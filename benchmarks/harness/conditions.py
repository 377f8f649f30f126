"""The conditions under which a block was measured: what has been taken from the contenders since the last reading.

Shares are of the CPUs on which this process may run. The kernel counts their time in ticks of 10 ms, whatever it is
that runs when the tick comes, and that is as fine as a reading can be.
"""

import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.harness import linux
from benchmarks.harness.linux import PROC, SYS, ControlGroup
from benchmarks.harness.nvml import Gpu, reasons

TICKS_PER_S = 100
"""Linux counts in these for its users whatever its own tick is (USER_HZ; proc(5), /proc/stat)."""
SAMPLED_CPUS = 16
"""CPUs whose frequency and heat are read: asking hundreds of them would take longer than a short round."""
STOLEN = 0.01
"""The share of stolen time that is named: half of the smallest difference that a race is meant to see."""


class Conditions:
    """Reads counters once per block; one reading takes a fraction of a millisecond on a CPU.

    The keys of a reading, each left out where this system does not tell it:
        ``seconds``: since the last reading. ``cores``: CPUs on which this process may run.
        ``steal``: share of their time that a hypervisor gave to other machines.
        ``others``: share of their time that was busy with something else than this process and those in ``own``.
        ``load1``: tasks that ran or waited, on the average of the last minute. ``frequency_mhz``: mean over CPUs, now.
        ``throttled_by_quota``, ``throttled_by_heat``: how often since the last reading.
        ``gpu_clock_mhz``, ``gpu_temperature_c``, ``gpu_slowed_by`` (bits of `nvml.SLOWED_BY`): now.
        ``gpu_others``: processes on the GPU, now, that are neither this one nor in ``own``.
    """

    def __init__(self, device: str = "cpu", proc: Path = PROC, sysfs: Path = SYS) -> None:
        self._proc = proc
        self._gpu = Gpu.first() if device == "gpu" else None
        allowed = linux.allowed_cpus(proc)
        self._lines = {f"cpu{cpu}" for cpu in allowed}
        group = ControlGroup.of("cpu", proc, sysfs)
        self._group = group if math.isfinite(group.cores() or math.inf) else ControlGroup(())
        sample = [f"cpu{cpu}" for cpu in allowed[:: -(-len(allowed) // SAMPLED_CPUS) or 1]]
        folders = [sysfs / "devices/system/cpu" / cpu for cpu in sample]
        self._clocks = [path for each in folders if (path := each / "cpufreq/scaling_cur_freq").is_file()]
        heat = [each / f"thermal_throttle/{unit}_throttle_count" for each in folders for unit in ("core", "package")]
        self._heat = [path for path in heat if path.is_file()]
        flags = linux.pairs(proc / "cpuinfo").get("flags", "")
        self._cpuinfo_measures = "aperfmperf" in flags.split()  # without, its "cpu MHz" is what was set, not what is
        self._own = self._ticks_of({os.getpid()})
        self._before = self._counters()

    def read(self, own: Iterable[int] = ()) -> dict[str, float]:
        """The conditions since the last reading, or since this was made.

        Args:
            own: the processes whose work is measured, beside this one. One that was not given at the last reading
                counts with all its time, as is right where it was forked since; one that has ended since is counted
                by its parent, as long as that has waited for it and is among them.
        """
        ours = {os.getpid(), *own}
        now, work = self._counters(), self._ticks_of(ours | self._own.keys())
        before, self._before = self._before, now
        worked = max(0, sum(work.values()) - sum(self._own.values()))
        self._own = {pid: work[pid] for pid in ours}
        since = {name: now[name] - before[name] for name in now.keys() & before.keys()}
        found = {"seconds": since["seconds"], "cores": now.get("cores")}
        if since.get("total", 0) > 0:
            found["steal"] = since["steal"] / since["total"]
            found["others"] = max(0.0, since["busy"] - worked) / since["total"]
        found |= {name: since.get(name) for name in ("throttled_by_quota", "throttled_by_heat")}
        load = linux.read(self._proc / "loadavg")
        found |= {"load1": float(load.split()[0]) if load else None, "frequency_mhz": self._frequency()}
        if self._gpu:
            found |= _gpu(self._gpu, ours)
        return {name: float(value) for name, value in found.items() if value is not None}

    def _ticks_of(self, processes: Iterable[int]) -> dict[int, int]:
        return {pid: _ticks(self._proc / f"{pid}/stat") for pid in processes}

    def _counters(self) -> dict[str, float]:
        found: dict[str, float] = {"seconds": time.monotonic()}
        lines = (linux.read(self._proc / "stat") or "").partition("\nintr")[0].splitlines()
        times = [[int(text) for text in line.split()[1:9]] for line in lines if line.partition(" ")[0] in self._lines]
        if times:
            user, nice, system, idle, waiting, interrupt, soft, steal = map(sum, zip(*times, strict=True))
            busy = user + nice + system + interrupt + soft
            found |= {"busy": busy, "steal": steal, "total": busy + idle + waiting + steal, "cores": len(times)}
        throttled = self._group.count("cpu.stat", "nr_throttled")
        if throttled is not None:
            found["throttled_by_quota"] = throttled
        if self._heat:
            found["throttled_by_heat"] = sum(linux.number(path) or 0 for path in self._heat)
        return found

    def _frequency(self) -> float | None:
        clocks = [khz / 1000 for path in self._clocks if (khz := linux.number(path))]
        if not clocks and self._cpuinfo_measures:
            lines = (linux.read(self._proc / "cpuinfo") or "").splitlines()
            clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
        return sum(clocks) / len(clocks) if clocks else None


def _ticks(stat: Path) -> int:
    """CPU time of a process and of the children that it has waited for; none where it is gone (proc(5), fields 14-17).

    Where a process ends and its parent waits for it, its time moves over to the parent: their sum goes on steadily.
    """
    text = linux.read(stat)
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) if text else 0


def _gpu(gpu: Gpu, ours: set[int]) -> dict[str, float | None]:
    present = gpu.processes()
    # Where none of them is ours, the driver may number processes as the container's host does, and nobody is known.
    counted = present is not None and (not present or not ours.isdisjoint(present))
    return {
        "gpu_clock_mhz": gpu.clock_mhz(),
        "gpu_temperature_c": gpu.temperature_c(),
        "gpu_slowed_by": gpu.slowed_by(),
        "gpu_others": len(present - ours) if counted and present is not None else None,
    }


def busy_neighbour(reading: Mapping[str, float]) -> str | None:
    """What disturbed a block, in words; ``None`` where nothing did that was readable.

    Others are named when they kept more than half a core busy (nearer to one whole core than to none), after the error
    of the ticks: one per CPU, which add as independent errors do. Stolen time is named above `STOLEN` and two ticks;
    throttling and strangers on the GPU always.
    """
    cores, seconds = reading.get("cores", 1.0), reading.get("seconds", 0.0)
    ticks = TICKS_PER_S * seconds
    said = []
    taken, stolen = reading.get("others", 0.0) * cores, reading.get("steal", 0.0)
    if taken * ticks > 0.5 * ticks + math.sqrt(cores):
        said.append(f"other processes kept {taken:.1f} of {cores:.0f} cores busy")
    if stolen > STOLEN and stolen * cores * ticks > 2:
        said.append(f"the hypervisor gave {stolen:.0%} of the CPU time to others")
    if count := reading.get("throttled_by_quota"):
        said.append(f"the CPU quota stopped this container {count:.0f}×")
    if count := reading.get("throttled_by_heat"):
        said.append(f"heat slowed the processor {count:.0f}×")
    if bits := reading.get("gpu_slowed_by"):
        said.append(f"the GPU was slowed by {' and '.join(reasons(bits))}")
    if count := reading.get("gpu_others"):
        said.append(f"{count:.0f} other {'process was' if count == 1 else 'processes were'} on the GPU")
    return "; ".join(said) or None
