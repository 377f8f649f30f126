"""The conditions of a block: on laid-out counters, and on this machine beside a neighbour that is really busy."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.harness.conditions import Conditions, busy_neighbour
from suites.selftest.hosts import Files, docker, epyc, kubernetes, laptop, stat, xeon
from suites.selftest.invented_nvml import InventedGpu

OURS, CHILD = 4001, 4002


def process(ticks: int, of_children: int = 0) -> str:
    """/proc/<pid>/stat of a process whose name is made to confuse: user and system time, and its children's."""
    return f"17 (py) R 3 (x) S 1 17 17 0 -1 4194304 5054 0 0 0 {ticks} 0 {of_children} 0 20 0 8 0 39 0"


def test_others_are_what_was_busy_and_is_not_ours(tmp_path: Path) -> None:
    """Wrong variant: all that was busy; shares of the time since boot; stolen time counted as another process's."""
    files = epyc(tmp_path).lay({"proc/stat": stat((100, 900, 0), (100, 900, 0)), f"proc/{OURS}/stat": process(50)})
    conditions = Conditions("cpu", **files.roots)
    conditions.read([OURS])
    files.lay({"proc/stat": stat((160, 930, 10), (180, 920, 0)), f"proc/{OURS}/stat": process(110)})
    found = conditions.read([OURS])
    assert (found["steal"], found["others"]) == (10 / 200, (60 + 80 - 60) / 200)
    assert (found["cores"], found["load1"]) == (2, 3.91)
    files.lay({"proc/stat": stat((260, 930, 10), (180, 1020, 0)), f"proc/{OURS}/stat": process(210)})
    assert conditions.read([OURS])["others"] == 0


def test_a_worker_that_ends_leaves_its_time_to_its_parent(tmp_path: Path) -> None:
    """Wrong variant: its time is lost, and a stranger's; or its whole life is the parent's work of this block."""
    files = epyc(tmp_path).lay({"proc/stat": stat((100, 900, 0), (100, 900, 0))})
    files.lay({f"proc/{OURS}/stat": process(20), f"proc/{CHILD}/stat": process(500)})
    conditions = Conditions("cpu", **files.roots)
    conditions.read([OURS, CHILD])
    (files.roots["proc"] / f"{CHILD}/stat").unlink()
    files.lay({"proc/stat": stat((180, 920, 0), (120, 980, 0)), f"proc/{OURS}/stat": process(20, of_children=550)})
    assert conditions.read([OURS])["others"] == (100 - 50) / 200


def test_a_process_that_is_ours_no_more_takes_nothing_along(tmp_path: Path) -> None:
    """Wrong variant: a sum over whom we are told of now, which falls by a whole life between two heats."""
    files = epyc(tmp_path).lay({"proc/stat": stat((100, 900, 0), (100, 900, 0)), f"proc/{OURS}/stat": process(9000)})
    conditions = Conditions("cpu", **files.roots)
    conditions.read([OURS])
    files.lay({"proc/stat": stat((160, 940, 0), (180, 920, 0)), f"proc/{OURS}/stat": process(9060)})
    assert conditions.read()["others"] == (140 - 60) / 200
    files.lay({"proc/stat": stat((220, 980, 0), (260, 940, 0)), f"proc/{OURS}/stat": process(9120)})
    assert conditions.read()["others"] == 140 / 200


def test_only_the_cpus_on_which_we_may_run_count(tmp_path: Path) -> None:
    """Wrong variant: the sum line, by which a neighbour on cores that are not ours disturbs us."""
    files = xeon(tmp_path).lay({"proc/self/status": "Cpus_allowed_list:\t1,3"})
    conditions = Conditions("cpu", **files.roots)
    files.lay({"proc/stat": stat((200, 900, 0), (0, 1100, 0), (200, 900, 0), (0, 1100, 0))})
    found = conditions.read()
    assert (found["cores"], found["others"]) == (2, 0)
    files.lay({"proc/stat": stat((300, 900, 0), (100, 1100, 0), (300, 900, 0), (0, 1200, 0))})
    assert conditions.read()["others"] == 0.5


