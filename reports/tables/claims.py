"""What the trials of a claim say: the gains of its arms, as published and tuned, after equal steps and equal time."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reports.statistics import verdicts
from reports.statistics.decisions import Choice, Gain, best, paired_gain
from reports.statistics.intervals import false_discovery
from reports.statistics.verdicts import Verdict
from reports.store.run_folder import Row

SETTING = ("place", "technique", "claim", "implementation", "backend", "precision", "device", "scale")
"""What tells one rerun of a claim from another."""

CLAIM_COLUMNS = (
    *SETTING,
    *("statement", "source", "settings", "budget", "headline"),
    *("metric", "metric_title", "unit", "arm", "baseline", "condition", "gain_scale", "margin", "expects"),
    *("gain", "low", "high", "p", "q", "sign_flip", "detectable", "units", "arm_unusable", "baseline_unusable"),
    *("arm_rate", "baseline_rate", "contrast_verdict", "verdict"),
)
TUNING_COLUMNS = (*SETTING, "arm", "condition", "rate", "end", "tried", "published", "tuned_by")

PUBLISHED, TUNED = "as published", "tuned"
STEPS, TIME = "steps", "time"

CLAIM_RATE = 0.05
"""The share of false discoveries that is accepted among all verdicts that find a difference."""

Values = Callable[[Row, str], float]
"""The value of a trial's metric under one budget."""


def claims(trials: Iterable[Row], definitions: Mapping[tuple[str, str], Row]) -> tuple[list[Row], list[Row]]:
    """One row per contrast, setting of the learning rates and budget of every claim; and one per arm that was tuned.

    Args:
        trials: one row per trial, with what tells it from others, ``metrics``, ``series`` and ``clock``.
        definitions: by technique and claim.
    """
    reruns: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in trials:
        reruns[tuple(row[name] for name in SETTING)].append(row)
    found, tuned = [], []
    for setting, lines in reruns.items():
        asked = dict(zip(SETTING, setting, strict=True))
        definition = definitions[asked["technique"], asked["claim"]]
        choices = _choices(lines, definition)
        tuned += [asked | _tuning_row(where, choice, definition) for where, choice in choices.items()]
        said = {"statement": definition["statement"], "source": definition["source"]}
        found += [asked | said | row for row in _rerun(lines, definition, choices)]
    _control(found)
    _conclude(found)
    return found, tuned


