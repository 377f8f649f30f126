"""Pages as text: templates filled in, with the style and the script of all pages inside."""

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reports import words
from reports.pages.gains import promised
from reports.statistics import verdicts
from reports.statistics.intervals import CONFIDENCE

TEMPLATES = Path(__file__).parent / "templates"

FILTERS = (
    *("seconds", "seconds_interval", "mebibytes", "factor", "factor_interval", "setting", "properties"),
    *("significant", "p_value", "percent", "scaled"),
)
"""The functions of `reports.words` that templates use as filters."""


def render(template: str, **names: Any) -> str:
    """A whole page.

    Args:
        template: the name of one that extends ``base.html.j2``.
        names: what it is made of; ``runs``, the run folders, among them.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            words=words,
            verdicts=verdicts,
            confidence=CONFIDENCE,
            style=_shared("style.css"),
            script=_shared("script.js"),
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            **names,
        )
    )


@functools.cache
def _environment() -> jinja2.Environment:
    """Where templates are found, and what they may use; to compile them takes longer than to fill them in."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {name: getattr(words, name) for name in FILTERS} | {"promised": promised}
    return environment


def _shared(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
