"""Compare the working tree with a revision, on this machine: 0 where nothing became worse, 1 where something did."""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.pages.gate import Verdict
    from reports.tables.alerts import Alert
    from reports.tables.frames import Tables

ROOT = Path(__file__).resolve().parents[2]
CHECKOUTS = ROOT / ".touchstone" / "checkouts"
"""Whole trees of other revisions, by revision; may be deleted whenever nothing runs."""

ENDED = (0, 1)
"""How a session of pytest ends that came to its end: all passed, or some failed."""

NARROW = 0.75
"""How narrow an interval has to be before its race stops, as a share of the size that matters."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("revision", metavar="REVISION", help="what to compare with, such as origin/main or HEAD~1")
    parser.add_argument(
        "--size", type=float, default=2.0, metavar="PERCENT", help="the smallest difference that matters (default: 2)"
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="for each race, once all have begun (default: 20)"
    )
    parser.add_argument(
        "--all", action="store_true", help="measure all, and not only what the changed files can have an effect on"
    )
    parser.add_argument("--technique", action="append", default=[], metavar="NAME", help="only this; may be repeated")
    parser.add_argument("--select", default="", metavar="EXPRESSION", help="of races, those that pytest's -k names so")
    parser.add_argument(
        "--only",
        choices=("races", "properties", "claims"),
        action="append",
        help="only these; may be repeated (default: all three)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="a new folder (default: results/gate-<time>)")


def run(options: argparse.Namespace) -> int:
    """Measure, judge, measure again what seems worse, and say what came of it.

    The folder that it writes holds ``gate.json``, ``gate.md``, ``gate.xml`` and the run folders behind them. Where
    ``$GITHUB_STEP_SUMMARY`` is set, the Markdown is added to that file.
    """
    from reports.pages import gate as page
    from reports.store.files import write_whole

    output = options.output or Path("results") / f"gate-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    session = Session(*checked(options, output), output, options.size, options.seconds, options.select)
    verdict = session.verdict(planned(session.revision, options))
    files = {"gate.json": page.as_json(verdict), "gate.md": page.markdown(verdict)}
    write_whole(output, {name: text.encode() for name, text in files.items()} | {"gate.xml": page.junit(verdict)})
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(files["gate.md"])
    sys.stdout.write(f"{page.text(verdict)}\n{output / 'gate.md'}\n")
    return int(verdict.exit)


def checked(options: argparse.Namespace, output: Path) -> tuple[str, str]:
    """The revision as it was named, and its number.

    Raises:
        RunFolderError: something that was asked for cannot be done.
    """
    from reports.store.files import RunFolderError

    if not (ROOT / ".git").exists():
        raise RunFolderError(f"{ROOT} is no git checkout; a gate compares it with one of its revisions")
    number = _git("rev-parse", "--verify", "--quiet", f"{options.revision}^{{commit}}", missing="").strip()
    if not number:
        raise RunFolderError(
            f"{options.revision}: git knows no such revision here; in CI, check out with its history (fetch-depth: 0)"
        )
    if output.exists():
        raise RunFolderError(f"{output} exists; name a new folder with --output")
    if options.size <= 0 or options.seconds <= 0:
        raise RunFolderError("--size and --seconds: expected more than 0")
    return str(options.revision), number[:12]


@dataclass(frozen=True)
class Plan:
    """What is measured: files for pytest, from the project's folder; and whether a race may have vanished."""

    races: Sequence[str]
    properties: Sequence[str]
    claims: Sequence[str]
    listed: bool


