"""What a gate says: in the terminal, as Markdown for a pull request, as JUnit XML, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from xml.etree import ElementTree

from reports import words
from reports.pages.printed import escaped
from reports.tables.alerts import RED, Alert, Kind

MARK = "<!-- touchstone gate -->"
"""Begins the Markdown, so that whoever posts it finds the comment of the run before, and puts this in its place."""


class Exit(IntEnum):
    """How the program ends."""

    OPEN = 0
    REGRESSION = 1
    ERROR = 2
    UNMEASURED = 3


@dataclass(frozen=True)
class Verdict:
    """All that a gate found.

    Attributes:
        revision: what the working tree was compared with, as it was named, and its number.
        size: the smallest ratio that matters.
        alerts: what differs; regressions were seen twice.
        dropped: what one run showed and the second did not.
        raced, proved, trained: how many races, properties and claims were compared.
        notes: what else there is to know, a sentence each.
    """

    revision: str
    size: float
    alerts: Sequence[Alert]
    dropped: Sequence[Alert] = ()
    raced: int = 0
    proved: int = 0
    trained: int = 0
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def exit(self) -> Exit:
        """A regression first; then what could not be measured."""
        if any(alert.is_red for alert in self.alerts):
            return Exit.REGRESSION
        return Exit.UNMEASURED if any(alert.kind is Kind.UNMEASURED for alert in self.alerts) else Exit.OPEN

    @property
    def headline(self) -> str:
        """What it means, in a line."""
        red = sum(alert.is_red for alert in self.alerts)
        compared = [
            words.plural(number, *names)
            for number, names in (
                (self.raced, ("race",)),
                (self.proved, ("property", "properties")),
                (self.trained, ("claim",)),
            )
            if number
        ]
        against = f"against {self.revision}"
        if not compared and not self.alerts:
            return f"Nothing that is measured has changed {against}."
        what = " and ".join(compared) or "what was planned"
        if self.exit is Exit.REGRESSION:
            return f"{words.plural(red, 'regression')} {against}, of {what}."
        if self.exit is Exit.UNMEASURED:
            return f"No regression {against}, but not all of {what} could be measured."
        better = len(self.alerts)
        found = f", {words.plural(better, 'improvement')}" if better else ""
        return f"No regression{found} {against}, in {what}."

    def ordered(self) -> list[Alert]:
        """Regressions first, those farthest from 1 first of their kind."""
        order = [*RED, *(kind for kind in Kind if kind not in RED)]

        def far(alert: Alert) -> float:
            return -abs((alert.ratio or 1.0) - 1.0)

        return sorted(self.alerts, key=lambda alert: (order.index(alert.kind), far(alert), alert.benchmark))


def told(alert: Alert) -> str:
    """An alert in a line."""
    if alert.ratio is None or alert.kind is Kind.UNMEASURED:
        return f"{alert.benchmark}: {alert.kind.value}" + (f" ({alert.detail})" if alert.detail else "")
    interval = f"{alert.ratio:.3f} times the {alert.measure}"
    if alert.low is not None and alert.high is not None:
        interval += f" [{alert.low:.3f}, {alert.high:.3f}]"
    floor = f", noise floor {alert.floor:.3f}" if alert.floor and alert.measure == "time" else ""
    return f"{alert.benchmark}: {alert.kind.value}, {interval}{floor}"


def text(verdict: Verdict) -> str:
    """For the terminal."""
    lines = [verdict.headline]
    for alert in verdict.ordered():
        lines.append(f"  {'!' if alert.is_red else '+'} {told(alert)}")
        if alert.is_red and alert.command:
            lines.append(f"      again: {alert.command}")
    lines += [f"  - {told(alert)}: not seen again, and so not called" for alert in verdict.dropped]
    return "\n".join([*lines, *(f"  {note}" for note in verdict.notes)])


def markdown(verdict: Verdict) -> str:
    """For ``$GITHUB_STEP_SUMMARY`` and a comment: one line where nothing differs, else a table."""
    sign = {Exit.OPEN: "✅", Exit.REGRESSION: "❌"}.get(verdict.exit, "⚠️")
    lines = [MARK, f"{sign} **Touchstone**: {escaped(verdict.headline)}"]
    if verdict.alerts:
        lines += ["", "| | benchmark | what | ratio | 95% interval | noise floor |", "|---|---|---|---|---|---|"]
    for alert in verdict.ordered():
        ratio = "" if alert.ratio is None else f"{alert.ratio:.3f}"
        interval = "" if alert.low is None or alert.high is None else f"{alert.low:.3f} to {alert.high:.3f}"
        floor = f"{alert.floor:.3f}" if alert.floor and alert.measure == "time" else ""
        what = alert.kind.value + (f": {alert.detail}" if alert.detail else "")
        cells = "❌" if alert.is_red else "", alert.benchmark, what, ratio, interval, floor
        lines.append("| " + " | ".join(map(escaped, cells)) + " |")
    commands = [alert.command for alert in verdict.ordered() if alert.is_red and alert.command]
    if commands:
        lines += ["", "To measure these again:", "", "```", *dict.fromkeys(commands), "```"]
    if verdict.dropped:
        dropped = "; ".join(told(alert) for alert in verdict.dropped)
        lines += ["", f"Seen once, not again, and so not called: {escaped(dropped)}."]
    lines += ["", *(escaped(note) for note in verdict.notes)] if verdict.notes else []
    return "\n".join(lines) + "\n"


def junit(verdict: Verdict) -> bytes:
    """As JUnit XML: a case for each alert, and one for all else that was compared."""
    red = [alert for alert in verdict.ordered() if alert.is_red]
    unmeasured = [alert for alert in verdict.ordered() if alert.kind is Kind.UNMEASURED]
    others = [alert for alert in verdict.ordered() if alert not in red and alert not in unmeasured]
    suite = ElementTree.Element(
        "testsuite",
        name="touchstone gate",
        tests=str(1 + len(verdict.alerts)),
        failures=str(len(red)),
        errors=str(len(unmeasured)),
    )
    ElementTree.SubElement(suite, "testcase", classname="touchstone.gate", name=_printable(verdict.headline))
    for alert in [*red, *unmeasured, *others]:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_printable(alert.benchmark), name=f"{alert.measure}: {alert.kind.value}"
        )
        if alert in red or alert in unmeasured:
            tag = "failure" if alert in red else "error"
            found = ElementTree.SubElement(case, tag, message=_printable(told(alert)))
            found.text = _printable(alert.command)
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _printable(value: str) -> str:
    """Without what XML cannot hold."""
    return "".join(each for each in value if each.isprintable())


def as_json(verdict: Verdict) -> str:
    """The alerts, and what was compared."""
    kept = {
        "revision": verdict.revision,
        "verdict": verdict.exit.name.lower(),
        "headline": verdict.headline,
        "size": verdict.size,
        "races": verdict.raced,
        "properties": verdict.proved,
        "claims": verdict.trained,
        "alerts": [alert.as_row() for alert in verdict.ordered()],
        "not_seen_again": [alert.as_row() for alert in verdict.dropped],
        "notes": list(verdict.notes),
    }
    return json.dumps(kept, indent=1) + "\n"
