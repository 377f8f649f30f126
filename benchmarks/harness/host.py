"""What makes this host a noisy place to measure in: one function for each suspect, and what to do about it.

A check reads and never changes anything. What it cannot read is unknown, which is not a pass.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.harness import linux
from benchmarks.harness.linux import PROC, SYS, ControlGroup
from benchmarks.harness.machine import virtual
from benchmarks.harness.nvml import Gpu, reasons


class State(StrEnum):
    """Whether a suspect makes this host noisy."""

    GOOD = "good"
    NOISY = "noisy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One suspect.

    Attributes:
        name: the suspect.
        state: good, noisy or unknown.
        found: what was read, in words.
        advice: what to do, in one sentence; empty unless noisy.
    """

    name: str
    state: State
    found: str
    advice: str = ""

    def row(self) -> dict[str, str]:
        """The check as it stands in ``run.json``."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Host:
    """Where a check reads: the roots of the kernel's files."""

    proc: Path = PROC
    sysfs: Path = SYS

    @property
    def cpus(self) -> Path:
        """The folder of what concerns all CPUs, and of each."""
        return self.sysfs / "devices/system/cpu"


UNREADABLE = "not readable here"
STOLEN_SINCE_BOOT = 0.001
"""The share of stolen time that is noisy: a millisecond in each second is what a round can lose to it."""
LOAD_OF_OURS = 1
"""The session that asks has itself been running in the last minute."""
HOT_C = 10
"""A GPU this close to the temperature at which it slows down, in degrees, will get there under load."""


def checks(device: str = "cpu", proc: Path = PROC, sysfs: Path = SYS) -> list[Check]:
    """Look at every suspect; those of the GPU where the device is ``gpu``."""
    found = [check(Host(proc, sysfs)) for check in CHECKS]
    if device == "gpu":
        gpu = Gpu.first()
        found += [check(gpu) for check in GPU_CHECKS] if gpu else [Check("GPU", State.UNKNOWN, UNREADABLE)]
    return found


def governor(host: Host) -> Check:
    """The policy by which the kernel changes clocks."""
    name = "frequency governor"
    paths = host.cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")
    policies = sorted({policy for path in paths if (policy := linux.read(path))})
    if not policies:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if policies == ["performance"]:
        return Check(name, State.GOOD, "performance")
    return Check(
        name, State.NOISY, " and ".join(policies), "Set it with `cpupower frequency-set --governor performance`."
    )


def turbo(host: Host) -> Check:
    """Clocks above the nominal one, which depend on heat and on how many cores are busy."""
    name = "turbo"
    off, on = linux.number(host.cpus / "intel_pstate/no_turbo"), linux.number(host.cpus / "cpufreq/boost")
    if off is None and on is None:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if off == 1 or (off is None and on == 0):
        return Check(name, State.GOOD, "off")
    switch = "echo 1 > intel_pstate/no_turbo" if off is not None else "echo 0 > cpufreq/boost"
    return Check(
        name, State.NOISY, "on", f"For small differences turn it off: `{switch}`, below /sys/devices/system/cpu."
    )


def hyper_threading(host: Host) -> Check:
    """CPUs that share a core's units."""
    name = "hyper-threading"
    allowed = linux.allowed_cpus(host.proc)
    cores = [linux.read(host.cpus / f"cpu{cpu}/topology/thread_siblings_list") for cpu in allowed]
    if not allowed or None in cores:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if len(set(cores)) < len(cores):
        one_each = ",".join(str(cpu) for place, cpu in enumerate(allowed) if cores[place] not in cores[:place])
        advice = f"Run on one CPU of each core, with `taskset --cpu-list {one_each}`."
        return Check(name, State.NOISY, f"{len(cores)} CPUs share {len(set(cores))} cores", advice)
    if virtual(host.proc, host.sysfs):
        return Check(name, State.UNKNOWN, "none shown, but a virtual machine need not show it")
    return Check(name, State.GOOD, f"each of {len(cores)} CPUs has a core of its own")


def load(host: Host) -> Check:
    """What else has been running."""
    name, text = "load", linux.read(host.proc / "loadavg")
    if not text:
        return Check(name, State.UNKNOWN, UNREADABLE)
    load1 = float(text.split()[0])
    found = f"{load1:.2f} tasks on the last minute's average"
    if load1 - LOAD_OF_OURS < 1:
        return Check(name, State.GOOD, found)
    return Check(name, State.NOISY, found, "End what else runs; if it was your own last run, wait a minute.")


def steal(host: Host) -> Check:
    """Time that a hypervisor gave to other machines."""
    name, fields = "steal time", linux.pairs(host.proc / "stat").get("cpu", "").split()
    if len(fields) < 8:
        return Check(name, State.UNKNOWN, UNREADABLE)
    share = int(fields[7]) / (sum(map(int, fields[:8])) or 1)
    if share == 0 and virtual(host.proc, host.sysfs):
        return Check(name, State.UNKNOWN, "none since boot, but a hypervisor need not tell")
    found = f"{share:.2%} of the CPU time since boot"
    if share <= STOLEN_SINCE_BOOT:
        return Check(name, State.GOOD, found)
    return Check(name, State.NOISY, found, "Take a machine, or an instance type, with cores of its own.")


def cpu_quota(host: Host) -> Check:
    """A quota below the CPUs that frameworks see, and start threads for: all stop when the threads have used it up."""
    name, cores = "CPU quota", ControlGroup.of("cpu", host.proc, host.sysfs).cores()
    seen = len(linux.allowed_cpus(host.proc))
    if cores is None or not seen:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if cores >= seen:
        return Check(name, State.GOOD, "none" if math.isinf(cores) else f"{cores:g} cores for {seen} CPUs")
    whole = max(1, math.floor(cores))
    advice = f"Give the container {seen} cores, or let it see {whole} with `--cpuset-cpus`, as many as the quota pays."
    return Check(name, State.NOISY, f"{cores:g} cores for {seen} CPUs", advice)


