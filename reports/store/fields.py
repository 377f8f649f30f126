"""What the fields of a run folder's rows can hold, with limits beyond which a report could not compute."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

LARGEST = 1e100
"""Beyond this, squares and their sums overflow: a metric of this size has diverged, like one that is not finite."""


def _time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("expected a time with its time zone")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not abs(value) <= LARGEST:
        raise ValueError("expected a number that can be computed with")
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError("expected text, a number, true, false or null")
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError("expected a number of at most 63 bits")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError("expected a number")
    return value


def _fact(value: Any) -> Any:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    for part in parts:
        _plain(part)
    return value


def _three(value: Any) -> Any:
    return (*value, None) if isinstance(value, list) and len(value) == 2 else value


Name = Annotated[str, Field(min_length=1)]
Time = Annotated[str, AfterValidator(_time)]
"""ISO 8601, with a time zone."""
Whole = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
Count = Annotated[int, Field(ge=0, lt=1 << 31)]
Bytes = Annotated[float, Field(ge=0, le=1e18)]
Work = Annotated[float, Field(ge=0, le=1e18)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
"""A duration, of at most thirty years."""
Step = Annotated[float, Field(ge=1e-12, le=1e9)]
"""Seconds of a step, which always takes some."""
Joules = Annotated[float, Field(ge=0, le=1e18)]
Number = Annotated[Any, AfterValidator(_number)]
"""Whole or not, as it was written."""
Fact = Annotated[Any, AfterValidator(_fact)]
"""A plain value, or a list of them, or an object."""
Plain = Annotated[Any, AfterValidator(_plain)]
"""What a setting or a size can be: text, a number, true, false or null."""
Condition = dict[str, Plain]
JournalRound = Annotated[tuple[Name, Step, Joules | None], BeforeValidator(_three)]
"""Key, seconds and, where they are counted, joules."""
