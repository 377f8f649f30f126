"""The machine and the environment in which a run takes place, in two layers that are hashed apart.

The machine is hardware: it stays the same when a package or the kernel is updated, and while clocks jitter, which is
why no frequency is in it. The environment is software, and what a container or a policy leaves of the hardware. Rows of
one run share both.
"""

import functools
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import linux
from benchmarks.harness.linux import PROC, SYS, ControlGroup

PACKAGES = (
    *("tensorflow", "tensorflow-cpu", "keras", "jax", "jaxlib", "torch", "numpy", "scipy", "h5py", "ml-dtypes"),
    *("hypothesis", "pytest", "pytest-benchmark", "scikit-learn"),
)
VARIABLES = (
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "XLA_FLAGS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "NVIDIA_TF32_OVERRIDE",
    "TF_DETERMINISTIC_OPS",
)
SIMD = {
    *("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svebf16", "sme"),
}
"""The instruction sets by which kernel libraries choose their kernels, as Linux spells them: oneDNN's guide, "CPU
Dispatcher Control"; the last line is Arm's."""
GIBIBYTE = 1 << 30


@functools.cache
def gpus() -> tuple[str, ...]:
    """The names of the NVIDIA GPUs that the driver lists, without loading a framework; empty where there is none."""
    return _nvidia("name")


def machine(proc: Path = PROC, sysfs: Path = SYS) -> dict[str, Any]:
    """The hardware: processor, cores, caches, instruction sets, memory (bytes), GPUs; ``None`` where it is not told."""
    cpuinfo = linux.pairs(proc / "cpuinfo")
    flags = cpuinfo.get("flags", cpuinfo.get("Features", "")).split()
    cores = [linux.read(cpu / "topology/thread_siblings_list") for cpu in linux.cpus(sysfs)]
    nodes = linux.cpu_set(linux.read(sysfs / "devices/system/node/online"))
    return {
        "processor": cpuinfo.get("model name") or platform.processor() or platform.machine(),
        "model": _model(cpuinfo),
        "architecture": platform.machine(),
        "cores": len(cores) or os.cpu_count() or 1,
        "physical_cores": len(set(filter(None, cores))) or psutil.cpu_count(logical=False),
        "caches_bytes": _caches(sysfs),
        "simd": sorted(SIMD.intersection(flags)),
        "numa_nodes": len(nodes) or None,
        "virtual": virtual(proc, sysfs),
        "memory_bytes": _memory(proc, sysfs),
        "gpus": list(gpus()),
    }


def environment(proc: Path = PROC, sysfs: Path = SYS) -> dict[str, Any]:
    """The software: system, Python, the packages that results depend on, and the variables that change them.

    And, where they are smaller than the machine: the CPUs on which this process may run, the cores' worth of time that
    a quota leaves, and the memory (bytes) that a limit does.
    """
    hardware, microcode = machine(proc, sysfs), linux.pairs(proc / "cpuinfo").get("microcode")
    limits = {
        "cpus_allowed": (len(linux.allowed_cpus(proc)), hardware["cores"]),
        "cpu_quota_cores": (ControlGroup.of("cpu", proc, sysfs).cores(), hardware["cores"]),
        "memory_limit_bytes": (ControlGroup.of("memory", proc, sysfs).memory_bytes(), hardware["memory_bytes"]),
    }
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **({"microcode": microcode} if microcode else {}),
        **({"nvidia_driver": _nvidia("driver_version")[0]} if gpus() else {}),
        **{name: limit for name, (limit, whole) in limits.items() if limit and limit < whole},
        **{name: version for name in PACKAGES if (version := _version(name)) is not None},
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def virtual(proc: Path = PROC, sysfs: Path = SYS) -> bool | None:
    """Whether this is a virtual machine; ``None`` where the system does not tell."""
    if (sysfs / "hypervisor/type").is_file():
        return True
    flags = linux.pairs(proc / "cpuinfo").get("flags")  # Arm's are called "Features", and have no such word
    return None if flags is None else "hypervisor" in flags.split()


def _model(cpuinfo: dict[str, str]) -> str | None:
    """What tells processors apart whose name a hypervisor has shortened to that of the brand."""
    x86 = [cpuinfo.get(name) for name in ("vendor_id", "cpu family", "model", "stepping")]
    arm = [cpuinfo.get(name) for name in ("CPU implementer", "CPU part", "CPU variant", "CPU revision")]
    return " ".join(filter(None, x86)) or " ".join(filter(None, arm)) or None


def _caches(sysfs: Path) -> dict[str, int]:
    """Sizes in bytes of the first core's caches, such as ``L1d`` and ``L3``; empty where they are not told."""
    sizes = {}
    for index in sorted((sysfs / "devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (linux.read(index / name) for name in ("level", "type", "size"))
        if level and kind and size:
            letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
            sizes[f"L{level}{letter}"] = int(size.removesuffix("K")) * 1024
    return sizes


def _memory(proc: Path, sysfs: Path) -> int:
    """Bytes that are installed.

    The kernel counts its memory blocks exactly; its total, which shrinks by what each kernel keeps for itself, is the
    second choice, rounded to 1 GiB.
    """
    blocks = sysfs / "devices/system/memory"
    size = linux.read(blocks / "block_size_bytes")
    online = [linux.read(block / "online") for block in blocks.glob("memory[0-9]*")].count("1")
    if size and online:
        return int(size, 16) * online
    total = linux.pairs(proc / "meminfo").get("MemTotal")
    return round((int(total.split()[0]) * 1024 if total else psutil.virtual_memory().total) / GIBIBYTE) * GIBIBYTE


def _nvidia(field: str) -> tuple[str, ...]:
    """One of nvidia-smi's fields for each GPU; empty where there is no such tool, or no GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, f"--query-gpu={field}", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    return tuple(line.strip() for line in found.stdout.splitlines() if line.strip()) if found.returncode == 0 else ()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
