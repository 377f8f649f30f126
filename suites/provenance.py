"""Where results come from: the revision of the sources and the lock file of the environment."""

import hashlib
import subprocess
from typing import Any

from suites.implementations import ROOT


def git() -> dict[str, Any]:
    """The revision of the checkout, and whether tracked files were changed; nulls outside a checkout."""
    revision = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "dirty": bool(changed) if changed is not None else None}


def lock_hash() -> str | None:
    """SHA-256 of the lock file for the CPU, or ``None`` where there is none."""
    lock = ROOT / "requirements" / "cpu.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def _git(*arguments: str) -> str | None:
    try:
        found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
