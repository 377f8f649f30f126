"""What makes a host noisy: found on the files of machines that have it, and never where it could not be read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness import host
from benchmarks.harness.host import Check, State
from benchmarks.harness.machine import virtual
from suites.selftest.hosts import Files, docker, epyc, kubernetes, laptop, stat, xeon
from suites.selftest.invented_nvml import InventedGpu

GOOD, NOISY, UNKNOWN = State.GOOD, State.NOISY, State.UNKNOWN


def look(files: Files, device: str = "cpu") -> dict[str, Check]:
    return {check.name: check for check in host.checks(device, **files.roots)}


EXPECTED: list[tuple[Callable[[Path], Files], dict[str, tuple[State, str]]]] = [
    (
        xeon,
        {
            "frequency governor": (NOISY, "powersave"),
            "turbo": (NOISY, "on"),
            "hyper-threading": (NOISY, "4 CPUs share 2 cores"),
            "load": (GOOD, "0.12 tasks on the last minute's average"),
            "steal time": (GOOD, "0.00% of the CPU time since boot"),
            "CPU quota": (GOOD, "none"),
            "memory limit": (GOOD, "none"),
            "swap": (GOOD, "none in use"),
            "power supply": (GOOD, "no battery"),
            "address-space layout": (GOOD, "drawn anew at each start of a program"),
        },
    ),
    (
        epyc,
        {
            "frequency governor": (UNKNOWN, "not readable here"),
            "turbo": (UNKNOWN, "not readable here"),
            "hyper-threading": (UNKNOWN, "none shown, but a virtual machine need not show it"),
            "load": (NOISY, "3.91 tasks on the last minute's average"),
            "steal time": (NOISY, "0.16% of the CPU time since boot"),
            "CPU quota": (GOOD, "none"),
            "memory limit": (GOOD, "none"),
        },
    ),
    (
        laptop,
        {
            "frequency governor": (GOOD, "performance"),
            "turbo": (GOOD, "off"),
            "hyper-threading": (GOOD, "each of 1 CPUs has a core of its own"),
            "steal time": (UNKNOWN, "not readable here"),
            "CPU quota": (UNKNOWN, "not readable here"),
            "memory limit": (UNKNOWN, "not readable here"),
            "swap": (NOISY, "512 MiB in use"),
            "power supply": (NOISY, "on battery"),
            "address-space layout": (UNKNOWN, "not readable here"),
        },
    ),
    (docker, {"CPU quota": (NOISY, "1.5 cores for 4 CPUs"), "memory limit": (GOOD, "4.0 GiB, met 0×")}),
    (kubernetes, {"CPU quota": (NOISY, "2 cores for 4 CPUs"), "memory limit": (NOISY, "2.0 GiB, met 17×")}),
]


@pytest.mark.parametrize(("machine", "expected"), EXPECTED)
def test_each_machine_is_seen_as_it_is(
    tmp_path: Path, machine: Callable[[Path], Files], expected: dict[str, tuple[State, str]]
) -> None:
    """Wrong variant: ``no_turbo`` read as ``boost``; the mouse's battery; the innermost group's quota; "max" as 0."""
    found = look(machine(tmp_path))
    assert {name: (found[name].state, found[name].found) for name in expected} == expected


def test_nothing_that_could_not_be_read_passes(tmp_path: Path) -> None:
    """Wrong variant: a check that starts from good and looks for a reason against it."""
    found = look(Files(tmp_path))
    assert {check.state for check in found.values()} == {UNKNOWN}
    assert len(found) == len(host.CHECKS)


def test_only_what_is_noisy_comes_with_advice_and_no_advice_turns_security_off(tmp_path: Path) -> None:
    """Wrong variant: advice against randomised layouts or mitigations, as tuning guides give it."""
    machines = (xeon, epyc, laptop, docker, kubernetes)
    found = [check for make in machines for check in look(make(tmp_path / make.__name__)).values()]
    assert all(bool(check.advice) == (check.state is NOISY) for check in found)
    assert all(check.advice.count(". ") == 0 and check.advice.endswith(".") for check in found if check.advice)
    assert not any("mitigations" in check.advice or "randomi" in check.advice for check in found)
    fixed = xeon(tmp_path / "fixed").lay({"proc/sys/kernel/randomize_va_space": "0"})
    assert "again" in look(fixed)["address-space layout"].advice


def test_a_mouse_is_no_power_supply(tmp_path: Path) -> None:
    """Wrong variant: any battery that discharges, of which a wireless mouse has one while the laptop is plugged in."""
    files = laptop(tmp_path).lay({"sys/class/power_supply/BAT0/status": "Charging"})
    assert (look(files)["power supply"].state, look(files)["power supply"].found) == (GOOD, "mains")


def test_advice_against_hyper_threading_names_one_cpu_of_each_core(tmp_path: Path) -> None:
    """Wrong variant: every second CPU, which on this machine is both threads of one core."""
    files = xeon(tmp_path)
    advice = look(files)["hyper-threading"].advice
    assert advice.endswith("`taskset --cpu-list 0,1`.")
    files.lay({"proc/self/status": "Cpus_allowed_list:\t0-1"})
    assert look(files)["hyper-threading"].state is GOOD


def test_no_stolen_time_in_a_virtual_machine_is_no_proof(tmp_path: Path) -> None:
    """Wrong variant: zero passes, on a hypervisor that tells its guests nothing."""
    files = epyc(tmp_path).lay({"proc/stat": stat((1650, 828, 0), (1981, 551, 0))})
    assert virtual(**files.roots)
    assert look(files)["steal time"].state is UNKNOWN


def test_checks_of_this_machine_are_data() -> None:
    """On the real machine. Wrong variant: an enumeration or a path in a row, which JSON writes in another way."""
    rows = [check.row() for check in host.checks()]
    assert json.loads(json.dumps(rows)) == rows
    assert {frozenset(row) for row in rows} == {frozenset({"name", "state", "found", "advice"})}
    assert {row["state"] for row in rows} <= {"good", "noisy", "unknown"}


def gpu_checks(tmp_path: Path) -> dict[str, tuple[State, str]]:
    found = look(Files(tmp_path), "gpu")
    return {name: (check.state, check.found) for name, check in found.items() if "GPU" in name}


def test_a_quiet_gpu_passes_but_for_what_nvml_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invented GPU. Wrong variant: idling is a reason for a lower clock, and counted as throttling."""
    InventedGpu().install(monkeypatch)
    assert gpu_checks(tmp_path) == {
        "GPU persistence mode": (GOOD, "on"),
        "other processes on the GPU": (GOOD, "none"),
        "GPU clocks": (UNKNOWN, "1410 MHz now, 1980 at most; whether they are locked is not readable here"),
        "GPU temperature": (GOOD, "41 °C; it slows down at 92"),
        "GPU throttling": (GOOD, "none"),
    }


