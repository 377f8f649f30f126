"""The cards: each kind of promise, and each of the four answers, from run folders in which the truth is planted."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.pages.answers import Answer
from reports.pages.cards import Card
from reports.pages.report import Page, render_page
from reports.statistics import verdicts
from reports.statistics.intervals import Interval
from reports.statistics.verdicts import Effect, Memory, Pays, Speed
from reports.store.run_folder import PROPERTIES, TRIALS, Row, RunFolder
from reports.tables import frames as tables
from reports.tables import memory, rows
from suites import promises
from suites.promises import PROMISES
from suites.selftest import synthetic_races as races
from suites.selftest import synthetic_run as synthetic
from suites.selftest.synthetic_rows import setting

MIB = 1 << 20
WITH, WITHOUT = ("reference", "float32"), ("without", "float32")

Planted = Mapping[races.Named, tuple[float, Sequence[int]]]
"""Of each contender its seconds per step, and its memory in MiB by heat; one number is that of every heat."""


def folder_of(path: Path, technique: str) -> RunFolder:
    """A run folder that knows what a technique promises."""
    folder = synthetic.begin(path)
    named = folder.run["techniques"] | {technique: {"title": technique, **promises.facts(technique)}}
    folder.write_run(folder.run | {"techniques": named})
    return folder


def raced(technique: str, workload: str, operation: str, planted: Planted, sizes: Row | None = None) -> list[Row]:
    """The entries of one race."""
    times = {name: seconds for name, (seconds, _) in planted.items()}
    entries = list(races.race(np.random.default_rng(1), technique, workload, sizes or {}, operation, times, heats=6))
    for entry, (_, held) in zip(entries, planted.values(), strict=True):
        peaks = [(320 + size) * MIB for size in (list(held) * 6)[:6]]
        entry["extra_info"]["memory"] |= {"peak_bytes": max(peaks, default=None), "peak_bytes_by_heat": peaks}
    return entries


def card_of(folder: RunFolder, entries: Sequence[Row], technique: str) -> Card:
    """The card of a technique."""
    folder.write_timings({"benchmarks": list(entries), "failures": []})
    (card,) = [card for card in Page(tables.read([folder.path])).cards if card.technique == technique]
    return card


def answer_of(folder: RunFolder, entries: Sequence[Row], technique: str, label: str = "") -> Answer:
    """One of its answers."""
    (answer,) = [each for each in card_of(folder, entries, technique).answers if each.label == label]
    return answer


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.01, Pays.PAYS), (0.02, Pays.NOT), (0.04, Pays.NOT)], ids=["faster", "level", "slower"]
)
def test_a_promise_of_speed(tmp_path: Path, seconds: float, expected: Pays) -> None:
    """Wrong variants: "pays" for no difference; a ratio without what it is the ratio of."""
    planted: Planted = {WITH: (seconds, [100]), WITHOUT: (0.02, [100])}
    entries = raced("input_pipelines", "words", "epoch", planted)
    answer = answer_of(folder_of(tmp_path / "run", "input_pipelines"), entries, "input_pipelines")
    assert answer.pays is expected
    assert "the time of one with all that makes it fast switched off" in answer.brings
    assert answer.brings.startswith("Nothing here.") == (expected is Pays.NOT)
    assert answer.costs == "It needs 1.00× [1.00, 1.00] the memory (no difference that matters)."


@pytest.mark.parametrize(
    ("seconds", "mib", "expected"),
    [
        (0.026, [60], Pays.IN_MEMORY),
        (0.02, [60], Pays.PAYS),
        (0.08, [60], Pays.NOT),  # four times the time
        (0.02, [100], Pays.NOT),
        (0.02, [97], Pays.NOT),  # exact to the byte, and nothing that matters
        (0.02, [140], Pays.NOT),
        (0.02, [60, 150, 80, 120, 50, 160], Pays.UNDECIDED),
        (0.02, [], Pays.UNDECIDED),
    ],
    ids=["dearer", "free", "too-dear", "none", "little", "more", "noisy", "unmeasured"],
)
def test_a_promise_of_memory(tmp_path: Path, seconds: float, mib: list[int], expected: Pays) -> None:
    """Wrong variants: judged by its time; a point estimate; memory that was not measured counted as none."""
    planted: Planted = {WITH: (seconds, mib), WITHOUT: (0.02, [100])}
    entries = raced("checkpointing", "64-dense", "train", planted)
    answer = answer_of(folder_of(tmp_path / "run", "checkpointing"), entries, "checkpointing")
    assert answer.pays is expected
    assert ("the memory of the same stack with every activation kept" in answer.brings) == bool(mib)
    assert answer.costs.startswith("It takes ")
    assert bool(answer.decides) == bool(answer.command) == (expected is Pays.UNDECIDED)


def test_memory_is_judged_where_most_is_at_stake(tmp_path: Path) -> None:
    """Wrong variant: a small workload, in which there is nothing to save, takes the answer from a large one."""
    small: Planted = {WITH: (0.001, [12]), WITHOUT: (0.001, [10])}
    large: Planted = {WITH: (0.03, [400]), WITHOUT: (0.02, [1000])}
    entries = raced("dot_product_attention", "blockwise-512", "train", small, {"length": 512, "block": 128})
    entries += raced("dot_product_attention", "blockwise-2048", "train", large, {"length": 2048, "block": 128})
    folder = folder_of(tmp_path / "run", "dot_product_attention")
    answer = answer_of(folder, entries, "dot_product_attention", "Attention by blocks")
    assert answer.pays is Pays.IN_MEMORY
    assert answer.brings.startswith("Self-attention over 2048 positions by blocks of 128 needs 0.40× [")
    assert "; self-attention over 512 positions by blocks of 128 needs 1.20× [" in answer.brings
    assert answer.notes == (
        "Decided on blockwise-2048, the largest raced, where the same with all scores at once takes 1000 MiB.",
    )


def test_mixed_precision_is_answered_for_each_precision(tmp_path: Path) -> None:
    """Wrong variants: judged by its ratio in float32; one answer for both; its memory left out; no reason why."""
    planted: Planted = {
        WITH: (0.02, [100]),
        WITHOUT: (0.02, [100]),
        ("reference", "mixed_bfloat16"): (0.015, [80]),
        ("reference", "mixed_float16"): (2.0, [70]),
    }
    entries = raced("mixed_precision", "conv-16x16", "train", planted)
    operations = [{"name": "Conv2DBackpropFilter", "dtype": "float16", "share": 0.97}]
    entries[-1]["extra_info"] |= {"profile": {"operations": operations}, "stopped": "Its ratio was plain."}
    card = card_of(folder_of(tmp_path / "run", "mixed_precision"), entries, "mixed_precision")
    assert card.verdict == "mixed_float16: does not pay here; mixed_bfloat16: pays"
    half, brain = card.answers
    why = "97% of the step is Conv2DBackpropFilter in float16, for which this processor seems to have no fast kernel"
    assert half.notes == (f"Why so slow on conv-16x16: {why}.",)
    assert "A training step of conv-16x16 in mixed_bfloat16 takes 0.7" in brain.brings
    assert brain.brings.endswith("] the time of the same step in float32.")
    assert brain.costs.startswith("It needs 0.80× [")
    assert any(why in note for note in card.answers[0].notes)
    page = render_page(tables.read([tmp_path / "run"]))
    assert page.count(why) == 2, "on the card and beside its time"
    assert '<span class="note">Its ratio was plain.</span>' in page


@pytest.mark.parametrize(
    ("gain", "scale", "expected"),
    [
        (0.5, "quick", Pays.PAYS),
        (0.0, "standard", Pays.NOT),
        (0.0, "quick", Pays.UNDECIDED),
        (None, "standard", Pays.UNDECIDED),
    ],
    ids=["kept", "broken", "too-short", "unseen"],
)
def test_a_promise_of_quality(tmp_path: Path, gain: float | None, scale: str, expected: Pays) -> None:
    """Wrong variants: quality judged by time; a claim without an effect called undecided, or settled by seconds."""
    folder = folder_of(tmp_path / "run", "residual")
    for row in synthetic.trial_rows():
        if gain is None:
            break
        arm, seed = row["asked"]["arm"], row["asked"]["seed"]
        loss = 1.0 - gain * (arm == "residual") + 0.001 * seed * (arm == "plain")
        metrics = {"loss": loss, "gradient": math.exp(5 * gain) if arm == "residual" else 1.0 + 0.001 * seed}
        folder.append(TRIALS, row | {"asked": row["asked"] | {"scale": scale}, "metrics": metrics})
    entries = raced("residual", "resnet20-digits", "train", {WITH: (0.022, [100]), WITHOUT: (0.02, [100])})
    answer = answer_of(folder, entries, "residual")
    assert answer.pays is expected
    assert "A step of resnet20-digits with shortcuts takes 1." in answer.costs
    assert ("shortcuts_carry_signal" in answer.command) == (expected is Pays.UNDECIDED)
    assert ("The claim “Shortcuts let" in answer.brings) == (gain is not None)


def test_a_benefit_whose_cost_is_not_known_is_undecided(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", "residual")
    for row in synthetic.trial_rows():
        folder.append(TRIALS, row)
    answer = answer_of(folder, [], "residual")
    assert answer.pays is Pays.UNDECIDED
    assert answer.decides == "It does what it promises; what that costs, its races say."
    assert "bench_residual" in answer.command


def test_a_promise_without_a_claim_says_so(tmp_path: Path) -> None:
    """Wrong variant: a command that decides nothing."""
    planted: Planted = {WITH: (0.0412, [100]), WITHOUT: (0.02, [100])}
    entries = raced("dot_product_attention", "length-16", "train", planted, {"length": 16})
    folder = folder_of(tmp_path / "run", "dot_product_attention")
    run = folder.run
    promise = run["techniques"]["dot_product_attention"]["promises"][0]
    promise["claim"] = ""  # as a promise of somebody who has written none yet
    del promise["commands"]["claim"]
    folder.write_run(run)
    answer = answer_of(folder, entries, "dot_product_attention", "Attention")
    assert (answer.pays, answer.command) == (Pays.UNDECIDED, "")
    assert answer.costs.startswith("Self-attention over 16 positions takes 2.0")
    assert answer.costs.endswith("] the time of a network that sees the mean of all positions.")
    assert answer.decides.startswith("A claim would decide it")


@pytest.mark.parametrize(("left", "expected"), [(0, Pays.PAYS), (1, Pays.UNDECIDED)], ids=["all", "one-not-run"])
def test_a_promise_of_safety(tmp_path: Path, left: int, expected: Pays) -> None:
    """Wrong variant: monitoring judged by its time alone, or by some of the troubles that it has to catch."""
    folder = folder_of(tmp_path / "run", "monitoring")
    wanted = PROMISES["monitoring"][0].properties
    for name in wanted[left:]:
        asked = setting("monitoring", "reference", "float32")
        folder.append(PROPERTIES, synthetic.property_row(asked, name))
    planted: Planted = {WITH: (0.03, [100]), WITHOUT: (0.02, [100])}
    entries = raced("monitoring", "every-1", "train", planted, {"every": 1})
    answer = answer_of(folder, entries, "monitoring")
    assert answer.pays is expected
    assert answer.brings.startswith(f"{len(wanted) - left} of the {len(wanted)} properties that stand for it hold: ")
    assert answer.costs.startswith("Training that is read at an interval of 1 takes 1.")
    assert bool(answer.command) == (expected is Pays.UNDECIDED)


def test_a_reference_that_fails_is_said_first_and_decides_nothing(tmp_path: Path) -> None:
    """Wrong variant: "pays" for what computes something else."""
    folder = folder_of(tmp_path / "run", "checkpointing")
    asked = setting("checkpointing", "reference", "float32")
    folder.append(PROPERTIES, synthetic.property_row(asked, "rounding_is_the_same", "failed"))
    planted: Planted = {WITH: (0.02, [60]), WITHOUT: (0.02, [100])}
    card = card_of(folder, raced("checkpointing", "64-dense", "train", planted), "checkpointing")
    assert [answer.pays for answer in card.answers] == [Pays.UNDECIDED]
    assert card.line.startswith("Its reference fails 1 property (rounding_is_the_same)")
    assert card.answers[0].decides == "Its reference fails 1 property; these have to pass first."


def test_what_was_not_raced_is_undecided_with_its_command(tmp_path: Path) -> None:
    """Wrong variant: an exception, or an answer from the races of another promise."""
    planted: Planted = {WITH: (0.03, [100]), WITHOUT: (0.02, [100])}
    entries = raced("transformer", "phones", "train", planted, {"target": 16})
    answer = answer_of(folder_of(tmp_path / "run", "transformer"), entries, "transformer", "Decoding with a cache")
    assert (answer.pays, answer.brings) == (Pays.UNDECIDED, "Not known: none of its races was run.")
    assert "benchmarks/bench_transformer.py" in answer.command


def test_what_was_left_out_is_named_until_it_is_measured(tmp_path: Path) -> None:
    """Wrong variants: a race that a later session ran, still missed; the card silent about its own race."""
    folder = folder_of(tmp_path / "run", "transformer")
    planted: Planted = {WITH: (0.01, [100]), WITHOUT: (0.02, [100])}
    entries = raced("transformer", "phones", "decode", planted, {"target": 16})
    keys = [entry["extra_info"]["key"] for entry in entries]
    command = "tox run -e test -- benchmarks/bench_transformer.py -k phones-decode"
    left = {"kind": "race", "name": "transformer/phones/decode", "keys": keys, "command": command}
    (session,) = folder.run["sessions"]
    folder.write_run(folder.run | {"sessions": [session | {"left_out": [left, left]}, session | {"left_out": [left]}]})
    training = raced("transformer", "phones", "train", planted, {"target": 16})
    answer = answer_of(folder, training, "transformer", "Decoding with a cache")
    assert answer.notes == ("Left out of this run for lack of time: transformer/phones/decode.",)
    assert answer.command == command
    assert len(tables.read([folder.path])["left_out"]) == 1
    assert "Left out for lack of time</h3>" in render_page(tables.read([folder.path]))
    answer = answer_of(folder, training + entries, "transformer", "Decoding with a cache")
    assert (answer.pays, answer.notes) == (Pays.PAYS, ())
    assert tables.read([folder.path])["left_out"].empty


def test_a_folder_of_an_older_version_still_gives_a_card(tmp_path: Path) -> None:
    folder = synthetic.begin(tmp_path / "run")
    named = {name: {"title": facts["title"]} for name, facts in folder.run["techniques"].items()}
    folder.write_run(folder.run | {"techniques": named})
    planted: Planted = {WITH: (0.03, [100]), WITHOUT: (0.02, [100])}
    card = card_of(folder, raced("residual", "resnet20-digits", "train", planted), "residual")
    assert card.verdict == "undecided"
    assert "names no promise of it" in card.line


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([Speed.FASTER, Speed.UNDECIDED], Pays.PAYS),
        ([Speed.FASTER, Speed.EQUIVALENT], Pays.PAYS),
        ([Speed.FASTER, Speed.SLOWER], Pays.UNDECIDED),  # it depends on the workload
        ([Speed.EQUIVALENT, Speed.UNDECIDED], Pays.UNDECIDED),
        ([Speed.EQUIVALENT, Speed.SLOWER], Pays.NOT),
        ([], Pays.UNDECIDED),
    ],
)
def test_several_workloads_have_one_answer(times: list[Speed], expected: Pays) -> None:
    assert verdicts.of_speed(Effect(time, Memory.EQUIVALENT) for time in times) is expected


def test_what_cannot_be_faster_does_not_pay_however_much_slower_it_is() -> None:
    """Wrong variant: 5.2 times the time on one workload and 1.1 to 1.6 times on the other is undecided."""
    somewhat = Effect(Speed.UNDECIDED, Memory.EQUIVALENT, no_saving=True)
    assert verdicts.of_speed([Effect(Speed.SLOWER, Memory.EQUIVALENT), somewhat]) is Pays.NOT
    assert verdicts.of_speed([somewhat]) is Pays.NOT
    assert verdicts.of_speed([Effect(Speed.FASTER, Memory.EQUIVALENT), somewhat]) is Pays.PAYS


def test_the_same_time_in_less_memory_pays() -> None:
    assert verdicts.of_speed([Effect(Speed.EQUIVALENT, Memory.LESS)]) is Pays.PAYS
    assert verdicts.of_speed([Effect(Speed.SLOWER, Memory.LESS)]) is Pays.IN_MEMORY
    assert verdicts.of_speed([Effect(Speed.SLOWER, Memory.LESS, dear=True)]) is Pays.NOT
    some = [Effect(Speed.EQUIVALENT, Memory.LESS), Effect(Speed.SLOWER, Memory.EQUIVALENT)]
    assert verdicts.of_speed(some) is Pays.NOT, "one workload gets slower, for nothing"


def row_with(*held: float | None) -> Row:
    """A timing with the memory of its heats, in bytes."""
    return {"memory_by_heat": list(held), "memory_bytes": next(filter(None, held), None), "device": "cpu"}


def test_memory_that_never_varies_is_known_to_a_page() -> None:
    """Wrong variants: a division by a spread of zero; two bytes of difference called a finding with certainty."""
    same = memory.memory_ratio(row_with(MIB, MIB, MIB), row_with(MIB, MIB, MIB))
    assert same.low < 1 < same.high
    assert (same.p, same.units) == (1.0, 3)
    less = memory.memory_ratio(row_with(MIB, MIB, MIB), row_with(*[2 * MIB] * 3))
    assert 0.49 < less.low < 0.5 < less.high < 0.51
    assert less.p == 0.0
    few = memory.memory_ratio(row_with(MIB + 2), row_with(MIB))
    assert (few.low, few.high) == (0.0, math.inf), "one heat tells of no other"


def test_memory_that_was_not_measured_has_no_ratio() -> None:
    """Wrong variant: the heats in which a peak rose paired with those of other heats."""
    assert math.isnan(memory.memory_ratio(row_with(None, None), row_with(MIB, MIB)).estimate)
    some = memory.memory_ratio(row_with(None, 2 * MIB, 2 * MIB), row_with(9 * MIB, MIB, MIB))
    assert some.estimate == pytest.approx(2.0)


def test_memory_on_a_device_is_the_device_s() -> None:
    """Wrong variant: a network that fills a GPU, judged by what its process holds of the host's memory."""
    on_device = {"device": "gpu", "memory_by_heat": [MIB] * 3, "memory_bytes": MIB}
    ratio = memory.memory_ratio(on_device | {"device_memory_bytes": 6 * MIB}, on_device | {"device_memory_bytes": MIB})
    assert ratio.estimate == pytest.approx(6.0)
    assert not ratio.known, "one number of all heats has no interval"


