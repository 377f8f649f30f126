"""How what races measure gets into the run folder: each block into a journal, each race into ``timings.json``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.results import Result, Round, replay
from reports.store.run_folder import Row, RunFolder, foreign, own

FACTS = (
    "loops",
    "items",
    "traces",
    "start_s",
    "build_s",
    "first_call_s",
    "call_s",
    "memory",
    "warm_up",
    "profile",
    "checked",
)
"""The fields of an entry that are facts of its heats."""


class Journal:
    """A race's blocks as they end, in a file of its own in the run folder, until ``timings.json`` holds the race."""

    def __init__(self, folder: RunFolder | None, race: str) -> None:
        self.folder, self.name = folder, f"races/{race}.jsonl"

    def entries(self) -> list[Row]:
        """What an earlier, killed session had measured."""
        return self.folder.rows(self.name) if self.folder else []

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one entry and force it to disk."""
        if self.folder:
            self.folder.append(self.name, entry)

    def remove(self) -> None:
        """Delete the journal, and its folder with the last one."""
        if self.folder:
            path: Path = self.folder.path / self.name
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()


class Timings:
    """``timings.json``, read once and written whenever a race is complete; without a run folder nothing is kept."""

    def __init__(self, folder: RunFolder | None) -> None:
        self._folder = folder
        kept = folder.timings_file() if folder else {}
        self._foreign = foreign(kept)
        self._entries: dict[str, Row] = {each["extra_info"]["key"]: each for each in own(kept)}
        kept.pop("benchmarks", None)
        self._failures: dict[str, Row] = {each["key"]: each for each in kept.pop("failures", [])}
        self._races: dict[str, Row] = kept.pop("races", {})
        self._header: Row = kept
        self._written = True

    def put(self, header: Mapping[str, Any], entry: Row) -> None:
        """Take pytest-benchmark's entry of a contender, and what its JSON says beside the entries."""
        key = entry["extra_info"]["key"]
        self._entries[key] = entry
        self._failures.pop(key, None)
        self._header, self._written = dict(header), False

    def put_failure(self, header: Mapping[str, Any], row: Row) -> None:
        """Take the row of a contender that did not finish."""
        self._failures[row["key"]] = row
        self._entries.pop(row["key"], None)
        self._header, self._written = dict(header), False

    def put_readings(self, race: str, readings: list[Row]) -> None:
        """Take the conditions of a race's blocks."""
        if readings:
            self._races[race] = {"readings": readings}

    def write(self) -> None:
        """Replace the file, if there is anything new."""
        if self._folder and not self._written:
            entries = {"benchmarks": [*self._foreign, *self._entries.values()], "failures": [*self._failures.values()]}
            self._folder.write_timings({**self._header, **entries, "races": self._races})
            self._written = True

    def results(self, keys: Iterable[str], entries: Iterable[Row]) -> dict[str, Result]:
        """What is known of some contenders: their rounds, when another's failure repeats the race, and the journal's.

        Args:
            keys: of the contenders.
            entries: of their race's journal.
        """
        recorded = {}
        for key in self._entries.keys() & set(keys):
            info, seconds = self._entries[key]["extra_info"], self._entries[key]["stats"]["data"]
            joules = info.get("joules") or [None] * len(seconds)
            samples = zip(info["heat"], info["block"], seconds, joules, strict=True)
            facts = {name: info[name] for name in FACTS if name in info}
            recorded[key] = Result([Round(*sample) for sample in samples], [facts], stopped=info.get("stopped", ""))
        return replay(entries, recorded)

    def readings(self, keys: Iterable[str], entries: Iterable[Row]) -> list[Row]:
        """The conditions of the blocks that some contenders have run: those recorded, then those of the journal."""
        if not self._folder:
            return []
        races = {self._entries[key]["extra_info"]["race"] for key in self._entries.keys() & set(keys)}
        found = [row for race in races for row in self._races.get(race, {}).get("readings", [])]
        found += [{name: entry[name] for name in entry if name != "rounds"} for entry in entries if "block" in entry]
        return list({(row["heat"], row["block"]): row for row in found}.values())
