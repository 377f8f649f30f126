"""Property-based tests that run against any implementation, and which of them belong to which technique.

``test_<technique>.py`` holds the properties of a technique. What is too long for one file goes on in others whose names
begin alike, ``test_<technique>_<part>.py``.
"""

from pathlib import Path

from suites.implementations import techniques


def technique_of(file: str | Path) -> str:
    """The technique whose properties a file holds: of those with whose names its own begins, the longest.

    Raises:
        ValueError: no technique is called so.
    """
    stem = Path(file).stem.removeprefix("test_")
    found = [name for name in techniques() if f"{stem}_".startswith(f"{name}_")]
    if not found:
        raise ValueError(
            f"{file} must be called test_<technique>.py or test_<technique>_<part>.py: {', '.join(techniques())}"
        )
    return max(found, key=len)


def modules_of(technique: str) -> list[str]:
    """The names of the modules with a technique's properties, in the order in which pytest collects them."""
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    return [f"{__name__}.{file.stem}" for file in files if technique_of(file) == technique]
