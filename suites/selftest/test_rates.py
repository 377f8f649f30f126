"""Times beside the control kernels of their own race: rates, and shares of what the machine reaches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.statistics.intervals import Rounds, step_time
from reports.tables import frames as tables
from reports.tables.comparisons import Sample
from reports.tables.rates import COLUMNS, add_rates
from suites.selftest import synthetic_races as races
from suites.selftest import synthetic_run as synthetic

PRODUCT = {"multiply_adds": 1_000_000, "bytes": 12_000}
COPY = {"multiply_adds": 0, "bytes": 1_000_000}


def sample(
    implementation: str, seconds: float, work: dict[str, int] | None = None, race: str = "r", **fields: Any
) -> Sample:
    """A contender that takes as long in every block, but for what the machine does: it slows down by half."""
    slowing = np.repeat(np.linspace(1.0, 1.5, 6), 2)
    blocks = np.tile(np.repeat([0, 1, 2], 2), 2)
    rounds = Rounds.of(race, seconds * slowing, np.repeat([0, 1], 6), blocks)
    usual = {"place": "a CPU", "precision": "float32", "seconds": step_time(rounds).estimate}
    return usual | {"implementation": implementation, "multiply_adds": None, "bytes": None} | (
        work or {}
    ) | fields, rounds


def test_shares_are_of_the_rates_that_the_controls_reach() -> None:
    """Wrong variants: shares turned upside down, of times instead of work done in them, or the controls mixed up."""
    worker = sample("reference", 0.010, {"multiply_adds": 2_000_000, "bytes": 500_000})
    add_rates([worker, sample("control-matmul", 0.002, PRODUCT), sample("control-copy", 0.001, COPY)])
    row = worker[0]
    assert row["in_matmuls"] == pytest.approx(5.0)
    assert row["matmul_share"] == pytest.approx(2 / 5)
    assert row["memory_share"] == pytest.approx(0.5 / 10)
    assert row["rate"] == pytest.approx(2_000_000 / row["seconds"])


@pytest.mark.parametrize("controls_first", [True, False])
def test_the_order_of_rows_does_not_matter(controls_first: bool) -> None:
    """Wrong variant: a control's work read from where it no longer, or not yet, stands."""
    worker = sample("reference", 0.010, {"multiply_adds": 2_000_000, "bytes": 500_000})
    controls = [sample("control-matmul", 0.002, PRODUCT), sample("control-copy", 0.001, COPY)]
    add_rates([*controls, worker] if controls_first else [worker, *controls])
    assert worker[0]["matmul_share"] == pytest.approx(2 / 5)
    assert worker[0]["memory_share"] == pytest.approx(0.5 / 10)


def test_only_controls_of_the_same_race_and_precision_count() -> None:
    """Wrong variants: the product of another precision, which is faster; that of a race on a machine slower by then."""
    worker = sample("reference", 0.010, {"multiply_adds": 2_000_000, "bytes": 500_000}, precision="mixed_bfloat16")
    elsewhere = sample("control-matmul", 0.5, PRODUCT, race="another", precision="mixed_bfloat16")
    add_rates([worker, sample("control-matmul", 0.002, PRODUCT), elsewhere, sample("control-copy", 0.001, COPY)])
    assert worker[0]["in_matmuls"] is None
    assert worker[0]["matmul_share"] is None
    assert worker[0]["memory_share"] == pytest.approx(0.5 / 10)  # memory is moved at one precision only
    assert worker[0]["rate"] is not None


@pytest.mark.parametrize(("work", "limit"), [("multiply_adds", 4), ("bytes", 32)])
def test_what_is_faster_than_the_machine_is_marked(work: str, limit: float) -> None:
    """Wrong variants: a share above one is enough, which caches and fast convolutions reach; nobody looks."""
    honest = sample("keras", 0.001, {"multiply_adds": 1, "bytes": 1, work: int(0.95 * limit * 1e6)})
    cheat = sample("cheat", 0.001, {"multiply_adds": 1, "bytes": 1, work: int(1.05 * limit * 1e6)})
    add_rates([honest, cheat, sample("control-matmul", 0.001, PRODUCT), sample("control-copy", 0.001, COPY)])
    assert honest[0]["too_fast"] is None
    assert cheat[0]["too_fast"].startswith(f"Faster than this machine's own kernels, {1.05 * limit:.3g}")
    assert cheat[0]["too_fast"].endswith("its work cannot all have been done. Look at it.")


def test_noise_marks_nobody() -> None:
    """Wrong variant: the estimate is asked, whose interval reaches to what is possible."""
    noise = np.repeat(np.exp([-0.3, 0.3]), 6)
    row, rounds = sample("keras", 0.001, {"multiply_adds": 4_400_000})
    noisy = row, Rounds.of("r", rounds.seconds * noise, rounds.heat, rounds.block)
    add_rates([noisy, sample("control-matmul", 0.001, PRODUCT)])
    assert row["matmul_share"] > 4
    assert row["too_fast"] is None


def test_what_is_not_known_is_none_and_never_zero() -> None:
    """Wrong variants: a share of zero where work is not known, a control compared with itself, a missing column."""
    unknown, product = sample("reference", 0.010), sample("control-matmul", 0.002, PRODUCT)
    alone = sample("reference", 0.010, PRODUCT, race="without controls")
    add_rates([unknown, product, alone])
    assert all(set(COLUMNS) <= row.keys() for row, _ in (unknown, product, alone))
    assert unknown[0]["in_matmuls"] == pytest.approx(5.0)
    assert [unknown[0][name] for name in ("rate", "matmul_share", "memory_share")] == [None] * 3
    assert product[0]["rate"] == pytest.approx(1_000_000 / product[0]["seconds"])
    assert [product[0][name] for name in ("in_matmuls", "matmul_share", "memory_share")] == [None] * 3
    assert [alone[0][name] for name in ("in_matmuls", "matmul_share", "memory_share")] == [None] * 3


def test_planted_shares_are_found_on_a_machine_that_wanders(tmp_path: Path) -> None:
    """Wrong variant: rates from times alone, which a machine that wanders by 20% from block to block moves about."""
    timings = tables.read([synthetic.write_run(tmp_path / "run", parts="timings").path])["timings"]
    own = timings.query("technique == 'residual' and implementation == 'reference' and variation == ''")
    plain = own[own["precision"] == "float32"]
    np.testing.assert_allclose(plain["matmul_share"], races.SHARES[0], rtol=0.03)
    np.testing.assert_allclose(plain["memory_share"], races.SHARES[1], rtol=0.03)
    attention = timings.query("technique == 'additive_attention' and not implementation.str.startswith('control')")
    assert attention["matmul_share"].isna().all()
    assert attention["in_matmuls"].notna().all()
