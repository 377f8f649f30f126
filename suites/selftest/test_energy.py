"""Energy counters: wrapped, of several packages, denied; and those of an invented GPU."""

from pathlib import Path

import pytest

from benchmarks.harness import energy
from suites.selftest.hosts import Files, epyc, laptop, xeon
from suites.selftest.invented_nvml import InventedGpu

RAPL = "sys/class/powercap"
RANGE_UJ = 262143328850


def counters(files: Files, first: int, second: int) -> None:
    files.lay({f"{RAPL}/intel-rapl:0/energy_uj": str(first), f"{RAPL}/intel-rapl:1/energy_uj": str(second)})


def test_a_counter_that_starts_again_goes_on(tmp_path: Path) -> None:
    """Wrong variant: the difference as it stands, which is -262 kJ; or zero in its place."""
    files = xeon(tmp_path)
    meter = energy.meter("cpu", files.roots["sysfs"])
    assert meter is not None
    assert meter.joules() == 0
    counters(files, 1_500_000, 50)  # from 262143328000, 850 below the range
    assert meter.joules() == pytest.approx(1.500850)
    counters(files, 1_500_000, 50)
    assert meter.joules() == pytest.approx(1.500850)
    counters(files, 1_000_000, 50)
    assert meter.joules() == pytest.approx(1.500850 + (RANGE_UJ - 500_000) * 1e-6)


def test_packages_are_summed_and_what_lies_within_one_is_not_counted_twice(tmp_path: Path) -> None:
    """Wrong variant: the first package only; all zones, of which some are parts or copies of others."""
    files = xeon(tmp_path).lay(
        {
            f"{RAPL}/intel-rapl-mmio:0/name": "package-0",
            f"{RAPL}/intel-rapl-mmio:0/energy_uj": "0",
            f"{RAPL}/intel-rapl-mmio:0/max_energy_range_uj": str(RANGE_UJ),
            f"{RAPL}/intel-rapl:2/name": "psys",
            f"{RAPL}/intel-rapl:2/energy_uj": "0",
            f"{RAPL}/intel-rapl:2/max_energy_range_uj": str(RANGE_UJ),
        }
    )
    counters(files, 10, 20)
    meter = energy.meter("cpu", files.roots["sysfs"])
    assert meter is not None
    counters(files, 2_000_010, 500_020)
    files.lay(
        {f"{RAPL}/{zone}/energy_uj": "9000000" for zone in ("intel-rapl-mmio:0", "intel-rapl:2", "intel-rapl:0:0")}
    )
    assert meter.joules() == pytest.approx(2.5)


@pytest.mark.parametrize("machine", [epyc, laptop])
def test_a_machine_without_counters_has_no_meter(tmp_path: Path, machine: type[Files]) -> None:
    """Wrong variant: a meter that always reads zero, as if the work cost nothing."""
    assert energy.meter("cpu", machine(tmp_path).roots["sysfs"]) is None


@pytest.mark.parametrize("denied", ["0", "1"])
def test_no_meter_where_a_package_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: str) -> None:
    """Wrong variant: the packages that can be read, summed as if they were all; or an error that ends the run.

    The denial is invented, since whoever runs this as root is denied nothing.
    """
    files, read_text = xeon(tmp_path), Path.read_text

    def deny(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if str(path).endswith(f"intel-rapl:{denied}/energy_uj"):
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, encoding, errors)

    monkeypatch.setattr(Path, "read_text", deny)
    assert energy.meter("cpu", files.roots["sysfs"]) is None


def test_a_gpu_counts_from_where_its_driver_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invented GPU. Wrong variant: joules since the driver was loaded, or millijoules."""
    gpu = InventedGpu().install(monkeypatch)
    meter = energy.meter("gpu")
    assert meter is not None
    assert meter.joules() == 0
    gpu.answers["TotalEnergyConsumption"] += 2500
    assert meter.joules() == pytest.approx(2.5)
    del gpu.answers["TotalEnergyConsumption"]
    assert meter.joules() == pytest.approx(2.5)  # it never goes back


def test_an_older_gpu_has_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invented GPU. Wrong variant: a meter that reads zero where NVML says "not supported"."""
    gpu = InventedGpu().install(monkeypatch)
    del gpu.answers["TotalEnergyConsumption"]
    assert energy.meter("gpu") is None


def test_this_machine_has_a_meter_that_rises_or_none() -> None:
    """On the real machine. Wrong variant: a meter that stands still."""
    meter = energy.meter("cpu")
    if meter is None:
        pytest.skip("no energy counter is readable here")
    before = meter.joules()
    assert sum(i * i for i in range(10**6)) > 0
    assert meter.joules() > before
