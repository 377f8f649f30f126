"""What Linux tells of itself below /proc and /sys: text, numbers, sets of CPUs, and this process's control groups.

What is missing, or may not be read, is ``None``: never a zero, and never a limit that is not there. The roots are
parameters, so that the files of another machine can be laid out in a folder.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC, SYS = Path("/proc"), Path("/sys")


def read(path: Path) -> str | None:
    """A file's text without the last line's end, or ``None`` where there is no such file or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """The whole number that a file holds, else ``None``."""
    text = read(path)
    return int(text) if text and text.removeprefix("-").isdecimal() else None


def pairs(path: Path) -> dict[str, str]:
    """A file of ``name: value`` or ``name value`` lines, the first of each name; empty where it cannot be read."""
    found: dict[str, str] = {}
    for line in (read(path) or "").splitlines():
        name, _, value = line.partition(":" if ":" in line else " ")
        found.setdefault(name.strip(), value.strip())
    return found


def cpu_set(text: str | None) -> tuple[int, ...]:
    """CPU numbers from the kernel's notation, such as ``0-3,8``."""
    spans = [span.partition("-") for span in (text or "").split(",") if span.strip()]
    return tuple(cpu for first, _, last in spans for cpu in range(int(first), int(last or first) + 1))


def cpus(sysfs: Path = SYS) -> Iterator[Path]:
    """The folders of the CPUs that are present, by number; those that are offline have less in them."""
    for cpu in cpu_set(read(sysfs / "devices/system/cpu/present")):
        yield sysfs / f"devices/system/cpu/cpu{cpu}"


def allowed_cpus(proc: Path = PROC) -> tuple[int, ...]:
    """The CPUs on which this process may run."""
    return cpu_set(pairs(proc / "self/status").get("Cpus_allowed_list"))


@dataclass(frozen=True)
class ControlGroup:
    """This process's place under one controller: its own group and all groups around it, whose limits bind it too.

    Both versions of control groups are understood. In a container the path that the kernel gives may be that of the
    host, of which the container sees the end only: levels that are not there are passed over.

    Attributes:
        levels: folders from the innermost group to the root of what is mounted; none where nothing is mounted.
    """

    levels: tuple[Path, ...]

    @classmethod
    def of(cls, controller: str, proc: Path = PROC, sysfs: Path = SYS) -> "ControlGroup":
        """The groups of this process under ``cpu`` or ``memory``: version 1 where it is bound there, else 2."""
        lines = [line.split(":", 2) for line in (read(proc / "self/cgroup") or "").splitlines()]
        below = {names: path.strip("/") for _, names, path in lines}
        mounted = sysfs / "fs/cgroup"
        names = next((names for names in below if controller in names.split(",")), "")
        roots = [mounted / names, mounted / controller] if names else [mounted, mounted / "unified"]
        root = next((root for root in roots if (root / "cgroup.procs").is_file()), None)
        if root is None or names not in below:
            return cls(())
        inner = Path(*(part for part in Path(below[names]).parts if part != ".."))
        return cls(tuple(level for each in (inner, *inner.parents) if (level := root / each).is_dir()))

    def cores(self) -> float | None:
        """The cores' worth of time that the quotas allow; infinity without one, ``None`` where it cannot be read."""
        return self._tightest(_quota)

    def memory_bytes(self) -> float | None:
        """The memory limit; infinity where there is none, ``None`` where it cannot be read."""
        return self._tightest(_memory)

    def count(self, file: str, name: str) -> int | None:
        """A counter's sum over all levels, such as ``nr_throttled`` of ``cpu.stat``; ``None`` where none has it."""
        found = [pairs(level / file).get(name) for level in self.levels]
        return sum(int(value) for value in found if value) if any(found) else None

    def _tightest(self, limit: Callable[[Path], float]) -> float | None:
        return min(map(limit, self.levels), default=None)


def _quota(level: Path) -> float:
    if text := read(level / "cpu.max"):  # version 2: "max 100000" or "200000 100000"
        quota, period = text.split()
        return math.inf if quota == "max" else int(quota) / int(period)
    us, per_us = number(level / "cpu.cfs_quota_us"), number(level / "cpu.cfs_period_us")
    return us / per_us if us and per_us and us > 0 else math.inf


def _memory(level: Path) -> float:
    limit = number(level / "memory.max") or number(level / "memory.limit_in_bytes")
    # Version 1 writes "none" as the largest multiple of a page that a signed 64-bit number holds.
    return math.inf if limit is None or limit >= 1 << 62 else limit