def test_frequency_is_what_was_measured(tmp_path: Path) -> None:
    """Wrong variant: the frequency that a virtual machine's processor was given, which never changes, as measured."""
    server = xeon(tmp_path / "server")
    assert Conditions("cpu", **server.roots).read()["frequency_mhz"] == pytest.approx(
        (999.96 + 1000.023 + 2301 + 999.9) / 4
    )
    for cpu in range(4):
        (server.root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq").unlink()
    from_cpuinfo = Conditions("cpu", **server.roots).read()["frequency_mhz"]
    assert from_cpuinfo == pytest.approx((999.96 + 1000.023 + 2301 + 999.9) / 4)
    assert "frequency_mhz" not in Conditions("cpu", **epyc(tmp_path / "virtual").roots).read()


def test_throttling_is_counted_since_the_last_reading_and_by_its_cause(tmp_path: Path) -> None:
    """Wrong variant: the counters as they stand; the container's own level only, which the pod's quota stops."""
    pod = "sys/fs/cgroup/kubepods.slice/pod7f1/cpu.stat"
    files = kubernetes(tmp_path)
    conditions = Conditions("cpu", **files.roots)
    files.lay({pod: "nr_periods 60\nnr_throttled 57"})
    files.lay({"sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "2"})
    found = conditions.read()
    assert (found["throttled_by_quota"], found["throttled_by_heat"]) == (7, 2)
    assert (conditions.read()["throttled_by_quota"], conditions.read()["throttled_by_heat"]) == (0, 0)
    contained = docker(tmp_path / "docker")
    conditions = Conditions("cpu", **contained.roots)
    contained.lay({"sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 60\nnr_throttled 15"})
    assert conditions.read()["throttled_by_quota"] == 3


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """Wrong variant: zero, by which a block looks undisturbed where nothing is known."""
    assert set(Conditions("cpu", **Files(tmp_path).roots).read()) == {"seconds"}
    assert set(Conditions("gpu", **laptop(tmp_path / "laptop").roots).read()) == {"seconds", "load1"}


QUIET = {"seconds": 1.0, "cores": 8.0, "steal": 0.0, "others": 0.02, "load1": 1.0}


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ({"others": 0.06}, None),
        ({"others": 0.125}, "other processes kept 1.0 of 8 cores busy"),
        ({"others": 0.125, "seconds": 0.05}, None),
        ({"steal": 0.009}, None),
        ({"steal": 0.05}, "the hypervisor gave 5% of the CPU time to others"),
        ({"throttled_by_quota": 3.0, "throttled_by_heat": 0.0}, "the CPU quota stopped this container 3×"),
        ({"throttled_by_heat": 1.0}, "heat slowed the processor 1×"),
        ({"gpu_slowed_by": float(0x40), "gpu_clock_mhz": 1200.0}, "the GPU was slowed by its temperature (hardware)"),
        (
            {"gpu_others": 1.0, "steal": 0.02},
            "the hypervisor gave 2% of the CPU time to others; 1 other process was on the GPU",
        ),
        ({"load1": 40.0}, None),
    ],
)
def test_a_disturbance_is_named_above_its_threshold_and_below_it_is_not(
    reading: dict[str, float], said: str | None
) -> None:
    """Wrong variant: a fixed share, be it of two cores or of sixty; the load average, which lags by a minute.

    The error of the ticks is part of the threshold: in 50 ms, one core of eight is 5 ticks, and their error 2.8.
    """
    assert busy_neighbour(QUIET | reading) == said


def test_nothing_known_is_no_disturbance() -> None:
    """Wrong variant: a missing key raises, on a system other than Linux."""
    assert busy_neighbour({"seconds": 0.1}) is None


@pytest.fixture
def neighbour() -> Iterator[psutil.Process]:
    """A process that keeps a core busy as well as it can."""
    spin = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield psutil.Process(started.pid)
        started.kill()


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="conditions are read from Linux's /proc")
def test_a_busy_neighbour_is_seen_on_this_machine(neighbour: psutil.Process) -> None:
    """Two samplers over the same second, of which one is told that the neighbour is ours.

    They differ by the neighbour's CPU time, whatever else this machine is busy with. Wrong variant: a count of
    processes, or of the load; the neighbour's time since it was started; a share of one CPU in place of all.
    One reading took 0.09 ms at the median and 0.15 ms at the 99th percentile of 300, on two cores of an EPYC VM whose
    load average was 4, with two processes to add up; each further process adds 0.02 ms.
    """
    stranger, known = Conditions(), Conditions()
    stranger.read()
    known.read([neighbour.pid])
    used = -neighbour.cpu_times().user
    time.sleep(1.0)
    used += neighbour.cpu_times().user
    found, without = stranger.read(), known.read([neighbour.pid])
    ticks = 6 / 100  # one per core and reading, two of the neighbour's
    assert used > 0.1, "the neighbour was hardly let run: nothing can be seen here"
    risen = (found["others"] - without["others"]) * found["cores"] * found["seconds"]
    assert risen == pytest.approx(used, abs=ticks)
    assert busy_neighbour(found) is not None


def gpu_reading(gpu: InventedGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    gpu.install(monkeypatch)
    found = Conditions("gpu", **Files(tmp_path).roots).read([OURS])
    return {name: value for name, value in found.items() if name.startswith("gpu")}


def test_the_gpu_is_read_with_strangers_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invented GPU. Wrong variant: our own contenders are strangers, or this very process is."""
    gpu = InventedGpu().processes(OURS, os.getpid(), 9, 10)
    expected = {"gpu_clock_mhz": 1410, "gpu_temperature_c": 41, "gpu_slowed_by": 0, "gpu_others": 2}
    assert gpu_reading(gpu, monkeypatch, tmp_path) == expected


def test_strangers_are_not_counted_where_processes_have_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an invented GPU. Wrong variant: in a container, whose driver gives the host's numbers, all are strangers."""
    assert "gpu_others" not in gpu_reading(InventedGpu().processes(77_001, 77_002), monkeypatch, tmp_path)
    assert gpu_reading(InventedGpu(), monkeypatch, tmp_path)["gpu_others"] == 0
