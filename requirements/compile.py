"""Pin every dependency, with hashes, per purpose; or check that the pins are up to date.

    python requirements/compile.py              # resolve anew, keeping pins that still fit (`tox run -e lock`)
    python requirements/compile.py --upgrade    # take the newest versions that fit
    python requirements/compile.py --check      # offline: were the pins made for pyproject.toml as it is?

One file per purpose: ``cpu`` and ``gpu`` run the suite, ``peers`` runs it with JAX and the libraries that it is
compared with (PyTorch comes on top: its builds for CPUs and for CUDA share a version and differ in their hashes),
``jax`` runs it on JAX where there is no TensorFlow, ``cluster`` trains on several machines, and ``dev`` holds the tools
alone. A file holds for every Python that the project runs on, for Linux, macOS on arm64 and Windows, so that whoever
installs from it need not know beforehand which Python that will be. It names no package index: everyone uses their own,
and the hashes vouch for what arrives.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYPROJECT = HERE.parent / "pyproject.toml"
EXTRAS = {
    "cpu": ("cpu", "test"),
    "gpu": ("gpu",),
    "peers": ("cpu", "jax", "peers"),
    "jax": ("jax",),
    "cluster": ("cpu", "cluster"),
    "dev": ("dev",),
}
"""The extras of ``pyproject.toml`` behind each purpose."""
OVERRIDES = ("tensorflow-text; sys_platform == 'none'",)
"""KerasHub asks for it, uses it for tokenizers only, and it has no release for this TensorFlow."""
PLATFORMS = (
    "sys_platform == 'linux'",
    "sys_platform == 'darwin' and platform_machine == 'arm64'",
    "sys_platform == 'win32'",
)

_PIN = re.compile(r"^(?P<pin>[a-z0-9.-]+==\S+) ; (?P<marker>.+?)(?P<more> \\)?$", re.MULTILINE)


def lock_file(purpose: str) -> Path:
    """The file of pins for one purpose."""
    return HERE / f"{purpose}.txt"


def pythons() -> str:
    """The versions of Python that the project runs on."""
    return str(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["requires-python"])


def asked(purpose: str) -> list[str]:
    """What ``pyproject.toml`` asks for: the extras and, except for the tools, what the project itself needs."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    needed = [] if purpose == "dev" else project["dependencies"]
    extras = [requirement for extra in EXTRAS[purpose] for requirement in project["optional-dependencies"][extra]]
    return sorted([*needed, *extras])


def header(purpose: str) -> str:
    """The lines in front of the pins; they change with what was asked for, whatever its order."""
    digest = hashlib.sha256(json.dumps([asked(purpose), PLATFORMS, pythons()]).encode()).hexdigest()
    return f"# Python {pythons()}, {purpose}. Made by requirements/compile.py; do not edit.\n# asked: sha256:{digest}\n"


def simplify(pins: str) -> str:
    """Drop the marker that only repeats for which Python and platforms the whole file is, and keep the others."""
    matches = list(_PIN.finditer(pins))
    systems = [platform.split("'")[1] for platform in PLATFORMS]
    everywhere = min((m["marker"] for m in matches if all(s in m["marker"] for s in systems)), key=len)
    version = everywhere.partition(" and ")[0]

    def shorter(match: re.Match[str]) -> str:
        marker = "" if match["marker"] == everywhere else match["marker"].replace(f"{version} and ", "")
        return match["pin"] + (f" ; {marker}" if marker else "") + (match["more"] or "")

    return _PIN.sub(shorter, pins)


def compile_one(purpose: str, *, upgrade: bool) -> None:
    """Resolve one file with uv, which must be on the path or beside this interpreter."""
    target = lock_file(purpose)
    least, below = (bound.lstrip("<>=") for bound in pythons().split(","))
    versions = f"python_full_version >= '{least}' and python_full_version < '{below}'"
    environments = [f"{versions} and {platform}" for platform in PLATFORMS]
    project = (  # a JSON list of strings is a TOML list of strings
        f'[project]\nname = "pins"\nversion = "0"\nrequires-python = "{pythons()}"\n'
        f"dependencies = {json.dumps(asked(purpose))}\n"
        f"[tool.uv]\nenvironments = {json.dumps(environments)}\noverride-dependencies = {json.dumps(OVERRIDES)}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text(project, encoding="utf-8")
        output = folder / "pins.txt"
        if target.exists() and not upgrade:
            output.write_text(target.read_text(encoding="utf-8"), encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal"]
        command += ["--python-version", least, "--generate-hashes", "--output-file", output.name]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        if purpose != "cpu":  # the tools and the GPU see the same versions as the CPU wherever they share a package
            command += ["--constraints", str(lock_file("peers" if purpose == "jax" else "cpu"))]
        subprocess.run(command, cwd=folder, check=True)
        target.write_text(header(purpose) + simplify(output.read_text(encoding="utf-8")), encoding="utf-8")


def stale() -> list[str]:
    """Names of the files that are missing or were made for other dependencies."""
    files = [(lock_file(purpose), header(purpose)) for purpose in EXTRAS]
    return [f.name for f, start in files if not f.exists() or not f.read_text(encoding="utf-8").startswith(start)]


def main() -> int:
    """Run the command line; 1 if ``--check`` finds a file that is out of date."""
    parser = argparse.ArgumentParser(description="Pin every dependency with hashes, or check the pins.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    parser.add_argument("--check", action="store_true", help="only check, offline, that the pins are up to date")
    options = parser.parse_args()
    if not options.check:
        for purpose in EXTRAS:
            compile_one(purpose, upgrade=options.upgrade)
    if names := stale():
        sys.stderr.write(f"out of date: {', '.join(names)}; run `tox run -e lock`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
