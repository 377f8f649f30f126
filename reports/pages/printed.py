"""The tables of a report as people read them in Markdown and LaTeX: few columns, numbers in words, all text escaped."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports import words
from reports.pages.gains import gain_words
from reports.pages.groups import grouped
from reports.store.run_folder import Row
from reports.tables.claims import PUBLISHED, SETTING, STEPS, TIME, TUNED, headline
from reports.tables.frames import Tables, records

TITLES = {
    "timings": "Seconds per step",
    "ratios": "Ratios of times",
    "verdicts": "Claims",
    "claims": "What claims expect, one by one",
    "conformance": "Properties that hold",
}


def printed(tables: Tables) -> dict[str, pd.DataFrame]:
    """The tables by name, with the columns that people read; each cell is text. Empty ones are left out."""
    rows = {name: records(tables[name]) for name in ("timings", "ratios", "precision", "claims", "conformance")}
    found = {
        "timings": [_timing(row) for row in rows["timings"]],
        "ratios": [_ratio(row) for row in [*rows["ratios"], *rows["precision"]]],
        "verdicts": [_verdicts(of) for of in grouped(rows["claims"], SETTING).values()],
        "claims": [_claim(row) for row in rows["claims"]],
        "conformance": [_conformance(of) for of in grouped(rows["conformance"], _OF_A_CONTENDER).values()],
    }
    return {name: pd.DataFrame(lines).map(_one_line) for name, lines in found.items() if lines}


_OF_A_CONTENDER = ("place", "technique", "implementation", "backend", "device", "precision", "scale")


def _timing(row: Row) -> Row:
    return _work(row) | {
        "Time": words.seconds(row["seconds"]),
        "95% interval": words.seconds_interval(*_ends(row)),
        "Memory": words.mebibytes(row["memory_bytes"]),
    }


def _ratio(row: Row) -> Row:
    baseline = words.contender(row | {"implementation": row["baseline"], "variation": ""})
    return _work(row) | {
        "Beside": f"{baseline}, {row['baseline_precision']}",
        "Time": words.factor(row["ratio"]),
        "95% interval": words.factor_interval(*_ends(row)),
        "Verdict": row["verdict"],
        "Memory": words.factor(row["memory_ratio"]),
    }


def _work(row: Row) -> Row:
    return {
        "Technique": row["technique"],
        "Workload": row["workload"],
        "Operation": words.operation(row["operation"]),
        "Contender": words.contender(row) + words.machine_letter(row),
        "Precision": row["precision"],
        "Scale": row["scale"],
    }


def _ends(row: Row) -> tuple[float, float]:
    return tuple(float("nan") if row[end] is None else row[end] for end in ("low", "high"))  # type: ignore[return-value]


def _verdicts(rows: list[Row]) -> Row:
    """One claim: what came of it in each setting and by each budget, and the gain that decided the quoted verdict."""
    found = {(row["settings"], row["budget"]): row["verdict"] for row in rows}
    quoted = headline(rows)
    decided = next((row for row in quoted if row["contrast_verdict"] == row["verdict"]), quoted[0])
    by_time = found.get((quoted[0]["settings"], TIME))
    return {
        "Technique": rows[0]["technique"],
        "Claim": rows[0]["statement"],
        "As published": found.get((PUBLISHED, STEPS), ""),
        "Tuned": found.get((TUNED, STEPS), "nothing to tune"),
        "After equal time": by_time or "not compared",
        "Seeds": str(max(int(row["units"] or 0) for row in quoted)),
        "Because": gain_words(decided),
    }


def _claim(row: Row) -> Row:
    return {
        "Technique": row["technique"],
        "Claim": row["statement"],
        "Run": f"{row['settings']}, equal {row['budget']}",
        "Expected": f"{row['arm']} {_EXPECTED[row['expects']]} {row['baseline']}",
        "Condition": words.setting(row["condition"]),
        "Gain": gain_words(row),
        "Seeds": words.plural(int(row["units"] or 0), "seed"),
        "Verdict": row["contrast_verdict"],
    }


_EXPECTED = {"better": "better than", "equal": "equal to"}


def _conformance(rows: list[Row]) -> Row:
    """One contender: how many of its properties hold, and which do not."""
    first, held = rows[0], sum(row["outcome"] in ("passed", "lenient") for row in rows)
    asked = [row for row in rows if row["outcome"] != "not provided"]
    failed = [row["property"] + (" (known)" if row["known"] else "") for row in rows if row["outcome"] == "failed"]
    return {
        "Technique": first["technique"],
        "Implementation": words.contender(first) + words.machine_letter(first),
        "Precision": first["precision"],
        "Hold": f"{held} of {len(asked)}",
        "Not provided": str(len(rows) - len(asked)),
        "Fail": ", ".join(failed),
    }


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def markdown(frames: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Tables as GitHub and others read them in Markdown, by the name of their file."""
    return {f"{name}.md": _markdown(TITLES[name], frame) for name, frame in frames.items()}


def _markdown(title: str, frame: pd.DataFrame) -> bytes:
    lines = [frame.columns, ["---"] * len(frame.columns), *frame.map(escaped).to_numpy().tolist()]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"## {title}\n\n{table}".encode()


_MARKS = re.compile(r"([\\`*_{}\[\]<>|~#&!$@])")
"""What Markdown, or GitHub's, may read as something else than itself."""


def escaped(text: str) -> str:
    """Text, on one line, as Markdown reads it as text."""
    return _MARKS.sub(r"\\\1", text)


def latex(frames: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Tables for LaTeX, by the name of their file; a comment says which packages they need."""
    return {f"{name}.tex": (_PACKAGES + _latex(name, frame)).encode() for name, frame in frames.items()}


_PACKAGES = "% \\usepackage{booktabs,longtable,textcomp}\n"


def _latex(name: str, frame: pd.DataFrame) -> str:
    widths = ["p{4cm}" if frame[column].str.len().max() > LONG else "l" for column in frame.columns]
    return str(
        frame.to_latex(
            index=False,
            escape=True,
            longtable=True,
            column_format="".join(widths),
            caption=TITLES[name],
            label=f"tab:{name}",
        )
    )


LONG = 40
"""Characters: a column with a longer text breaks its lines."""
