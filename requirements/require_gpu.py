"""Run a command only where the NVIDIA driver lists a GPU: ``python require_gpu.py COMMAND ...``.

tox installs the gpu environments through this, so that a machine without a GPU says so before it downloads gigabytes.
It runs before anything is installed, hence the standard library alone; ``benchmarks.harness.machine`` asks alike.
"""

import shutil
import subprocess
import sys


def has_gpu() -> bool:
    """Whether ``nvidia-smi`` is there and lists at least one GPU."""
    tool = shutil.which("nvidia-smi")
    listing = subprocess.run([tool, "-L"], capture_output=True, check=False, timeout=30) if tool else None
    return listing is not None and listing.returncode == 0 and bool(listing.stdout.strip())


def main() -> int:
    """Run the command and return its exit status, or refuse with status 1."""
    if not has_gpu():
        sys.stderr.write(
            "No NVIDIA GPU found (nvidia-smi lists none): install the driver, or use a cpu environment, "
            "such as `tox run -e py311-cpu-float32`.\n"
        )
        return 1
    return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