def test_memory_is_held_to_what_its_own_race_showed(tmp_path: Path) -> None:
    """Wrong variant: a reference that beside itself takes 30% more, and a saving of 20% called one."""
    folder = folder_of(tmp_path / "run", "checkpointing")
    planted: dict[races.Named, Any] = {WITH: (0.02, [80]), WITHOUT: (0.02, [100]), ("again", "float32"): (0.02, [104])}
    answer = answer_of(folder, raced("checkpointing", "64-dense", "train", planted), "checkpointing")
    assert answer.pays is Pays.UNDECIDED


@pytest.mark.parametrize(
    ("shares", "dtype", "expected"),
    [
        ({"A": 0.49, "B": 0.48, "C": 0.02}, "float16", "97% of the step is A and B in float16, for which"),
        ({"A": 0.9, "B": 0.1}, "float32", "90% of the step is A in float32"),
        ({"A": 0.3, "B": 0.2, "C": 0.2, "D": 0.2}, None, "70% of the step is A and B and C"),
        ({}, None, None),
    ],
)
def test_as_few_operations_are_named_as_explain_a_slow_step(
    shares: dict[str, float], dtype: str | None, expected: str | None
) -> None:
    """Wrong variant: the first alone, where two share the time."""
    operations = [{"name": name, "share": share, "dtype": dtype} for name, share in shares.items()]
    said = rows.profile_words({"profile": {"operations": operations}, "asked": {"device": "cpu"}})
    assert (said or "").startswith(expected or "")
    assert (said is None) == (expected is None)