def planned(revision: str, options: argparse.Namespace) -> Plan:
    """What the files that changed since a revision can have an effect on.

    The harness is the working tree's for both sides, so that of races only the references can differ.
    """
    from reports.store.files import RunFolderError

    sources = json.loads(_python(["-m", "suites.sources"], ROOT, check=True)[1])
    if unknown := set(options.technique) - set(sources):
        raise RunFolderError(f"--technique {min(unknown)}: expected one of {', '.join(sources)}")
    changed = set(_git("diff", "--name-only", revision).split("\n"))
    changed |= set(_git("ls-files", "--others", "--exclude-standard").split("\n"))
    wanted = options.only or ("races", "properties", "claims")
    chosen = [of for name, of in sources.items() if not options.technique or name in options.technique]

    def touched(files: Iterable[str]) -> bool:
        return options.all or not changed.isdisjoint(files)

    def behind(kind: str) -> list[str]:
        files = [each for of in chosen for each in of[kind].items()] if kind in wanted else []
        return [file for file, sources_of in files if touched(sources_of)]

    races = [
        of["races"] for of in chosen if touched([*of["reference"], of["races"]]) and (ROOT / of["races"]).is_file()
    ]
    return Plan(
        races if "races" in wanted else [],
        behind("properties"),
        behind("claims"),
        "races" in wanted and any(name.startswith(("reference/", "benchmarks/")) for name in changed),
    )


