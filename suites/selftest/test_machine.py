"""The machine's hash: the same while clocks jitter and kernels change, another when the hardware does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import machine
from reports.store.run_folder import canonical_hash
from suites.selftest.hosts import EPYC_FLAGS, Files, cpuinfo, docker, epyc, kubernetes, laptop, xeon


def hashed(files: Files) -> str:
    return canonical_hash(machine.machine(**files.roots))


def test_hash_stays_while_clocks_jitter(tmp_path: Path) -> None:
    """Wrong variant: a fingerprint with frequencies, as in pytest-benchmark's issue 255; or with bogomips."""
    assert hashed(xeon(tmp_path / "one")) == hashed(xeon(tmp_path / "two", mhz=(2300.1, 3699.9, 1000.0, 1000.1)))


def test_hash_stays_when_a_kernel_keeps_more_memory_for_itself(tmp_path: Path) -> None:
    """Wrong variant: the kernel's total, rounded: 23.54 GiB, of which another kernel leaves 23.49."""
    first, second = epyc(tmp_path / "one"), epyc(tmp_path / "two")
    second.lay({"proc/meminfo": "MemTotal:       24630000 kB"})
    assert hashed(first) == hashed(second)
    assert machine.machine(**first.roots)["memory_bytes"] == 24 << 30


CHANGES: dict[str, dict[str, str]] = {
    "another processor of that name": {
        "proc/cpuinfo": cpuinfo("AuthenticAMD", 25, 1, "AMD EPYC", 1, EPYC_FLAGS, [2596.142] * 2)
    },
    "a third core": {"sys/devices/system/cpu/present": "0-2"},
    "hyper-threads in place of cores": {
        "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1",
        "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1",
    },
    "a smaller cache": {"sys/devices/system/cpu/cpu0/cache/index3/size": "16384K"},
    "two NUMA nodes": {"sys/devices/system/node/online": "0-1"},
    "less memory": {f"sys/devices/system/memory/memory{n}/online": "0" for n in range(96, 192)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_hash_changes_with_the_hardware(tmp_path: Path, change: str) -> None:
    """Wrong variant: a fingerprint of the processor's name and its number of CPUs."""
    assert hashed(epyc(tmp_path / "one")) != hashed(epyc(tmp_path / "two").lay(CHANGES[change]))


def test_only_instruction_sets_that_change_kernels_count(tmp_path: Path) -> None:
    """Wrong variant: all flags, of which a kernel's update brings new ones; or the first match of a word in another."""
    first, second = epyc(tmp_path / "one"), epyc(tmp_path / "two")
    text = (second.roots["proc"] / "cpuinfo").read_text(encoding="utf-8")
    second.lay({"proc/cpuinfo": text.replace(" ht ", " ht fsrm user_shstk ")})
    assert hashed(first) == hashed(second)
    second.lay({"proc/cpuinfo": text.replace("avx512_bf16", "avx512_bf16 amx_tile")})
    assert hashed(first) != hashed(second)


@pytest.mark.parametrize(("host", "expected"), [(xeon, False), (epyc, True), (laptop, False)])
def test_virtual_machines_are_told_from_real_ones(
    tmp_path: Path, host: Callable[[Path], Files], expected: bool
) -> None:
    """Wrong variant: every machine whose processor could be one (its flag is called ``vmx``) is taken for virtual."""
    assert machine.machine(**host(tmp_path).roots)["virtual"] is expected


def test_what_is_not_told_is_none_and_not_false_or_zero(tmp_path: Path) -> None:
    """Wrong variant: an Arm processor, whose features name no hypervisor, is said to be no virtual machine."""
    files = Files(tmp_path).lay({"proc/cpuinfo": "processor : 0\nFeatures : fp asimd sve\nCPU implementer : 0x41"})
    found = machine.machine(**files.roots)
    assert found["virtual"] is None
    assert found["numa_nodes"] is None
    assert (found["simd"], found["model"]) == (["asimd", "sve"], "0x41")


LIMITS: list[tuple[Callable[[Path], Files], dict[str, Any]]] = [
    (docker, {"cpu_quota_cores": 1.5, "memory_limit_bytes": 4 << 30}),
    (kubernetes, {"cpu_quota_cores": 2.0, "memory_limit_bytes": 2 << 30}),
    (xeon, {}),
    (epyc, {}),
]


@pytest.mark.parametrize(("host", "limits"), LIMITS)
def test_a_container_limit_is_part_of_the_environment_and_not_of_the_machine(
    tmp_path: Path, host: Callable[[Path], Files], limits: dict[str, Any]
) -> None:
    """Wrong variant: the innermost group's limit alone; version 1's "none", 2^63, as a limit; the path as it stands."""
    files = host(tmp_path)
    found = machine.environment(**files.roots)
    assert {name: found[name] for name in found if name in ("cpu_quota_cores", "memory_limit_bytes")} == limits
    if host is not epyc:
        assert hashed(files) == hashed(xeon(tmp_path / "bare"))


def test_pinning_is_part_of_the_environment(tmp_path: Path) -> None:
    """Wrong variant: the CPUs of the machine, of which a task set leaves two."""
    files = xeon(tmp_path).lay({"proc/self/status": "Cpus_allowed_list:\t1,3"})
    assert machine.environment(**files.roots)["cpus_allowed"] == 2
    assert hashed(files) == hashed(xeon(tmp_path / "free"))
