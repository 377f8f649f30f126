"""Files of /proc and /sys as they stand on several machines, laid out in a folder for the tests of the harness.

Shortened to what is read: the Xeon to two of its cores, each file to its first lines. The values are those of real
machines: a Xeon Gold 6140 server, the virtual EPYC on which Touchstone was written, a laptop with an i7-8650U, and
containers as Docker (control groups of version 1) and Kubernetes (version 2) set them up.
"""

from dataclasses import dataclass
from pathlib import Path

X86 = "fpu vme de pse tsc msr sse sse2 ht syscall lm constant_tsc nonstop_tsc sse4_1 sse4_2 avx f16c fma avx2"
AVX512 = "avx512f avx512dq avx512cd avx512bw avx512vl"
EPYC_FLAGS = f"{X86} hypervisor {AVX512} avx512_bf16 avx512_vnni"


@dataclass(frozen=True)
class Files:
    """The roots of a machine's files."""

    root: Path

    @property
    def roots(self) -> dict[str, Path]:
        """The arguments by which the harness reads these files and not this machine's."""
        return {"proc": self.root / "proc", "sysfs": self.root / "sys"}

    def lay(self, files: dict[str, str]) -> "Files":
        """Write files, by their path below the root."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n" if text else "", encoding="utf-8")
        return self


def cpuinfo(vendor: str, family: int, model: int, name: str, stepping: int, flags: str, mhz: list[float]) -> str:
    """/proc/cpuinfo of a processor whose CPUs run at these frequencies."""
    return "\n\n".join(
        f"processor\t: {cpu}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {name}\n"
        f"stepping\t: {stepping}\nmicrocode\t: 0x2000026\ncpu MHz\t\t: {each:.3f}\ncache size\t: 25344 KB\n"
        f"flags\t\t: {flags}\nbogomips\t: {each * 2:.2f}"
        for cpu, each in enumerate(mhz)
    )


def topology(siblings: list[str], caches: dict[str, str]) -> dict[str, str]:
    """The folders of CPUs, given the CPUs with which each shares a core, and caches such as ``{"L1d": "32K"}``."""
    cpu = "sys/devices/system/cpu"
    kinds = {"d": "Data", "i": "Instruction"}
    files = {f"{cpu}/present": f"0-{len(siblings) - 1}", f"{cpu}/online": f"0-{len(siblings) - 1}"}
    files |= {f"{cpu}/cpu{n}/topology/thread_siblings_list": each for n, each in enumerate(siblings)}
    for index, (name, size) in enumerate(caches.items()):
        folder = f"{cpu}/cpu0/cache/index{index}"
        files |= {f"{folder}/level": name[1], f"{folder}/size": size}
        files[f"{folder}/type"] = kinds.get(name[2:], "Unified")
    return files | {"proc/self/status": f"Name:\tpytest\nCpus_allowed_list:\t0-{len(siblings) - 1}"}


def stat(*cpus: tuple[int, int, int]) -> str:
    """/proc/stat, given each CPU's busy, idle and stolen ticks."""
    rows = [f"{busy} 0 0 {idle} 0 0 0 {steal} 0 0" for busy, idle, steal in cpus]
    total = " ".join(str(sum(column)) for column in zip(*(map(int, row.split()) for row in rows), strict=True))
    return f"cpu  {total}\n" + "".join(f"cpu{n} {row}\n" for n, row in enumerate(rows)) + "intr 17874562 0 9 0"


def xeon(root: Path, mhz: tuple[float, ...] = (999.960, 1000.023, 2301.0, 999.9)) -> Files:
    """A server of two packages with hyper-threading, at the settings with which it was delivered."""
    flags = f"{X86} {AVX512} aperfmperf"
    cpu, rapl = "sys/devices/system/cpu", "sys/class/powercap"
    files = {
        "proc/cpuinfo": cpuinfo("GenuineIntel", 6, 85, "Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz", 4, flags, list(mhz)),
        "proc/meminfo": "MemTotal:       197546340 kB\nSwapTotal:       4194300 kB\nSwapFree:        4194300 kB",
        "proc/stat": stat((100, 900, 0), (0, 1000, 0), (100, 900, 0), (0, 1000, 0)),
        "proc/loadavg": "0.12 0.08 0.05 1/312 14823",
        "proc/self/cgroup": "0::/user.slice/user-1000.slice/session-3.scope",
        "proc/sys/kernel/randomize_va_space": "2",
        "sys/fs/cgroup/cgroup.procs": "",
        "sys/fs/cgroup/user.slice/cpu.max": "max 100000",
        "sys/fs/cgroup/user.slice/memory.max": "max",
        "sys/devices/system/node/online": "0-1",
        "sys/class/power_supply/.keep": "",
        f"{cpu}/intel_pstate/no_turbo": "0",
    }
    for n in range(4):
        files |= {
            f"{cpu}/cpu{n}/cpufreq/scaling_governor": "powersave",
            f"{cpu}/cpu{n}/cpufreq/scaling_cur_freq": f"{mhz[n] * 1000:.0f}",
            f"{cpu}/cpu{n}/thermal_throttle/core_throttle_count": "0",
            f"{cpu}/cpu{n}/thermal_throttle/package_throttle_count": "3",
        }
    for zone, name, energy in (("0", "package-0", 262143328000), ("1", "package-1", 50), ("0:0", "dram", 7)):
        folder = f"{rapl}/intel-rapl:{zone}"
        files |= {f"{folder}/name": name, f"{folder}/energy_uj": str(energy)}
        files[f"{folder}/max_energy_range_uj"] = "262143328850"
    caches = {"L1d": "32K", "L1i": "32K", "L2": "1024K", "L3": "25344K"}
    return Files(root).lay(topology(["0,2", "1,3", "0,2", "1,3"], caches) | files)