def memory_limit(host: Host) -> Check:
    """A limit at which the kernel takes pages back while a round is measured."""
    name, group = "memory limit", ControlGroup.of("memory", host.proc, host.sysfs)
    limit = group.memory_bytes()
    if limit is None:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if math.isinf(limit):
        return Check(name, State.GOOD, "none")
    met = [group.count("memory.events", "max"), *(linux.number(level / "memory.failcnt") for level in group.levels)]
    times = sum(filter(None, met))
    if all(count is None for count in met):
        return Check(name, State.UNKNOWN, f"{limit / (1 << 30):.1f} GiB; how often it was met is {UNREADABLE}")
    found = f"{limit / (1 << 30):.1f} GiB, met {times}×"
    if not times:
        return Check(name, State.GOOD, found)
    return Check(name, State.NOISY, found, "Give the container more memory, or choose smaller workloads.")


def swap(host: Host) -> Check:
    """Memory that has gone to disk."""
    name, memory = "swap", linux.pairs(host.proc / "meminfo")
    if not {"SwapTotal", "SwapFree"} <= set(memory):
        return Check(name, State.UNKNOWN, UNREADABLE)
    total, free = (int(memory[field].split()[0]) for field in ("SwapTotal", "SwapFree"))
    if total == free:
        return Check(name, State.GOOD, "none in use")
    return Check(name, State.NOISY, f"{(total - free) >> 10} MiB in use", "Free memory before a run.")


def battery(host: Host) -> Check:
    """A laptop that saves power."""
    name, folder = "power supply", host.sysfs / "class/power_supply"
    if not folder.is_dir():
        return Check(name, State.UNKNOWN, UNREADABLE)
    supplies = [each for each in folder.iterdir() if linux.read(each / "type") == "Battery"]
    own = [each for each in supplies if linux.read(each / "scope") != "Device"]  # a mouse has a battery too
    states = {linux.read(each / "status") for each in own}
    if "Discharging" in states:
        return Check(name, State.NOISY, "on battery", "Plug it in.")
    return Check(name, State.GOOD, "mains" if own else "no battery")


def address_space(host: Host) -> Check:
    """Where a program's parts lie in memory, by which alone speeds differ.

    Mytkowicz, Diwan, Hauswirth & Sweeney 2009, "Producing Wrong Data Without Doing Anything Obviously Wrong!".
    """
    name, level = "address-space layout", linux.number(host.proc / "sys/kernel/randomize_va_space")
    if level is None:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if level:
        return Check(name, State.GOOD, "drawn anew at each start of a program")
    advice = "Turn randomisation on again: with one fixed layout, what holds may hold for that layout only."
    return Check(name, State.NOISY, "fixed", advice)


CHECKS: tuple[Callable[[Host], Check], ...] = (
    *(governor, turbo, hyper_threading, load, steal),
    *(cpu_quota, memory_limit, swap, battery, address_space),
)


def persistence(gpu: Gpu) -> Check:
    """Whether the driver stays loaded between programs."""
    name, mode = "GPU persistence mode", gpu.ask("PersistenceMode")
    if mode is None:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if mode:
        return Check(name, State.GOOD, "on")
    return Check(name, State.NOISY, "off", "Turn it on with `nvidia-smi --persistence-mode=1`.")


def strangers(gpu: Gpu) -> Check:
    """Other processes on the GPU; before a run all are."""
    name, processes = "other processes on the GPU", gpu.processes()
    if processes is None:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if not processes:
        return Check(name, State.GOOD, "none")
    return Check(name, State.NOISY, f"{len(processes)}", "End them, or choose another GPU by CUDA_VISIBLE_DEVICES.")


def clocks(gpu: Gpu) -> Check:
    """The GPU's clock: NVML does not tell whether it has been locked."""
    name, now, most = "GPU clocks", gpu.clock_mhz(), gpu.ask("MaxClockInfo", gpu.library.NVML_CLOCK_SM)
    if now is None or most is None:
        return Check(name, State.UNKNOWN, UNREADABLE)
    return Check(name, State.UNKNOWN, f"{now} MHz now, {most} at most; whether they are locked is {UNREADABLE}")


def temperature(gpu: Gpu) -> Check:
    """How far the GPU is from the temperature at which it slows down."""
    name, now = "GPU temperature", gpu.temperature_c()
    limit = gpu.ask("TemperatureThreshold", gpu.library.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
    if now is None or limit is None:
        return Check(name, State.UNKNOWN, UNREADABLE if now is None else f"{now} °C; its limit is {UNREADABLE}")
    found = f"{now} °C; it slows down at {limit}"
    if limit - now >= HOT_C:
        return Check(name, State.GOOD, found)
    return Check(name, State.NOISY, found, "Let it cool down, and look after its fans.")


def throttling(gpu: Gpu) -> Check:
    """What slows the GPU down now."""
    name, bits = "GPU throttling", gpu.slowed_by()
    if bits is None:
        return Check(name, State.UNKNOWN, UNREADABLE)
    if not bits:
        return Check(name, State.GOOD, "none")
    return Check(name, State.NOISY, "by " + " and ".join(reasons(bits)), "Raise the power limit, or cool it better.")


GPU_CHECKS: tuple[Callable[[Gpu], Check], ...] = (persistence, strangers, clocks, temperature, throttling)
