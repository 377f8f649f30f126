"""Run a command only where the NVIDIA driver reports a GPU: ``python require_gpu.py COMMAND ...``.

tox installs the GPU environments through this, so that a machine without a GPU says so before it downloads gigabytes.
"""

import ctypes
import subprocess
import sys


def gpus() -> int:
    """Number of GPUs that the CUDA driver reports; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    initialised = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if initialised else 0


def main() -> int:
    """Run the command and return its exit status, or refuse with status 1."""
    if gpus() == 0:
        sys.stderr.write(
            "No NVIDIA GPU found here (libcuda.so.1 reports none): use a cpu environment, "
            "such as `tox run -e py311-cpu-float32`, or install the NVIDIA driver.\n"
        )
        return 1
    return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
