"""The page of other projects' benchmarks: files of pytest-benchmark in, one self-contained HTML file out."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from markupsafe import Markup

from reports import words
from reports.pages import cut, html
from reports.pages.groups import grouped
from reports.pages.reruns import Drawn
from reports.plots.foreign_figures import group_plot, over_files, over_parameters
from reports.plots.svg import Plot, render
from reports.plots.whiskers import Whiskers
from reports.statistics.across import There
from reports.store.run_folder import Row
from reports.tables.foreign import DEVIATION, QUARTILES, Foreign
from reports.tables.frames import records

MOST_ROWS, MOST_PLOTS, MOST_OF_A_GROUP = 1500, 40, 12
"""What a page holds of rows and plots, which makes it about 2 MB; the tables beside it have everything."""

DIFFERENT = (There.FASTER, There.SLOWER)


@dataclass(frozen=True)
class ForeignGroup:
    """One group: its rows, which are a table, and its plots."""

    title: str
    rows: Sequence[Row]
    plots: Drawn
    whiskers: Whiskers

    def has(self, name: str) -> bool:
        """Whether any row has this."""
        return any(row[name] not in (None, "", "{}") for row in self.rows)


class ForeignPage:
    """Turns tables into the things that the template prints."""

    def __init__(self, foreign: Foreign) -> None:
        self.foreign = foreign
        rows = {name: records(frame) for name, frame in foreign.frames.items()}
        self.files, self.absent = rows["files"], rows["absent"]
        self.rows = [row | {"against": _against(row)} for row in rows["benchmarks"]]
        self.several = len(self.files) > 1
        self._plots = 0
        self.shown = cut.kept(self.rows, MOST_ROWS, lambda row: row["verdict"] in DIFFERENT)

    @property
    def count(self) -> int:
        """How many benchmarks there are, each counted once."""
        return len({row["fullname"] for row in self.rows})

    def groups(self) -> list[ForeignGroup]:
        """The groups, in the order in which they come."""
        letters = [file["file"] for file in self.files]
        whole = grouped(self.rows, ("group",))
        groups = []
        for (name,), shown in grouped(self.shown, ("group",)).items():
            title, rows = name or "Without a group", whole[name,]
            plots = [*group_plot(rows, title, letters), *over_files(rows, letters), *over_parameters(rows, letters)]
            ratios = [row["against"] for row in rows if row["against"]]
            groups.append(ForeignGroup(title, shown, self._draw(plots[:MOST_OF_A_GROUP]), Whiskers.of(ratios)))
        return groups

    def findings(self) -> list[str]:
        """What each further file says beside the first one, a sentence each."""
        said = []
        for file in self.files[1:]:
            rows = [row for row in self.rows if row["file"] == file["file"] and row["ratio"] is not None]
            counts = Counter(row["verdict"] for row in rows)
            told = ", ".join(f"{counts[each.value]} {each.value}" for each in There if counts[each.value])
            of = words.plural(len(rows), "benchmark")
            said.append(
                f"File {file['file']} beside file {self.files[0]['file']}, {of}: {told or 'nothing in common'}."
            )
        return said

    def differences(self) -> list[str]:
        """In what the files differ but for their times: each of it may be why the times do."""
        told = []
        for name, title in _SETTINGS.items():
            values = {file["file"]: file[name] for file in self.files}
            if len(set(values.values())) > 1:
                told.append(
                    f"{title}: " + ", ".join(f"{value or 'not said'} ({file})" for file, value in values.items())
                )
        return told

    @property
    def cut(self) -> str:
        """What the page leaves to its tables, so that it opens at once; empty where it has everything."""
        if len(self.shown) == len(self.rows):
            return ""
        which = "those that differ first" if self.several else "the first"
        return f"On this page are {len(self.shown)} of {len(self.rows)} rows, {which}; benchmarks.csv has all."

    def left_out(self) -> list[str]:
        """What is not on this page although a file has it, or not in a file although another has it."""
        lacking = [f"{row['fullname']}: not in file {row['file']}." for row in self.absent]
        return [*self.foreign.notes, *lacking]

    def _draw(self, plots: Iterable[Plot]) -> Drawn:
        drawn = []
        for plot in islice(plots, MOST_PLOTS - self._plots):
            self._plots += 1
            drawn.append((plot, Markup(render(plot, f"p{self._plots}"))))
        return drawn


_SETTINGS = {
    "processor": "Processor",
    "cores": "Cores",
    "system": "System",
    "python": "Python",
    "version": "pytest-benchmark",
    "commit": "Commit",
    "branch": "Branch",
    "machine": "Else of the machine",
}


def _against(row: Row) -> Row | None:
    """The ratio to the first file, as a whisker is drawn of it."""
    if row["ratio"] is None:
        return None
    known = math.isfinite(row["ratio_low"]) and math.isfinite(row["ratio_high"]) and row["ratio_low"] > 0
    ends = {"low": row["ratio_low"] if known else -math.inf, "high": row["ratio_high"] if known else math.inf}
    return {"ratio": row["ratio"], "units": 2 if known else 1, "verdict": row["verdict"]} | ends


def interval(row: Row) -> str:
    """The interval of a time, or why there is none."""
    if row["low"] is not None and row["high"] is not None and math.isfinite(row["low"]):
        of = f" from its {row['basis']}" if row["basis"] in (QUARTILES, DEVIATION) else ""
        return words.seconds_interval(row["low"], row["high"]) + of
    if row["rounds"] == 1:
        return "one sample: no interval"
    return "too few rounds: no interval" if row["basis"] else "no samples kept: no interval"


def extra(row: Row) -> str:
    """What else was recorded of a benchmark, in words."""
    return ", ".join(f"{name} {value}" for name, value in json.loads(row["extra"]).items())


def render_foreign(foreign: Foreign) -> str:
    """The whole page as text."""
    return html.render("foreign.html.j2", page=ForeignPage(foreign), interval=interval, extra=extra, There=There)
