"""A fuzzer of whatever reads run folders and other projects' files: each verb of ``python -m reports``.

``python -m suites.selftest.fuzzing --runs 10000 --seed 0`` damages a run folder, or a file of pytest-benchmark, so many
times in random ways: bytes, lines, places, fields, and texts that would like to be markup. After each, a verb must have
ended with what it writes, or with 2 and one line that names the file; run no script; and written nowhere else. What
fails is printed with its number, which ``--only NUMBER`` tries again alone.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from reports.__main__ import main as reports
from reports.store.run_folder import MUTANTS, PROPERTIES, RUN, TIMINGS, TRIALS, Row
from suites.selftest import broken_folders, foreign_files
from suites.selftest.broken_folders import BYTES, GONE, PLACES, VALUES
from suites.selftest.synthetic_rows import row_of, setting

FILES = (RUN, PROPERTIES, TRIALS, TIMINGS, MUTANTS)
JOURNAL = "races/r.jsonl"
TEXTS = (
    *("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "</style></svg><script>alert(1)</script>"),
    *("javascript:alert(1)", "{{ 7 * 7 }}", "$\\frac{$", "a\0\x1b[31m\nb", "\u202e|*_`[x](y)", "../../escape"),
    "x" * 5000,
)
"""Texts that would like to be markup, a formula, a control of the terminal or a path."""

NUMBERS = (2**63, 10**400, -(10**30), 1e-320, -0.0)
"""Numbers at the ends of what there is, beside those of `VALUES`."""

VERBS = ("report", "report two", "compare", "merge", "check", "copy", "export", "import", "history")
FIGURES = ("svg", "pdf", "png")
EXPORTS = ("github-action-benchmark", "bencher", "csv", "parquet", "markdown", "latex", *FIGURES)


def whole(base: Path) -> Path:
    """A small right folder with every kind of file."""
    folder = broken_folders.whole_folder(base / "whole")
    for number in range(3):
        asked = setting("residual", "reference", "float32") | {"mutant": f"m{number}"}
        change = {"file": "reference/residual.py", "line": 3, "operator": "o", "code": "x + 1", "old": "+", "new": "-"}
        killer = {"killer": "" if number else "counts_are_exact [float32]", "of": 3, "equivalent": 0}
        folder.append(MUTANTS, row_of(asked) | change | killer)
    (folder.path / "races").mkdir(exist_ok=True)
    journal = [{"heat": 0, "block": 0, "rounds": [["k", 0.1]]}, {"heat": 0, "facts": {"k": {"traces": 1}}}]
    (folder.path / JOURNAL).write_text("".join(json.dumps(row) + "\n" for row in journal), encoding="utf-8")
    return folder.path


def damage(path: Path, draw: random.Random) -> str:
    """Damage one file in a random way; says how. A hostile text may come into all of its texts at once."""
    kind = draw.random()
    if kind < 0.08:
        name = draw.choice(sorted(PLACES))
        PLACES[name](path)
        return name
    if kind < 0.2:
        name = draw.choice(sorted(BYTES))
        BYTES[name](path)
        return name
    if kind < 0.35:
        return _bytes(path, draw)
    return _fields(path, draw)


def _bytes(path: Path, draw: random.Random) -> str:
    """A few bytes changed, doubled or left out."""
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 3, 20))):
        at, length = draw.randrange(len(content)), draw.choice((1, 1, 5, 100))
        what = draw.choice(("change", "double", "cut"))
        piece = content[at : at + length]
        new = {"change": bytes(draw.randrange(256) for _ in piece), "double": piece * 2, "cut": b""}[what]
        content[at : at + length] = new
        if not content:
            break
    path.write_bytes(content)
    return "bytes"


def _fields(path: Path, draw: random.Random) -> str:
    """Some fields replaced, of one kind or another."""
    text = path.read_text(encoding="utf-8")
    lines = path.suffix == ".jsonl"
    content = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    places = list(_places(content, ()))
    texts = [place for place in places if isinstance(_at(content, place), str)]
    if draw.random() < 0.4:  # as many texts as a folder that is read can have
        value, few = draw.choice(TEXTS), draw.choice((0.02, 0.2, 1.0))
        free = [place for place in texts if place[-1] in FREE or draw.random() < 0.1 * few]
        chosen = [place for place in free if draw.random() < few]
        changes = [(place, value) for place in chosen]
    else:
        changes = [
            (draw.choice(places), draw.choice((*VALUES, *TEXTS, *NUMBERS))) for _ in range(draw.choice((1, 1, 1, 2, 5)))
        ]
    for place, value in changes:
        with contextlib.suppress(LookupError, TypeError):  # an earlier change has taken its place away
            inside = _at(content, place[:-1])
            if value is GONE:
                del inside[place[-1]]
            elif isinstance(inside, dict) and draw.random() < 0.05:
                inside[str(value)] = inside.pop(place[-1])  # a name rather than what it stands for
            else:
                inside[place[-1]] = value
    rows = content if lines else [content]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return "; ".join(f"{'.'.join(map(str, place))} is {ascii(value)[:40]}" for place, value in changes[:3])


FREE = {
    *("statement", "message", "example", "reason", "command", "title", "label", "costs", "source", "label", "link"),
    *("why_faster", "stopped", "checked", "found", "advice", "name", "state", "processor", "does", "instead", "unit"),
    *("code", "old", "new", "file", "killer", "disturbed", "python", "system", "started", "implementation", "workload"),
    *("technique", "claim", "arm", "property", "precision", "fullname", "group", "branch", "operation", "race", "key"),
}
"""Fields in which a text is right whatever it says."""


def _places(value: Any, where: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if where:
        yield where
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(item, (*where, name))


def _at(value: Any, where: Sequence[Any]) -> Any:
    for part in where:
        value = value[part]
    return value


class Markup(HTMLParser):
    """What of a page would run, or be asked for."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.scripts = 0
        self.feed(page)
        if self.scripts != 1:
            self.found.append(f"{self.scripts} scripts")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at a tag and its attributes."""
        self.scripts += tag == "script"
        if tag in ("img", "iframe", "object", "embed", "base", "form") or (tag == "link" and attrs != ICON):
            self.found.append(tag)
        for name, value in attrs:
            target = (value or "").strip().lower() if name in ("href", "src", "action", "formaction") else ""
            if name.startswith("on") or (target.startswith(("javascript:", "data:")) and tag != "link"):
                self.found.append(f"{tag} {name}={value}")


ICON = [("rel", "icon"), ("href", "data:,")]
"""The one link of a page, without which a browser asks for a picture."""


SCRATCH = os.path.realpath(tempfile.gettempdir()) + "/touchstone-"
"""How the folders begin that reports have for themselves, until they end."""


@dataclass
class Watch:
    """Where this process writes, as an audit hook tells; `allowed` is one folder."""

    allowed: str = ""

    def __post_init__(self) -> None:
        self.elsewhere: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.allowed:
            return
        if event == "open":
            path, _, flags = arguments
            written = [path] if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else []
        elif event in ("os.rename", "os.link", "os.symlink"):
            written = list(arguments[:2])
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
            written = [arguments[0]]
        else:
            return
        for path in written:
            if isinstance(path, str | bytes | os.PathLike):
                real = os.path.realpath(os.fsdecode(path))
                if event in ("os.remove", "os.rmdir") and not Path(os.fsdecode(path)).is_absolute():
                    continue  # below a folder that was opened before
                own = "/__pycache__/" in real or "/matplotlib/" in real  # what Python and matplotlib keep for next time
                if not real.startswith((self.allowed, SCRATCH)) and real != os.devnull and not own:
                    self.elsewhere.append(f"{event} {real}")


WATCH: list[Watch] = []


def attempt(base: Path, right: Path, theirs: Path, number: int, seed: int) -> tuple[str, str]:
    """One damaged folder and one verb: how it ended, and what was wrong with that, empty where nothing was."""
    draw = random.Random(f"{seed}/{number}")
    verb = draw.choice(VERBS)
    run, out = base / "run", base / "out"
    for old in (run, out):
        shutil.rmtree(old, ignore_errors=True)
    broken: list[Path]
    if verb == "import":
        run.mkdir()
        shutil.copy(theirs, run / "a.json")
        broken = [run / "a.json"]
    else:
        shutil.copytree(right, run, ignore=shutil.ignore_patterns(".lock"))
        broken = [run / draw.choice((*FILES, *FILES, JOURNAL))]
    told = " and ".join(f"{path.name}: {damage(path, draw)}" for path in broken)
    arguments = _arguments(verb, run, right, theirs, out, draw)
    WATCH[0].allowed = os.path.realpath(out)
    said, shown = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
            code = reports([str(argument) for argument in arguments])
    except BaseException as error:  # noqa: BLE001 - that nothing may come out is what is tried
        code, trace = -1, traceback.format_exc()
        fault = f"{type(error).__name__}: {trace[-1500:]}"
    else:
        fault = _wrong(verb, code, said.getvalue(), shown.getvalue(), run, out)
    WATCH[0].allowed = ""
    if WATCH[0].elsewhere:
        fault = fault or f"wrote elsewhere: {WATCH[0].elsewhere[:3]}"
        WATCH[0].elsewhere.clear()
    return f"{verb} {code}", f"{number}: {' '.join(map(str, arguments))}: {told}: {fault}" if fault else ""


def _arguments(verb: str, run: Path, right: Path, theirs: Path, out: Path, draw: random.Random) -> list[Any]:
    match verb:
        case "report":
            return ["report", run, "--output", out]
        case "report two":
            return ["report", *draw.sample([run, right], 2), "--output", out]
        case "compare":
            return ["compare", *draw.sample([run, right], 2), "--output", out]
        case "merge":
            return ["merge", out, *draw.sample([run, right], 2)]
        case "history":
            return ["history", *draw.sample([run, right], 2), "--output", out]
        case "check":
            return ["check", run]
        case "copy":
            return ["check", run, "--copy", out]
        case "export":
            formats = [draw.choice(EXPORTS), *(draw.sample(EXPORTS[:-2], 2) if draw.random() < 0.5 else [])]
            return ["export", run, *(part for each in formats for part in ("--format", each)), "--output", out]
        case _:
            return ["import", *draw.choice([[run / "a.json"], [theirs, run / "a.json"], [run]]), "--output", out]


def _wrong(verb: str, code: int, said: str, shown: str, run: Path, out: Path) -> str:
    """What is wrong with how a verb ended; empty where nothing is."""
    lines = (shown if verb in ("check", "copy") and not said else said).splitlines()
    if code == 2:
        alone = len(lines) == 1 or (verb in ("check", "copy") and lines)
        named = all(f"{run}" in line or f"{out}" in line for line in lines)
        return "" if alone and named and not any("Traceback" in line for line in lines) else f"said {lines[:3]}"
    if code != 0:
        return f"exit {code}"
    if not all(line.isprintable() for line in said.splitlines()):
        return "the terminal is told what cannot be printed"
    page = out / "index.html"
    if verb in ("report", "report two", "compare", "import", "history"):
        return "; ".join(Markup(page.read_text(encoding="utf-8")).found) if page.exists() else "no page"
    return ""


@contextlib.contextmanager
def prepared() -> Iterator[Callable[[int, int], tuple[str, str]]]:
    """Something that tries a number, given a seed."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        right = whole(base)
        theirs = foreign_files.write(base / "theirs.json", foreign_files.every_kind())
        if not WATCH:
            WATCH.append(Watch())
        formats = [part for each in FIGURES for part in ("--format", each)]
        with contextlib.redirect_stdout(io.StringIO()):  # what writes caches of its own does so once
            reports(["export", str(right), *formats, "--output", str(base / "out")])
        yield lambda number, seed: attempt(base, right, theirs, number, seed)


def main() -> int:
    """Try what was asked for; 1 where anything failed."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one that failed")
    options = parser.parse_args()
    ended: Counter[str] = Counter()
    failed = 0
    with prepared() as tried:
        for number in range(options.runs) if options.only is None else [options.only]:
            end, fault = tried(number, options.seed)
            ended[end] += 1
            failed += bool(fault)
            if fault:
                sys.stdout.write(f"{fault}\n")
            if number % 500 == 499:
                sys.stdout.write(f"{number + 1} runs, {failed} failed\n")
                sys.stdout.flush()
    told: Row = dict(sorted(ended.items()))
    sys.stdout.write(f"{sum(ended.values())} runs, {failed} failed: {told}\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
