"""The page of runs over time: which benchmark moved, when, by which commits; what broke; what else changed."""

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from reports import words
from reports.pages import html
from reports.pages.groups import grouped
from reports.plots.course import MOST_DOTS, Drawing, draw
from reports.statistics import levels
from reports.store.run_folder import Row, canonical_hash
from reports.tables import history, outcome_history, outcomes
from reports.tables.chapters import RUN_COLUMNS
from reports.tables.history import MEMORY, Line, Runs
from reports.tables.outcome_history import BROKE, GONE, MENDED, NEW, REDEFINED, TURNED

SMALL, LARGE = (220, 40), (640, 170)
LARGE_DRAWINGS = 30
"""The largest changes are drawn large, so many of them; all are in the table and in their rows."""

NAMED = 3
"""So many of the largest changes are told in the terminal."""

LEAST = levels.LEAST


@dataclass(frozen=True)
class Shown:
    """A line with its drawing, as a row of a table."""

    line: Line
    drawing: Drawing
    now: str
    newest: Row

    @property
    def asked(self) -> Row:
        """What was asked."""
        return self.line.asked


class History:
    """Everything that the page says of some runs.

    Args:
        tables: ``runs``, ``points`` and ``outcomes`` of all of them, see `reports.tables.chapters`.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self.runs = Runs.of(tables["runs"])
        self.lines = history.lines(self.runs, tables["points"])
        self.events = self.runs.events()
        self.outcome_changes = outcome_history.changes(self.runs, tables["outcomes"])
        self.now = outcome_history.now(self.runs, tables["outcomes"])
        self._outcomes = tables["outcomes"]
        found = [change for line in self.lines for change in line.changes]
        self.changes = sorted(found, key=lambda change: (-history.size(change), change["line"]))

    def frames(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        by_run = self.runs.by_run
        rows = [row for line in self.lines for row in history.line_rows(line, by_run)]
        tables: dict[str, tuple[Sequence[Row], Sequence[str]]] = {
            "runs": (self.runs.rows, RUN_COLUMNS),
            "lines": (rows, history.LINE_COLUMNS),
            "changes": (self.changes, history.CHANGE_COLUMNS),
            "events": (self.events, history.EVENT_COLUMNS),
            "outcome_changes": (self.outcome_changes, outcome_history.CHANGE_COLUMNS),
            "outcomes_now": (self.now, outcome_history.NOW_COLUMNS),
        }
        found = {name: pd.DataFrame(rows, columns=list(columns)) for name, (rows, columns) in tables.items()}
        return found | {"outcomes": self._outcomes}

    def title(self, technique: str) -> str:
        """A technique's title, as the newest run that has one knows it."""
        return self._titles.get(technique, technique)

    @functools.cached_property
    def _titles(self) -> dict[str, str]:
        return {name: title for run in self.runs.rows for name, title in json.loads(run["titles"]).items()}

    @property
    def machines(self) -> list[str]:
        """The machines, in the order in which they came."""
        return list(dict.fromkeys(run["machine_name"] for run in self.runs.rows))

    @property
    def stopped(self) -> list[Row]:
        """The runs that were stopped before their end."""
        return [run for run in self.runs.rows if not run["finished"]]

    @functools.cached_property
    def large(self) -> list[tuple[Row, Line, Drawing]]:
        """The lines that changed most, each once, with its largest change."""
        by_anchor = {line.anchor: line for line in self.lines}
        firsts = {change["line"]: change for change in reversed(self.changes)}
        shown = sorted(firsts.values(), key=lambda change: -history.size(change))[:LARGE_DRAWINGS]
        found = [(change, by_anchor[change["line"]]) for change in shown]
        return [(change, line, draw(line, len(self.runs.rows), *LARGE)) for change, line in found]

    @functools.cached_property
    def sections(self) -> list[tuple[str, str, dict[tuple[str, ...], list[Shown]]]]:
        """The lines by technique, and in it by machine, workload and operation."""
        names = {run["machine"]: run["machine_name"] for run in self.runs.rows}
        several = len(set(names.values())) > 1
        found = []
        for (technique,), lines in grouped(self.lines_as_rows, ("technique",)).items():
            groups: dict[tuple[str, ...], list[Shown]] = {}
            for row in lines:
                setting = f"{words.setting(row['parameters'])}, {row['scale']} scale"
                machine = names[row["line"].machine] if several else ""
                group = (row["workload"], words.operation(row["operation"]), setting, machine)
                groups.setdefault(group, []).append(self._shown(row["line"]))
            found.append((technique, self.title(technique), groups))
        return found

    @property
    def lines_as_rows(self) -> list[Row]:
        """The lines with what was asked, beside each other where only the measure differs."""
        order = {line.anchor: number for number, line in enumerate(self.lines)}
        rows = [line.asked | {"line": line} for line in self.lines]
        first = {tuple(row["line"].asked.values()): order[row["line"].anchor] for row in reversed(rows)}
        return sorted(rows, key=lambda row: (first[tuple(row["line"].asked.values())], order[row["line"].anchor]))

    def _shown(self, line: Line) -> Shown:
        newest = line.points[-1]
        now = words.mebibytes(newest[line.column]) if line.measure == MEMORY else words.seconds(newest["seconds"])
        return Shown(line, draw(line, len(self.runs.rows), *SMALL), now, newest)

    def value(self, line: Line, value: float) -> str:
        """A number of a line, in its unit."""
        if line.measure == MEMORY:
            return words.mebibytes(value)
        return words.seconds(value) if line.unit == "seconds" else words.significant(value)

    def outcome_rows(self, *states: str, kind: str = "") -> list[Row]:
        """What became of properties and claims, newest first, each with its place on the page."""
        rows = outcome_history.of_state(self.outcome_changes, *states)
        rows = [row for row in reversed(rows) if not kind or row["kind"] == kind]
        asked = ("state", "kind", "technique", "name", "implementation", "backend", "precision", "device", "started")
        return [row | {"anchor": f"o-{canonical_hash([row[name] for name in asked])}"} for row in rows]

    def conformance(self) -> list[Row]:
        """One row per technique and implementation: how many properties came to what, in the last complete run."""
        found = []
        properties = [row for row in self.now if row["kind"] == "property"]
        by = ("technique", "implementation", "backend", "device", "scale", "machine")
        for group in grouped(properties, by).values():
            newest = max(group, key=lambda row: row["started"])
            counts = Counter(row["outcome"] for row in group if row["started"] == newest["started"])
            applying = sum(count for outcome, count in counts.items() if outcome != "not provided")
            found.append(newest | {"counts": counts, "passed": counts["passed"] + counts["lenient"], "of": applying})
        return found

    def claims(self) -> list[Row]:
        """The claims with what each comes to now, since when, and in ``past`` what it came to before."""
        turns = [
            row for row in self.outcome_changes if row["before_outcome"] != row["outcome"] and row["before_outcome"]
        ]
        past = grouped(turns, (*outcomes.ASKED, "machine"))
        rows = [row for row in self.now if row["kind"] == "claim"]
        return [row | {"past": past.get(tuple(row[name] for name in (*outcomes.ASKED, "machine")), [])} for row in rows]

    @functools.cached_property
    def sentences(self) -> list[str]:
        """What there is to say in a few plain sentences."""
        runs = self.runs.rows
        first, last = runs[0]["started"][:10], runs[-1]["started"][:10]
        machines = f"on {words.plural(len(self.machines), 'machine')}"
        lines = f"{words.plural(len(self.lines), 'line')} of times and memory"
        said = [f"{words.plural(len(runs), 'run')} {machines}, from {first} to {last}, and {lines}."]
        if not self.changes:
            said.append("No level changed by more than noise.")
        else:
            said.append(f"{words.plural(len(self.changes), 'level')} changed by more than noise.")
            said += [self.told(change) for change in self.changes[:NAMED]]
        short = sum(len(segment.points) < LEAST for line in self.lines for segment in line.segments)
        if short:
            said.append(
                f"{words.plural(short, 'stretch', 'stretches')} of a line {'is' if short == 1 else 'are'} too short to "
                f"look for a change: that takes {LEAST} runs of one machine and environment."
            )
        said += [self._event(events) for events in grouped(self.events, ("run",)).values()]
        return [*said, *self._held()]

    def told(self, change: Row) -> str:
        """A change in a sentence."""
        percent, verdict = f"{abs(change['ratio'] - 1):.0%}", change["verdict"]
        became = f"takes {percent} {verdict}" if change["measure"] == MEMORY else f"is {percent} {verdict}"
        return (
            f"{self.title(change['technique'])}, {change['workload']}, {words.operation(change['operation'])}: "
            f"{words.contender(change)} in {change['precision']} {became} since {change['started'][:10]} "
            f"({change['range']})."
        )

    def _event(self, events: Sequence[Row]) -> str:
        first = events[0]
        shown = [f"{each['setting']} {each['before']} → {each['after']}".strip() for each in events[:4]]
        more = f" and {len(events) - 4} more" if len(events) > 4 else ""
        what = f"another machine, {first['machine']}" if first["event"] == "machine" else "another environment"
        return f"{first['started'][:10]}: {what} ({', '.join(shown)}{more}). No change is sought across it."

    def _held(self) -> list[str]:
        counts = Counter(row["state"] for row in self.outcome_changes)
        if not self.now:
            return []
        broke, mended = (counts[state] for state in (BROKE, MENDED))
        said = [f"Of properties and claims, {broke or 'none'} broke and {_were(mended)} mended."]
        if asked := counts[NEW] + counts[REDEFINED]:
            said.append(f"New or asked otherwise, which is no regression: {asked}.")
        if stopped := len(self.stopped):
            said.append(
                f"{_were(stopped, 'run')} stopped before the end; what held before "
                f"stands until a complete run replaces it."
            )
        return said


def _were(count: int, noun: str = "") -> str:
    """``none was``, ``1 run was``, ``2 runs were``."""
    counted = words.plural(count, noun) if noun else str(count or "none")
    return f"{counted} {'was' if count < 2 else 'were'}"


def render_page(page: History) -> str:
    """The whole page as text."""
    return html.render(
        "history.html.j2",
        page=page,
        runs=page.runs.rows,
        broke=(BROKE, MENDED, TURNED),
        asked=(NEW, REDEFINED, GONE),
        least=LEAST,
        shortest=levels.SHORTEST,
        discovery=levels.DISCOVERY_RATE,
        most_dots=MOST_DOTS,
    )
