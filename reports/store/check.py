"""Whether a run folder is one that a stranger may send in: its rows and nothing else, all right, and nothing private.

A report reads what it is given, and refuses the first thing that is wrong. Here, everything is looked at: each fault is
one line that names the file, the row and the field, and says what to do.
"""

import getpass
import json
import os
import re
import socket
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from reports.store import run_schema, schema
from reports.store.files import RunFolderError, printable, read, whole_lines, write_whole
from reports.store.run_folder import (
    MUTANTS,
    PROPERTIES,
    RUN,
    TIMINGS,
    TRIALS,
    Row,
    RunFolder,
    key_of,
    model_of,
    parse,
)

FILES = (RUN, PROPERTIES, TRIALS, MUTANTS, TIMINGS)
"""All that belongs into a folder that is sent; locks, journals of races under way and pages do not."""

MOST_BYTES = 20 << 20
"""Of a folder: a run of all techniques at quick scale takes less than 4 MiB, and every clone carries what is sent."""

MOST_ROWS = 100_000
"""Of a file: fifty times as many as that run has, of which a page is still made within seconds."""

LONGEST = 20_000
"""Characters of a text: the longest message of that run has 2,900."""

MOST_FAULTS = 20
"""So many faults of a file are told; more of them would say the same."""


def faults(path: Path) -> list[str]:
    """All that is wrong with a folder, a line each; empty where it may be sent."""
    try:
        RunFolder.open(path)
        sizes = [each.lstat().st_size for each in path.rglob("*") if not each.is_symlink()]
    except RunFolderError as error:
        return [str(error)]
    except OSError as error:
        return [f"{path} cannot be read: {error.strerror}"]
    found = list(_strangers(path))
    if sum(sizes) > MOST_BYTES:
        large = f"{sum(sizes) / 2**20:.0f} MiB, and a folder may have {MOST_BYTES >> 20}"
        return [printable(fault) for fault in [*found, f"{path}: {large}; leave out some techniques"]]
    for name in FILES:
        told = [f"{path / name}{fault}" for fault in _of_file(path, name)]
        more = len(told) - MOST_FAULTS
        found += told[:MOST_FAULTS] + ([f"{path / name}: {more} more faults"] if more > 0 else [])
    return [printable(fault) for fault in found]


def _strangers(path: Path) -> Iterator[str]:
    """Files that do not belong, and links."""
    for each in sorted(path.iterdir()):
        if each.is_symlink():
            yield f"{each}: a symbolic link; put a plain file there"
        elif each.name not in FILES:
            yield f"{each}: does not belong into a folder that is sent ({', '.join(FILES)} do); remove it"
        elif not stat.S_ISREG(each.lstat().st_mode):
            yield f"{each}: expected a plain file; remove it"
        elif each.lstat().st_mode & 0o111 and os.name == "posix":
            yield f"{each}: a file of data that can be executed; chmod 644"


def _of_file(path: Path, name: str) -> Iterator[str]:
    """What is wrong with a file, each beginning with the place within it."""
    if (path / name).is_symlink() or not (path / name).is_file():
        return
    try:
        content = read(path / name) or b""
        rows = list(_rows(name, content))
    except RunFolderError as error:
        yield f": {error}"
        return
    if len(rows) > MOST_ROWS:
        yield f": {len(rows)} rows, and a file may have {MOST_ROWS}; leave out some techniques"
        return
    for where, row, fault in rows:
        if fault:
            yield f"{where}: {fault}; run the session again, or leave the row out"
        elif not _fits(row):
            yield f"{where}: key: does not fit what was asked; a row must stay as it was written"
    yield from _texts(rows)


def _fits(row: Row) -> bool:
    """Whether a row's key is that of what it was asked; a file's head has none."""
    held = row.get("extra_info", row)
    return "asked" not in held or held["key"] == key_of(held["asked"])


def _rows(name: str, content: bytes) -> Iterator[tuple[str, Any, str | None]]:
    """Each row of a file with its place and the first fault that the schema finds."""
    if name.endswith(".jsonl"):
        if content != whole_lines(content):
            yield ", last line", None, "is torn, as a kill leaves it"
        for number, line in enumerate(whole_lines(content).split(b"\n")[:-1], start=1):
            row, fault = _parsed(line)
            yield f", line {number}", row, fault or schema.fault(model_of(name), row)
        return
    whole, fault = _parsed(content)
    model: type[schema.Model] = run_schema.Run if name == RUN else schema.TimingsFile
    fault = fault or schema.fault(model, whole)
    if name == RUN or fault:
        yield "", whole, fault
        return
    yield "", {key: value for key, value in whole.items() if key not in ("benchmarks", "failures")}, None
    for part, each in (("benchmarks", schema.Timing), ("failures", schema.Failure)):
        for number, row in enumerate(whole.get(part, [])):
            foreign = part == "benchmarks" and schema.is_foreign(row)
            said = "another program's entry, which does not belong here" if foreign else schema.fault(each, row)
            yield f", {part}.{number}", row, said