def _choices(lines: Sequence[Row], definition: Row) -> dict[tuple[str, str], Choice]:
    """The best rate of each arm at each condition at which it was searched, by arm and condition."""
    if not definition.get("rates"):  # the newest trial's: others of the claim may have been of another one
        return {}
    metric = definition["tuned_by"]
    results: dict[tuple[str, str], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line["purpose"] == "tune":
            results[line["arm"], line["condition"]][line["rate"]].append(_number(line["metrics"].get(metric)))
    found = {}
    for where, by_rate in results.items():
        # A search that a kill has cut short chooses nothing: every rate must have been tried as often.
        whole = len(by_rate) >= len(definition["rates"]["grid"]) and len(set(map(len, by_rate.values()))) == 1
        choice = best(by_rate, definition["metrics"][metric]["better"] == "lower") if whole else None
        if choice is not None:
            found[where] = choice
    return found


def _tuning_row(where: tuple[str, str], choice: Choice, definition: Row) -> Row:
    published, tuned_by = definition["rates"]["published"], definition["tuned_by"]
    return (
        dict(zip(("arm", "condition"), where, strict=True))
        | vars(choice)
        | {
            "published": published,
            "tuned_by": tuned_by,
        }
    )


def _rerun(lines: Sequence[Row], definition: Row, choices: Mapping[tuple[str, str], Choice]) -> list[Row]:
    """The contrasts of one rerun: as published and, where it was tuned, at each arm's own rate."""
    rates = definition.get("rates") or {}
    published = rates.get("published")
    rows = []
    for settings in (PUBLISHED, *([TUNED] if rates else [])):
        for budget in (STEPS, *([TIME] if _has_clock(lines, definition) else [])):
            for contrast in definition["contrasts"]:
                if budget == TIME and not _by_time(contrast, definition):
                    continue
                condition = json.dumps(contrast["condition"], sort_keys=True)
                at: dict[str, float | None] = {}
                for side in _arms(contrast):
                    choice = choices.get((side, condition))
                    at[side] = published if settings == PUBLISHED else None if choice is None else choice.rate
                which = {"settings": settings, "budget": budget}
                rows.append(which | _contrast(lines, contrast, definition, condition, at, budget))
    least = definition.get("least_seeds", 2)
    tuned = [row for row in rows if (row["settings"], row["budget"]) == (TUNED, STEPS)]
    judged = all(row["units"] + max(row["arm_unusable"], row["baseline_unusable"]) >= least for row in tuned)
    quoted = (TUNED if tuned and judged else PUBLISHED, STEPS)  # a search that is under way says nothing yet
    return [row | {"headline": (row["settings"], row["budget"]) == quoted} for row in rows]


def _arms(contrast: Row) -> list[str]:
    return [side for side in (contrast["arm"], contrast["baseline"]) if isinstance(side, str)]


def _has_clock(lines: Sequence[Row], definition: Row) -> bool:
    """Whether arms can be compared after equal time: two of them, by the end of a series, with a clock beside it."""
    ends = any(_by_time(contrast, definition) for contrast in definition["contrasts"])
    return ends and any(line.get("clock") for line in lines)


def _by_time(contrast: Row, definition: Row) -> bool:
    return bool(definition["metrics"][contrast["metric"]].get("last")) and len(_arms(contrast)) > 1


def _contrast(
    lines: Sequence[Row], contrast: Row, definition: Row, condition: str, at: Mapping[str, float | None], budget: str
) -> Row:
    metric = definition["metrics"][contrast["metric"]]
    trials = {side: _trials(lines, side, condition, at[side], definition) for side in _arms(contrast)}
    arm: Mapping[int, float]
    baseline: Mapping[int, float] | float
    if budget == TIME:
        arm, baseline = _at_equal_time(trials, contrast, metric["last"])
    else:
        values = [
            {seed: _number(line["metrics"].get(contrast["metric"])) for seed, line in by_seed.items()}
            for by_seed in trials.values()
        ]
        arm, baseline = values[0], values[1] if len(values) > 1 else float(contrast["baseline"])
    gain = paired_gain(arm, baseline, contrast["scale"], metric["better"] == "lower", contrast["margin"])
    expected = verdicts.Contrast(
        contrast["scale"], contrast["margin"], contrast.get("expects", "better"), definition.get("least_seeds", 2)
    )
    unmet = [line for by_seed in trials.values() for line in by_seed.values() if line.get("outcome") == "not run"]
    verdict = Verdict.NOT_RUN if unmet else verdicts.of_contrast(gain, expected)
    return {
        **{name: contrast[name] for name in ("metric", "arm", "margin")},
        "baseline": str(contrast["baseline"]) if len(trials) > 1 else f"a fixed {contrast['baseline']:g}",
        "expects": expected.expects,
        "metric_title": metric["title"],
        "unit": metric.get("unit", "") if contrast["scale"] == "difference" else "times",
        "condition": condition,
        "gain_scale": contrast["scale"],
        "arm_rate": at[contrast["arm"]],
        "baseline_rate": at.get(contrast["baseline"]) if len(trials) > 1 else None,
        **_gain_fields(gain),
        "contrast_verdict": verdict.value,
    }


def _gain_fields(gain: Gain) -> Row:
    interval = gain.interval
    return {
        "gain": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "p": interval.p,
        "sign_flip": gain.flips,
        "detectable": gain.detectable,
        "units": interval.units,
        "arm_unusable": gain.arm_unusable,
        "baseline_unusable": gain.baseline_unusable,
    }


def _trials(lines: Sequence[Row], arm: str, condition: str, rate: float | None, definition: Row) -> dict[int, Row]:
    """An arm's trials that judge, by seed; none where its rate is not known."""
    if rate is None and definition.get("rates"):
        return {}
    return {
        line["seed"]: line
        for line in lines
        if (line["purpose"], line["arm"], line["condition"], line["rate"]) == ("judge", arm, condition, rate)
    }


def _at_equal_time(
    trials: Mapping[str, Mapping[int, Row]], contrast: Row, last: int
) -> tuple[dict[int, float], dict[int, float]]:
    """The metric of both arms by seed, each when the faster of a pair had ended: the last points until then."""
    arm, baseline = (trials[side] for side in _arms(contrast))
    found: tuple[dict[int, float], dict[int, float]] = {}, {}
    for seed in arm.keys() & baseline.keys():
        clocks = [line["clock"] for line in (arm[seed], baseline[seed])]
        if not all(clocks):
            continue
        until = min(clock[-1] for clock in clocks)
        for values, line in zip(found, (arm[seed], baseline[seed]), strict=True):
            series = line["series"].get(contrast["metric"]) or []
            points = [y for y, at in zip(series, line["clock"], strict=False) if at <= until][-last:]
            values[seed] = math.fsum(map(_number, points)) / len(points) if points else math.nan
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _control(rows: Sequence[Row]) -> None:
    """False-discovery control over all contrasts of all claims: of what finds a difference, few may find none.

    Where a claim says that two arms are equal, only its contradiction finds one. Who was beaten by being lost at every
    seed has no size, and so no p-value.
    """
    finds = [row for row in rows if row["units"] and _may_find(row)]
    for row in rows:
        row["q"] = None
    for row, q in zip(finds, false_discovery([row["p"] for row in finds]), strict=True):
        row["q"] = float(q)
        if row["contrast_verdict"] in (Verdict.REPRODUCED, Verdict.CONTRADICTED) and q > CLAIM_RATE:
            row["contrast_verdict"] = Verdict.UNDECIDED.value


def _may_find(row: Row) -> bool:
    return row["expects"] == "better" or row["contrast_verdict"] == Verdict.CONTRADICTED


def _conclude(rows: Sequence[Row]) -> None:
    """The verdict of each claim under each setting and budget, beside each of its contrasts."""
    together: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        together[*(row[name] for name in SETTING), row["settings"], row["budget"]].append(row)
    for of_claim in together.values():
        verdict = verdicts.of_claim(Verdict(row["contrast_verdict"]) for row in of_claim)
        for row in of_claim:
            row["verdict"] = verdict.value


def headline(rows: Iterable[Row]) -> list[Row]:
    """Of the contrasts of a claim those that its card quotes: tuned once all arms are, after equal steps."""
    return [row for row in rows if row["headline"]]


def disagree(rows: Iterable[Row]) -> bool:
    """Whether a claim, after equal steps, ends differently as published and tuned, once all arms are tuned."""
    rows = list(rows)
    found = {row["settings"]: row["verdict"] for row in rows if row["budget"] == STEPS}
    return len(set(found.values())) > 1 and any(row["settings"] == TUNED for row in headline(rows))
