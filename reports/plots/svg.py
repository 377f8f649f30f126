"""Plots as inline SVG.

`render` draws a plot with matplotlib in stand-in colours, which it then replaces by CSS variables of the page: the same
SVG serves light and dark. Text stays text, identifiers are made unique to the plot, and a title and description are
there for screen readers.
"""

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from html import escape
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from reports.plots.kinds import Curves, Forest, Plot, Roofline

INK, MUTED, GRID = "#010203", "#010204", "#010205"
SERIES = tuple(f"#0102{number:02x}" for number in range(16, 22))
MARKERS = ("o", "s", "^", "D", "v", "P")
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--rule)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)
}

BILLION = 1e9
LEAST, MOST = 1e-300, 1e300
"""Numbers beyond these have no place on an axis: what is computed of them would overflow."""
MARKED = 8  # points of a band that have a mark, so that it can be told without its colour
WIDTH = 4.5  # inches: 430 CSS pixels, two side by side on a desk, one on a phone without tiny letters
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "touchstone",
    "pdf.fonttype": 42,  # letters stay letters
    "font.size": 9.2,
    "text.parse_math": False,  # a dollar in a name is one
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def render(plot: Plot, identifier: str) -> str:
    """Draw a plot as an SVG element for a page; `identifier` must be unique on that page."""
    with _drawing():
        figure = _figure(plot)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    return _inline(_NO_TEXT.sub("\ufffd", text.getvalue()), plot, identifier)