def _parsed(content: bytes) -> tuple[Any, str | None]:
    try:
        return parse(content, "it is"), None
    except RunFolderError as error:
        return None, str(error).partition(";")[0]


def _texts(rows: Iterable[tuple[str, Any, str | None]]) -> Iterator[str]:
    """Texts that are too long, or tell more of the sender than they should: where first, and how often."""
    first: dict[tuple[str, str], str] = {}
    often: Counter[tuple[str, str]] = Counter()
    for where, row, _ in rows:
        for field, text in _strings(row, ()):
            fault = f"more than {LONGEST} characters; shorten it" if len(text) > LONGEST else _private(field, text)
            if fault:
                often[field, fault] += 1
                first.setdefault((field, fault), where)
    for (field, fault), where in first.items():
        more = f" (and {often[field, fault] - 1} more)" if often[field, fault] > 1 else ""
        yield f"{where}: {field}: {fault}{more}"


def _strings(value: Any, at: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every text within a value, names of fields too, each with the field that it stands in."""
    if isinstance(value, str):
        yield ".".join(at), value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield ".".join(at), name
            yield from _strings(item, (*at, name[:40]))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, at)


_HOMES = re.compile(r"(?:/(?:home|Users)/|[A-Za-z]:\\+Users\\+)[^\s/\\\"':;,]+|(?<![\w.])/root(?=/)")
"""Paths below a user's home."""

NODE = "machine_info.node"
_NOBODY = {"", "root", "user", "runner", "ubuntu", "admin", "build", "localhost", "host"}
"""Names that tell nothing of anybody."""


def _private(field: str, text: str) -> str:
    """What a text tells of whoever ran this, and what to do; empty where it tells nothing."""
    if field == NODE and text not in _NOBODY:
        return "tells the host's name; send a copy: python -m reports check RUN --copy community/MACHINE/DATE"
    if path := _HOMES.search(text):
        return f"tells a path of its user, {path[0][:40]}; put another name in its place, in the field as a text"
    for whose, name in _NAMES.items():
        if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
            return f"tells the {whose}'s name; put another in its place"
    return ""


def _own_names() -> dict[str, str]:
    """What this machine and its user are called, where that would be told apart from common words."""
    try:
        names = {"host": socket.gethostname(), "user": getpass.getuser()}
    except (OSError, KeyError):  # a container whose user has no name
        return {}
    return {whose: name for whose, name in names.items() if len(name) >= SHORTEST_NAME and name not in _NOBODY}


SHORTEST_NAME = 4
_NAMES = _own_names()


def copy(path: Path, to: Path) -> None:
    """Copy what belongs into a folder that is sent, without the host's name.

    Raises:
        RunFolderError: there is no run, or ``to`` exists, or cannot be written.
    """
    RunFolder.open(path)
    if to.exists() or to.is_symlink():
        raise RunFolderError(f"{to} exists; name a new folder, such as community/MACHINE/DATE")
    files = {name: content for name in FILES if (content := read(path / name)) is not None}
    if TIMINGS in files:
        timings = parse(files[TIMINGS], f"{path / TIMINGS}")
        if isinstance(timings, dict) and isinstance(machine := timings.get("machine_info"), dict):
            timings["machine_info"] = machine | {"node": ""}
            files[TIMINGS] = (json.dumps(timings, indent=1, allow_nan=False) + "\n").encode()
    write_whole(to, files)


class _Timings(schema.TimingsFile):
    """``timings.json`` with its entries."""

    benchmarks: list[schema.Timing] = Field(default_factory=list)  # type: ignore[assignment]
    failures: list[schema.Failure] = Field(default_factory=list)  # type: ignore[assignment]


class Folder(schema.Model):
    """A run folder: its files by name, those of lines as lists of rows. Fields that are not named here are allowed."""

    run: run_schema.Run = Field(alias="run.json")
    properties: list[schema.Property] = Field([], alias="properties.jsonl")
    trials: list[schema.Trial] = Field([], alias="trials.jsonl")
    mutants: list[schema.Mutant] = Field([], alias="mutants.jsonl")
    timings: _Timings = Field(default_factory=_Timings, alias="timings.json")


def json_schema() -> Row:
    """The JSON schema of a folder, made of the models that its rows are held to."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Folder.model_json_schema(by_alias=True)