def epyc(root: Path) -> Files:
    """A virtual machine: its hypervisor gives no clocks, no powers and a shortened name."""
    files = {
        "proc/cpuinfo": cpuinfo("AuthenticAMD", 25, 17, "AMD EPYC", 1, EPYC_FLAGS, [2596.142] * 2),
        "proc/meminfo": "MemTotal:       24684096 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB",
        "proc/stat": stat((1650, 828, 4), (1981, 551, 4)),
        "proc/loadavg": "3.91 3.01 2.54 6/131 13477",
        "proc/self/cgroup": "4:memory:/process_api/a310\n2:cpuacct:/\n1:cpu:/\n0::/",
        "proc/sys/kernel/randomize_va_space": "2",
        "sys/fs/cgroup/cpu/cgroup.procs": "",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/cgroup.procs": "",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/process_api/a310/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/unified/cgroup.procs": "",
        "sys/devices/system/memory/block_size_bytes": "8000000",
        "sys/devices/system/node/online": "0",
        "sys/class/power_supply/.keep": "",
    }
    files |= {f"sys/devices/system/memory/memory{n}/online": "1" for n in range(192)}
    caches = {"L1d": "32K", "L1i": "32K", "L2": "1024K", "L3": "32768K"}
    return Files(root).lay(topology(["0", "1"], caches) | files)


def laptop(root: Path) -> Files:
    """A laptop on battery, with a mouse that has a battery of its own."""
    supply = "sys/class/power_supply"
    files = {
        "proc/cpuinfo": cpuinfo("GenuineIntel", 6, 142, "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", 10, X86, [799.998]),
        "proc/meminfo": "MemTotal:       16042172 kB\nSwapTotal:       2097148 kB\nSwapFree:        1572860 kB",
        "proc/loadavg": "1.20 0.90 0.70 2/900 4242",
        f"{supply}/AC/type": "Mains",
        f"{supply}/BAT0/type": "Battery",
        f"{supply}/BAT0/status": "Discharging",
        f"{supply}/hidpp_battery_0/type": "Battery",
        f"{supply}/hidpp_battery_0/scope": "Device",
        f"{supply}/hidpp_battery_0/status": "Discharging",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
        "sys/devices/system/cpu/cpufreq/boost": "0",
    }
    return Files(root).lay(topology(["0"], {}) | files)


def docker(root: Path) -> Files:
    """The Xeon in a container under version 1: the kernel gives the host's path, of which only the end is there."""
    return xeon(root).lay(
        {
            "proc/self/cgroup": "5:memory:/docker/3c2f\n4:cpu,cpuacct:/docker/3c2f\n0::/system.slice/docker.service",
            "sys/fs/cgroup/cpu,cpuacct/cgroup.procs": "1",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 50\nnr_throttled 12\nthrottled_time 3938134000",
            "sys/fs/cgroup/memory/cgroup.procs": "1",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296",
            "sys/fs/cgroup/memory/memory.failcnt": "0",
        }
    )


def kubernetes(root: Path) -> Files:
    """The Xeon in a pod under version 2: the pod's quota is tighter than the container's own."""
    pod = "sys/fs/cgroup/kubepods.slice/pod7f1"
    return xeon(root).lay(
        {
            "proc/self/cgroup": "0::/kubepods.slice/pod7f1/cri-9ab.scope",
            f"{pod}/cpu.max": "200000 100000",
            f"{pod}/cpu.stat": "usage_usec 1023799\nnr_periods 50\nnr_throttled 50\nthrottled_usec 3938134",
            f"{pod}/memory.max": "max",
            f"{pod}/cri-9ab.scope/cpu.max": "300000 100000",
            f"{pod}/cri-9ab.scope/cpu.stat": "usage_usec 1023799\nnr_periods 40\nnr_throttled 2\nthrottled_usec 9",
            f"{pod}/cri-9ab.scope/memory.max": "2147483648",
            f"{pod}/cri-9ab.scope/memory.events": "low 0\nhigh 0\nmax 17\noom 0\noom_kill 0",
        }
    )