@pytest.mark.parametrize(("dear", "expected"), [(False, Pays.IN_MEMORY), (None, Pays.UNDECIDED), (True, Pays.NOT)])
def test_memory_that_was_saved_pays_unless_its_price_may_be_too_high(dear: bool | None, expected: Pays) -> None:
    """Wrong variant: half of the memory is undecided, since nobody can tell 0.96 times the time from 1."""
    assert verdicts.of_memory(Effect(Speed.UNDECIDED, Memory.LESS, dear)) is expected


def test_memory_of_few_heats_is_judged_by_how_twins_differ() -> None:
    """Wrong variants: no interval of one heat; one of two heats by these two alone, or wider than for one."""
    twins = [(100e6 + 1e6 * sign, 100e6) for sign in (-1, 1, 1, -1, 2)]
    spread = math.sqrt((4 + 4) / 5) * 1e6
    found = [memory.of_few_heats(Interval(0.5, 0.0, math.inf, 1.0, n, "heats"), (50e6, 100e6), twins) for n in (1, 2)]
    one, two = (math.log(each.high / each.low) / 2 for each in found)
    assert one == pytest.approx(2.571 * spread / math.sqrt(2) * math.hypot(1 / 50e6, 1 / 100e6), rel=1e-3)  # t(5)
    assert two == pytest.approx(one / math.sqrt(2))
    assert [each.estimate for each in found] == pytest.approx([0.5, 0.5])
    bare = Interval(0.5, 0.0, math.inf, 1.0, 1, "heats")
    assert memory.of_few_heats(bare, (50e6, 100e6), twins[:4]) is bare, "four twins say too little"