def test_a_noisy_gpu_is_named_in_every_respect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invented GPU, whose driver knows the reasons by their older name. Wrong variant: the newer name alone."""
    gpu = InventedGpu().processes(4242).install(monkeypatch)
    gpu.answers |= {"PersistenceMode": 0, "Temperature": 88, "CurrentClocksThrottleReasons": 0x24 | 0x1}
    del gpu.answers["CurrentClocksEventReasons"]
    found = gpu_checks(tmp_path)
    assert [name for name, (state, _) in found.items() if state is not NOISY] == ["GPU clocks"]
    assert found["GPU throttling"][1] == "by its power limit and its temperature (driver)"


def test_a_gpu_that_answers_nothing_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invented GPU. Wrong variant: an unsupported query ends the run, or an empty answer passes."""
    gpu = InventedGpu().install(monkeypatch)
    gpu.answers.clear()
    assert {state for state, _ in gpu_checks(tmp_path).values()} == {UNKNOWN}


@pytest.mark.parametrize("visible", ["-1", "", "3", "GPU-none"])
def test_a_gpu_that_frameworks_do_not_see_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    """With an invented GPU. Wrong variant: the first GPU of the machine, whichever the frameworks are given."""
    InventedGpu().install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_checks(tmp_path) == {"GPU": (UNKNOWN, "not readable here")}


def test_every_name_of_the_invented_library_is_one_of_the_real() -> None:
    """Wrong variant: a query that NVML does not have, which the invented one answers."""
    real = pytest.importorskip("pynvml", reason="nvidia-ml-py (the extra `gpu`) is not installed here")
    invented = vars(InventedGpu().library())
    assert not [name for name in invented if not hasattr(real, name)]