@dataclass(frozen=True)
class Session:
    """One gate.

    Attributes:
        name, revision: what the working tree is compared with, as it was named, and its number.
        output: where the run folders go.
        size: the smallest difference that matters, in per cent.
        seconds: for each race.
        select: which races, as an expression of pytest; all where it is empty.
    """

    name: str
    revision: str
    output: Path
    size: float
    seconds: float
    select: str = ""

    def verdict(self, plan: Plan) -> "Verdict":
        """Measure what is planned, and judge it."""
        from reports.pages.gate import Verdict
        from reports.tables import alerts

        found: list[Alert] = []
        dropped: list[Alert] = []
        both: list[str] = []
        raced = 0
        if plan.listed:
            found += alerts.vanished(self._collected(ROOT), self._collected(self._checkout()))
        if plan.races:
            seen, dropped, raced = self._raced_twice(plan.races)
            found += seen
        proved = self._proved(plan.properties, found) if plan.properties else 0
        if plan.claims:
            both = [file for file in plan.claims if (self._checkout() / file).is_file()]
            if both:  # of a new claim there is nothing to compare
                now, old = (self._tables(f"claims-{side}", both, tree) for side, tree in self._sides())
                found += alerts.of_claims(now, old)
        name = f"{self.name} ({self.revision})" if self.name != self.revision else self.name
        return Verdict(name, 1 + self.size / 100, found, dropped, raced, proved, len(both))

    def _raced_twice(self, files: Sequence[str]) -> "tuple[list[Alert], list[Alert], int]":
        """What the races of some files show, what one run showed and the next did not, and how many they are."""
        from reports.tables import alerts

        planned = {each for each in self._collected(ROOT) if f"benchmarks/bench_{each.partition('/')[0]}.py" in files}
        first, raced = self._raced("now", dict.fromkeys(files, self.select), planned)
        suspected = [each for each in first if each.kind in alerts.AGAIN_FIRST]
        second: list[Alert] = []
        if suspected:
            by_file: dict[str, list[str]] = {}
            for technique, workload, operation in {tuple(each.benchmark.split("/")) for each in suspected}:
                by_file.setdefault(f"benchmarks/bench_{technique}.py", []).append(f"{workload}-{operation}-")
            wanted = {file: " or ".join(sorted(names)) for file, names in by_file.items()}
            second, _ = self._raced("again", wanted, {each.benchmark for each in suspected})
        kept = alerts.confirmed(first, second)
        named = {(each.benchmark, each.measure) for each in kept}
        return kept, [each for each in suspected if (each.benchmark, each.measure) not in named], raced

    def _sides(self) -> Iterable[tuple[str, Path]]:
        return (("now", ROOT), ("before", self._checkout()))

    def _raced(self, name: str, wanted: Mapping[str, str], planned: Collection[str]) -> "tuple[list[Alert], int]":
        """What the races of some files show, of each those that an expression names; and how many they are.

        All that are planned must have been raced, unless somebody has chosen among them.
        """
        from reports.tables import alerts

        options = ["--contender", f"tree={self.revision}", "--only-contenders", "--benchmark-quiet"]
        options += ["--narrow", f"{NARROW * self.size:g}", "--budget", f"{len(planned) * self.seconds:g}"]
        selected = sorted({names for names in wanted.values() if names})
        options += ["-k", " or ".join(f"({names})" for names in selected)] if selected else []
        tables = self._tables(f"races-{name}", [*wanted, *options], ROOT)
        found, raced = alerts.of_races(tables, 1 + self.size / 100), alerts.races_of(tables)
        missing = [] if self.select else sorted({*planned} - raced - {each.benchmark for each in found})
        return [*found, *map(alerts.not_raced, missing)], len(raced)

    def _proved(self, files: Sequence[str], found: "list[Alert]") -> int:
        """Prove the working tree's properties and, where one fails, those of the revision; returns how many."""
        from reports.tables import alerts
        from reports.tables.frames import records

        precisions = ["--precision", "float32,mixed_float16,mixed_bfloat16"]
        now = self._tables("properties-now", [*files, *precisions], ROOT)
        rows = records(now["conformance"])
        failing = {row["technique"] for row in rows if row["outcome"] == "failed"}
        before = None
        if failing:
            there = [file for file in files if (self._checkout() / file).is_file()]
            of_failing = [file for file in there if any(name in file for name in failing)]
            before = self._tables("properties-before", [*of_failing, *precisions], self._checkout())
        found += alerts.of_properties(now, before)
        return len({(row["technique"], row["property"]) for row in rows})

    def _collected(self, tree: Path) -> set[str]:
        """All races of a tree at quick scale, as technique/workload/operation."""
        code = (
            "import importlib, json, sys; print(json.dumps([f'{w.technique}/{w.name}/{o}' for m in sys.argv[1:] "
            "for w in importlib.import_module(m).WORKLOADS for o in w.operations.get('quick', ())]))"
        )
        modules = [f"benchmarks.{path.stem}" for path in sorted((tree / "benchmarks").glob("bench_*.py"))]
        return set(json.loads(_python(["-c", code, *modules], tree, check=True)[1]))

    def _tables(self, name: str, words: Sequence[str], tree: Path) -> "Tables":
        """Run pytest into a new run folder, and read it."""
        from reports.store.files import RunFolderError
        from reports.tables.frames import read

        folder = (self.output / name).absolute()
        sys.stderr.write(f"gate: {name} ({tree.name if tree != ROOT else 'working tree'})\n")
        code, told = _python(["-m", "pytest", *words, "--scale", "quick", "--results", str(folder), "-q"], tree)
        log = folder.parent / f"{name}.log"
        log.write_text(told, encoding="utf-8")
        if code not in ENDED or not (folder / "run.json").is_file():  # what was left out would pass for unchanged
            last = "; ".join(told.strip().splitlines()[-3:])
            raise RunFolderError(f"{name}: pytest did not come to its end (exit {code}): {last} (all of it: {log})")
        return read([folder])

    def _checkout(self) -> Path:
        """All files of the revision."""
        folder = CHECKOUTS / self.revision
        if not folder.is_dir():
            unfinished = CHECKOUTS / f".{self.revision}.{os.getpid()}"
            done = subprocess.run(["git", "archive", self.revision], cwd=ROOT, capture_output=True, check=True)
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
                files.extractall(unfinished, filter="data")
            unfinished.replace(folder)
        return folder


def _python(words: Sequence[str], tree: Path, *, check: bool = False) -> tuple[int, str]:
    """How a program of this Python ends in a tree, and what it prints; why it failed is told where it must not."""
    from reports.store.files import RunFolderError

    # Only this tree's own packages are imported, whatever stood on the path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command: list[Any] = [sys.executable, *words]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RunFolderError(f"{' '.join(words[:2])} failed in {tree}: {done.stderr.strip()[-300:]}")
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + ("" if check else done.stderr))


def _git(*words: str, missing: str | None = None) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and missing is None:
        from reports.store.files import RunFolderError

        raise RunFolderError(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout if not done.returncode else str(missing)