@contextmanager
def _drawing() -> Iterator[None]:
    """The style of all plots; that a font lacks a character is no news, since pages have fonts of their own."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")
        yield


_NO_TEXT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f]")
"""Characters that no XML may hold."""


PRINTED = {INK: "#1c1e22", MUTED: "#5c5f66", GRID: "#dedad0"} | dict(
    zip(SERIES, ("#0b62ab", "#b34700", "#1b7a4b", "#8b3a9c", "#6b6b00", "#a3154f"), strict=True)
)
"""The colours of a file of its own: those of the page in the light."""


def save(plot: Plot, kinds: Sequence[str]) -> dict[str, bytes]:
    """Draw a plot as files of their own, on white: ``svg``, ``pdf`` and ``png``, by kind."""
    files = {}
    with _drawing():
        figure = _figure(plot)
        FigureCanvasBase(figure)
        figure.text(0.01, 1, plot.title, weight="bold", verticalalignment="bottom")
        _colour(figure)
        figure.patch.set(visible=True, facecolor="white")
        for kind in kinds:
            content = io.BytesIO()
            dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})  # same numbers, same file
            named = {"Title": _NO_TEXT.sub("\ufffd", plot.title)} | dated
            figure.savefig(content, format=kind, dpi=200, bbox_inches="tight", metadata=named)
            files[kind] = content.getvalue()
    if "svg" in files:
        files["svg"] = _NO_TEXT.sub("\ufffd", files["svg"].decode()).encode()
    return files


def _colour(figure: Figure) -> None:
    """Put the colours of print in the place of the stand-ins."""
    for artist in figure.findobj():
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            get, put = (getattr(artist, f"{verb}_{name}", None) for verb in ("get", "set"))
            if get is None or put is None:
                continue
            with suppress(ValueError, TypeError):  # none, or several colours
                colour = np.atleast_2d(to_rgba_array(get()))
                if len(colour) == 1 and (printed := PRINTED.get(to_hex(colour[0]))):
                    put(printed)


def _figure(plot: Plot) -> Figure:
    match plot:
        case Forest():
            return _forest(plot)
        case Curves():
            return _curves(plot)
        case Roofline():
            return _roofline(plot)


def _series(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker by series; both differ, so that a plot can be read without colour.

    When the colours have been used up they begin again with other markers, so that no two of 36 series look alike.
    """
    size = len(MARKERS)
    return {name: (SERIES[i % size], MARKERS[(i + i // size) % size]) for i, name in enumerate(dict.fromkeys(names))}


def _axes(height: float, left: float, bottom: float, names: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes that are `height` inches high, with `left` and `bottom` inches for labels and a legend of `names` above."""
    legend = 0.12 + 0.19 * math.ceil(len(names) / _columns(names))
    whole = height + bottom + legend
    figure = Figure(figsize=(WIDTH, whole))
    figure.patch.set_visible(False)
    axes = figure.add_axes((left / WIDTH, bottom / whole, 1 - (left + 0.12) / WIDTH, height / whole))
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    if names:
        spacing = {"handletextpad": 0.4, "columnspacing": 1.2, "borderaxespad": 0.1}
        figure.legend(handles, names, loc="upper left", ncols=_columns(names), frameon=False, **spacing)


def _columns(names: Sequence[str]) -> int:
    """How many names of a legend fit beside each other."""
    return max(1, min(3, 62 // (max(map(len, names), default=0) + 6)))


def _forest(plot: Forest) -> Figure:
    labels, series = plot.labels, _series([dot.series for dot in plot.dots])
    margin = min(0.25 + 0.075 * max(map(len, labels)), WIDTH / 2)
    figure, axes = _axes(0.06 + (0.1 + 0.1 * len(series)) * len(labels), margin, 0.28, list(series))
    for number, (name, (colour, marker)) in enumerate(series.items()):
        shift = (number - (len(series) - 1) / 2) * 0.6 / len(series)
        dots = [dot for dot in plot.dots if dot.series == name]
        rows = [labels.index(dot.label) + shift for dot in dots]
        known = [(r, d) for r, d in zip(rows, dots, strict=True) if math.isfinite(d.low) and math.isfinite(d.high)]
        ends, places = _strokes([(dot.low, dot.high) for _, dot in known], [row for row, _ in known])
        axes.plot(ends, places, color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([dot.estimate for dot in dots], rows, marker, color=colour, markersize=4.5, label=name)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    ends = [value for dot in plot.dots for value in (dot.low, dot.estimate, dot.high) if LEAST < value < MOST]
    ratios = plot.unit == "×"
    ends += [0.97, 1.03] if ratios else []
    low, high = min(ends), max(ends)
    axes.set_xscale("log")
    room = 1.03 if ratios else max(1.03, (high / low) ** 0.04)
    axes.set_xlim(low / room, high * room)
    ticks = round_ticks(low / room, high * room, most=6 if ratios else 4)  # a unit takes its room
    _tick(axes.xaxis, ticks, plot.unit)
    if ratios:
        axes.axvline(1, color=MUTED, linewidth=1)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    _legend(figure, axes)
    return figure


def _strokes(ends: Sequence[tuple[float, float]], places: Sequence[float]) -> tuple[list[float], list[float]]:
    """Strokes from end to end at their places, as one broken line: matplotlib takes its time over each line."""
    along = [value for low, high in ends for value in (low, high, math.nan)]
    return along, [value for place in places for value in (place, place, math.nan)]


def _tick(axis: Axis, ticks: Sequence[float], unit: str = "") -> None:
    """Put plain numbers on an axis; matplotlib would typeset powers of ten, slowly and as glyphs."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([f"{tick:g}{unit}" for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round values between the two ends of a logarithmic axis.

    Equal steps where the ends are close, as the axis is then nearly linear; else the finest familiar ladder that fits.
    """
    if high < 3 * low:
        equal = MaxNLocator(most - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in equal if low <= tick <= high]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for ladder in [(1, 1.5, 2, 3, 4, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)]:
        inside = [tick for decade in decades for step in ladder if low <= (tick := step * 10.0**decade) <= high]
        if len(inside) <= most:
            return inside
    powers = [10.0**decade for decade in decades]
    return powers[:: math.ceil(len(powers) / most)]


def _curves(plot: Curves) -> Figure:
    series = _series([curve.name for curve in plot.curves])
    figure, axes = _axes(2.1, 0.72, 0.48, list(series))
    axes.set_xscale("log" if plot.log_x else "linear")
    axes.set_yscale("log" if plot.log_y else "linear")
    for number, (curve, (colour, marker)) in enumerate(zip(plot.curves, series.values(), strict=True)):
        if curve.observations:  # beside the line, each curve's at its own distance, so that none hides another
            aside = ScaledTranslation((number - (len(series) - 1) / 2) * 0.09, 0, figure.dpi_scale_trans)
            (points,) = axes.plot(
                *zip(*curve.observations, strict=True), marker, color=colour, markersize=3.4, alpha=0.6
            )
            points.set_transform(axes.transData + aside)
        if curve.intervals and plot.bands:
            lows, highs = zip(*curve.intervals, strict=True)
            axes.fill_between(curve.x, lows, highs, color=colour, alpha=0.18, linewidth=0)
        elif curve.intervals:
            ends, places = _strokes(curve.intervals, curve.x)
            axes.plot(places, ends, color=colour, linewidth=1.4, solid_capstyle="butt")
        (line,) = axes.plot(
            curve.x, curve.y, color=colour, marker=marker, markersize=4, linewidth=1.5, label=curve.name
        )
        if plot.bands:
            line.set_markevery((number, max(1, len(curve.x) // MARKED)))  # beside the others' marks
        if curve.missing:
            top = axes.get_xaxis_transform()  # x in data, y in fractions of the axes
            axes.plot(curve.missing, [0.97] * len(curve.missing), "x", color=colour, transform=top, clip_on=False)
    _limits(axes, plot)
    x_values = sorted({x for curve in plot.curves for x in curve.x})
    if _apart(x_values, plot.log_x):
        _tick(axes.xaxis, x_values)
    elif plot.log_x:
        _tick(axes.xaxis, round_ticks(*axes.get_xlim()))
    if plot.log_y:
        _tick(axes.yaxis, round_ticks(*axes.get_ylim()))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(plot.x_title)
    axes.set_ylabel(plot.y_title)
    axes.grid(color=GRID, linewidth=0.6)
    _legend(figure, axes)
    return figure


def _apart(values: Sequence[float], logarithmic: bool) -> bool:
    """Whether each of these values can have a tick of its own."""
    places = [math.log(value) for value in values] if logarithmic else values
    closest = min((high - low for low, high in pairwise(places)), default=1.0)
    return closest > 0.08 * (places[-1] - places[0]) if places else True


def _limits(axes: Axes, plot: Curves) -> None:
    """Fit the vertical axis to all finite points, with room above for the marks of those that are not finite."""
    values = [y for curve in plot.curves for _, y in curve.points() if abs(y) < MOST and (y > LEAST or not plot.log_y)]
    if not values:
        return
    room = 0.14 if any(curve.missing for curve in plot.curves) else 0.06
    low, high = (math.log(v) if plot.log_y else v for v in (min(values), max(values)))
    span = (high - low) or max(abs(high), 1.0) * 0.1
    ends = low - 0.06 * span, high + room * span
    axes.set_ylim(*(math.exp(end) if plot.log_y else end for end in ends))


def _roofline(plot: Roofline) -> Figure:
    series = _series([mark.series for mark in plot.marks])
    figure, axes = _axes(2.5, 0.72, 0.48, list(series))
    axes.set_xscale("log")
    axes.set_yscale("log")
    x_values = [mark.x for mark in plot.marks] + ([plot.ridge] if plot.ridge else [])
    left, right = min(x_values) / 1.5, max(x_values) * 1.5
    corners = [left, plot.ridge, right] if plot.ridge else [left, right]
    roof = [(x, y / BILLION) for x in corners if x and (y := plot.roof(x))]
    if roof:
        axes.plot(*zip(*roof, strict=True), color=INK, linewidth=1.3, gid="roof")
    for name, (colour, marker) in series.items():
        of_series = [mark for mark in plot.marks if mark.series == name]
        for emphasised in sorted({mark.emphasised for mark in of_series}, reverse=True):
            marks = [(mark.x, mark.y / BILLION) for mark in of_series if mark.emphasised == emphasised]
            look = {"markersize": 5.2, "zorder": 3} if emphasised else {"markersize": 3.8, "markerfacecolor": "none"}
            label = name if emphasised == max(mark.emphasised for mark in of_series) else None
            axes.plot(*zip(*marks, strict=True), marker, color=colour, markeredgewidth=0.8, label=label, **look)
    y_values = [mark.y / BILLION for mark in plot.marks] + [y for _, y in roof]
    axes.set_xlim(left, right)
    axes.set_ylim(min(y_values) / 1.5, max(y_values) * 1.5)
    _tick(axes.xaxis, round_ticks(*axes.get_xlim()))
    _tick(axes.yaxis, round_ticks(*axes.get_ylim()))
    axes.set_xlabel("multiply-adds per byte")
    axes.set_ylabel("billion multiply-adds per second")
    axes.grid(color=GRID, linewidth=0.6)
    _legend(figure, axes)
    return figure


def _font_size(font: re.Match[str]) -> str:
    """A font's size without its family, which is the page's."""
    return f"font-size: {font[1]}px" if font[1] else ""


def _inline(svg: str, plot: Plot, identifier: str) -> str:
    """Make matplotlib's document an element of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # would apply to the whole page
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg, count=2).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{identifier}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{identifier}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*|font-family: [^;\"]*; ?", _font_size, svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    title, description = f"{identifier}-title", f"{identifier}-desc"
    named = (
        f'<title id="{title}">{escape(plot.title)}</title><desc id="{description}">{escape(plot.description)}</desc>'
    )
    head, rest = _compact(svg).split(">", 1)
    return f'{head} role="img" aria-labelledby="{title} {description}">{named}{rest}'


_NUMBERED = re.compile(r"-(?:[A-Za-z]\w*\.)?[A-Za-z]\w*_\d+$")
"""How the identifiers end that matplotlib gives to every group, and nothing refers to."""


def _compact(svg: str) -> str:
    """The same picture in half as many characters: a page may hold a hundred of them."""
    root = ElementTree.fromstring(svg)
    _shorten(root.attrib)
    _prune(root)
    root.set("style", ";".join(_USUAL))
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", text)).replace(" />", "/>")


_USUAL = (f"font-size:{_STYLE['font.size']}px", "fill:var(--ink)")
"""What is so unless a part says otherwise: it is said once, of the whole."""


def _prune(element: ElementTree.Element) -> None:
    """Take out groups that say nothing, and say once what all marks of a group have in common."""
    children: list[ElementTree.Element] = []
    for child in element:
        _prune(child)
        if _NUMBERED.search(child.get("id", "")):
            del child.attrib["id"]
        _shorten(child.attrib)
        says_nothing = child.tag == "g" and not child.attrib
        if child.tag != "defs" or len(child):
            children += list(child) if says_nothing else [child]
    element[:] = children
    styles = {child.get("style") for child in element}
    if element.tag == "g" and len(element) > 1 and len(styles) == 1 and all(child.tag == "use" for child in element):
        (style,) = styles
        for child in element:
            child.attrib.pop("style", None)
        if style:
            element.set("style", style)


_PLACES = {"d", "x", "y", "width", "height", "viewBox", "transform", "points"}
"""Attributes that hold coordinates; a tenth of a pixel is enough."""


def _shorten(attributes: dict[str, str]) -> None:
    """Leave out of an element's attributes what says nothing."""
    if "style" in attributes:
        said = [each.strip().replace(": ", ":") for each in attributes.pop("style").split(";")]
        if said := [each for each in said if each and each not in _USUAL]:
            attributes["style"] = ";".join(said)
    for name in _PLACES & attributes.keys():
        attributes[name] = re.sub(r"(\d\.\d)\d+", r"\1", attributes[name])
    if "d" in attributes:
        attributes["d"] = re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(attributes["d"].split()))
    if re.match(r"rotate\(-?0 ", attributes.get("transform", "")):
        del attributes["transform"]
