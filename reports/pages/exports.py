"""A run folder as other programs read it: trackers of benchmarks, tables for papers, and each figure of the page."""

import re
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from reports.pages import printed
from reports.pages.report import Page
from reports.pages.reruns import Drawn
from reports.plots.kinds import Plot
from reports.plots.svg import save
from reports.tables import trackers
from reports.tables.frames import Tables

Files = dict[str, bytes]


def _of_tables(ending: str) -> Callable[[Tables], Files]:
    return lambda tables: {name: content for name, content in tables.files().items() if name.endswith(ending)}


FORMATS: dict[str, Callable[[Tables], Files]] = {
    "github-action-benchmark": lambda tables: {
        "github-action-benchmark.json": trackers.github_action_benchmark(trackers.tracked(tables))
    },
    "bencher": lambda tables: {"bencher.json": trackers.bencher(trackers.tracked(tables))},
    "csv": _of_tables(".csv"),
    "parquet": _of_tables(".parquet"),
    "markdown": lambda tables: printed.markdown(printed.printed(tables)),
    "latex": lambda tables: printed.latex(printed.printed(tables)),
}
"""What the numbers of a run folder can be written as: by the name of a format, the files and what is in them."""

FIGURES = ("svg", "pdf", "png")
"""What its figures can be written as."""


def export(tables: Tables, formats: Sequence[str]) -> Files:
    """The files of some formats."""
    files = {name: content for each in formats if each in FORMATS for name, content in FORMATS[each](tables).items()}
    if kinds := [each for each in FIGURES if each in formats]:
        for name, plot in figures(tables).items():
            files |= {f"{name}.{kind}": content for kind, content in save(plot, kinds).items()}
    return files


class _Undrawn(Page):
    """A page of which only the plots are wanted."""

    def _draw(self, plots: Iterable[Plot]) -> list[tuple[Plot, Markup]]:
        return [(plot, Markup()) for plot in plots]


def figures(tables: Tables) -> dict[str, Plot]:
    """Every figure of the page in its order, by a name that says its place, its technique and its title."""
    page = _Undrawn(tables)
    drawn: list[tuple[str, Drawn]] = [("", drift) for _, drift in page.sights()]
    drawn += [("", section.plots) for section in [*page.timings(), *page.precision()]]
    drawn += [("", page.rooflines()), *((rerun.title, rerun.plots) for rerun in page.reruns)]
    titled = [(f"{of} {plot.title}", plot) for of, plots in drawn for plot, _ in plots]
    return {f"figure-{number:03d}-{_slug(title)}": plot for number, (title, plot) in enumerate(titled, start=1)}


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].rstrip("-")
