"""What all rows of invented run folders have in common."""

from dataclasses import dataclass

from reports.store.run_folder import Row, key_of

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
WHEN = "2026-11-22T10:00:00+00:00"


@dataclass(frozen=True)
class Machine:
    """An invented machine."""

    name: str = "Invented CPU @ 2.00GHz"
    slowness: float = 1.0
    seed: int = 0


USUAL = Machine()


def row_of(asked: Row, when: str = WHEN) -> Row:
    """The four fields that all rows share."""
    command = f"python -m pytest suites --select {key_of(asked)} --precision {asked.get('precision')}"
    return {"key": key_of(asked), "asked": asked, "when": when, "command": command}


def setting(technique: str, implementation: str, precision: str) -> Row:
    """The fields that what is asked has in every kind of row."""
    return {
        "technique": technique,
        "implementation": implementation,
        "backend": "tensorflow",
        "precision": precision,
        "device": "cpu",
        "scale": "quick",
        "source": "5" * 16,
    }
