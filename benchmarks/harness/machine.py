"""The machine and the environment in which a run takes place, in two layers that are hashed apart.

The machine is hardware: it stays the same when a package or the kernel is updated. The environment is software: it
stays the same when the clock frequency jitters. Rows of one run share both.
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

PACKAGES = (
    *("tensorflow", "tensorflow-cpu", "keras", "jax", "jaxlib", "torch", "numpy", "scipy", "h5py", "ml-dtypes"),
    *("hypothesis", "pytest", "pytest-benchmark", "scikit-learn"),
)
VARIABLES = (
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_DETERMINISTIC_OPS",
)


@functools.cache
def gpus() -> tuple[str, ...]:
    """The names of the NVIDIA GPUs that the driver lists, without loading a framework; empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    return tuple(line.strip() for line in found.stdout.splitlines() if line.strip()) if found.returncode == 0 else ()


def machine() -> dict[str, Any]:
    """The hardware: processor, cores, memory (bytes, rounded to 1 GiB), GPUs."""
    gibibyte = 1 << 30
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": round(psutil.virtual_memory().total / gibibyte) * gibibyte,
        "gpus": list(gpus()),
    }


def environment() -> dict[str, Any]:
    """The software: system, Python, the packages that results depend on, and the variables that change them."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _version(name)) is not None},
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
