"""The reruns of claims as the page shows them: verdicts, gains, what was tuned, and plots."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import words
from reports.pages.gains import gain_words
from reports.pages.groups import grouped
from reports.plots.claim_figures import by_condition, claim_plots
from reports.plots.kinds import Plot
from reports.statistics.profiles import improvement
from reports.store.run_folder import Row
from reports.tables import claims

Drawn = Sequence[tuple[Plot, Markup]]


@dataclass(frozen=True)
class Rerun:
    """One rerun of a claim.

    Attributes:
        anchor: its place on the page.
        name: of the claim, in words.
        definition: the claim.
        title: of its technique.
        setting: how it was rerun, in words.
        verdict: the one that counts: of each arm at its own rate, where it was tuned.
        published: the verdict as published.
        disagrees: whether the two differ.
        contrasts: all of them, with ``words`` for the gain.
        tuning: one row per arm that was tuned.
        improves: over all conditions, how often a run of the arm is better; empty where there is one condition.
        absent: why it was not run; empty where it was.
        failed: how many trials failed.
        plots: as SVG.
    """

    anchor: str
    name: str
    definition: Row
    title: str
    setting: str
    verdict: str
    published: str
    disagrees: bool
    contrasts: Sequence[Row]
    tuning: Sequence[Row]
    improves: str
    absent: str
    failed: int
    plots: Drawn

    @property
    def telling(self) -> Row | None:
        """The contrast that its line in the table quotes: the first that has the claim's verdict."""
        quoted = claims.headline(self.contrasts)
        return next((row for row in quoted if row["contrast_verdict"] == self.verdict), quoted[0] if quoted else None)


def reruns(
    rows: Mapping[str, Sequence[Row]],
    definitions: Mapping[tuple[str, str], Row],
    title: Callable[[str], str],
    draw: Callable[[Iterable[Plot]], Drawn],
) -> Iterator[Rerun]:
    """Every claim in every setting in which its trials ran, given all tables by name."""
    contrasts, training, tuning = (grouped(rows[name], claims.SETTING) for name in ("claims", "training", "tuning"))
    for number, (key, trials) in enumerate(grouped(rows["trials"], claims.SETTING).items(), start=1):
        definition = definitions[key[1], key[2]]
        of_claim = [row | {"words": gain_words(row)} for row in contrasts.get(key, [])]
        by_settings = {row["settings"]: row["verdict"] for row in of_claim if row["budget"] == claims.STEPS}
        trained = [row for row in trials if row["outcome"] == "trained"]
        plots = claim_plots(trained, training.get(key, []), claims.headline(of_claim), definition)
        yield Rerun(
            f"claim-{number}",
            str(key[2]).replace("_", " "),
            definition,
            title(str(key[1])),
            _setting(trials),
            next((row["verdict"] for row in claims.headline(of_claim)), "undecided"),
            by_settings.get(claims.PUBLISHED, "undecided"),
            claims.disagree(of_claim),
            of_claim,
            tuning.get(key, []),
            _improves(trained, definition),
            next((row["reason"] for row in trials if row["outcome"] == "not run"), "") if not trained else "",
            len({row["key"] for row in trials if row["outcome"] == "failed"}),
            draw(plots),
        )


def _improves(trials: Sequence[Row], definition: Row) -> str:
    """How often a run of the first contrast's arm is better than one of its baseline, over all conditions."""
    contrast = definition["contrasts"][0]
    if not isinstance(contrast["baseline"], str):
        return ""
    arm, baseline = (
        by_condition(trials, contrast[side], contrast["metric"], definition) for side in ("arm", "baseline")
    )
    facts = definition["metrics"][contrast["metric"]]
    found = improvement(arm, baseline, facts["better"] == "lower")
    if found is None:
        return ""
    ends = f"[{words.percent(found.low)}, {words.percent(found.high)}]"
    return (
        f"Over {found.conditions} conditions, as published, a run of {contrast['arm']} is better than one of "
        f"{contrast['baseline']} in {facts['title'][:1].lower()}{facts['title'][1:]} with a probability of "
        f"{words.percent(found.share)} {ends}."
    )


def _setting(trials: Sequence[Row]) -> str:
    """How a claim was rerun, in words."""
    first = trials[0]
    judged = {row["seed"] for row in trials if row["purpose"] == "judge"}
    tuned = {row["key"] for row in trials if row["purpose"] == "tune"}
    said = [words.contender(first), first["precision"], f"{first['scale']} scale", words.plural(len(judged), "seed")]
    said += [f"{words.plural(len(tuned), 'trial')} for the learning rates"] if tuned else []
    return ", ".join(said) + words.machine_letter(first)
