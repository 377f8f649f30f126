"""The harness with real processes: contenders that misbehave, processes that are killed, and what a contender costs."""

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.harness.client import Server, Site, WorkerError
from benchmarks.harness.lockstep import Race
from benchmarks.harness.plan import Plan
from benchmarks.harness.results import Entrant, Result
from benchmarks.workload import WITHOUT, Contender, Workload
from reports.store.run_folder import key_of
from suites.implementations import ROOT, Implementation, implementation

PLAN = Plan(
    heats=2,
    most_heats=2,
    race_s=60.0,
    narrow=0.0,
    blocks=2,
    least_blocks=2,
    heat_s=60.0,
    round_s=1e-9,
    warm_up_s=0.0,
    lead_in_s=0.0,
    warm_up_calls=3,
    limit_s=15.0,
)
"""One step a round, and three of warm-up: the sixth step, at which contenders misbehave, is the second round."""

SIZES = {"target": 4, "width": 8, "units": 8, "batch": 2, "source": 8}
MISBEHAVING = {
    "raises_in_build": ("build", r"^ValueError: .*this went wrong on purpose"),
    "raises_in_step": ("round", r"(?s)this went wrong on purpose"),
    "hangs": ("round", r"^no answer within the time limit of 15 s$"),
    "kills_itself": ("round", r"^killed by SIGKILL, as the system does when memory runs out$"),
    "exits": ("round", r"^its process exited with status 3; its last output: these are my last words$"),
    "runs_out_of_memory": ("build", r"^out of memory$"),
    "incomplete": ("build", r"^suites\.selftest\.misbehaving:incomplete does not provide AdditiveAttention$"),
}
FORKS = 10


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    """The preloaded server of this file, and those that took its place."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def server(servers: list[Server]) -> Server:
    """A preloaded server: the same for all tests until one kills it."""
    if not servers or not servers[-1].alive:
        servers.append(Server(Site("tensorflow", "cpu")))
    servers[-1].wait_until_ready()
    return servers[-1]


class Kept(list[Mapping[str, Any]]):
    """A journal in memory."""

    write = list.append


def entrant(name: str, operation: str = "gradient") -> Entrant:
    """A contender of one small workload: the reference, the network without, or one that misbehaves."""
    modules = {WITHOUT: "reference.additive_attention"}
    if name in modules:
        chosen = Implementation("additive_attention", name, modules[name])
    else:
        known = name if name == "reference" else f"suites.selftest.misbehaving:{name}"
        chosen = implementation("additive_attention", known)
    workload = Workload("additive_attention", "small", SIZES, {"quick": (operation,)})
    asked = Contender(workload, operation, chosen, "float32", "tensorflow", "cpu", "quick").asked()
    return Entrant(key_of(asked), asked, chosen.module, "benchmarks.bench_additive_attention")


def build(each: Entrant) -> dict[str, Any]:
    """What a worker is told to build."""
    return {"asked": dict(each.asked), "module": each.module, "bench": each.bench}


def race(server: Server, names: list[str], plan: Plan = PLAN, journal: Kept | None = None) -> dict[str, Result]:
    """The results of a race by name."""
    entrants = {name: entrant(name) for name in names}
    results = Race(list(entrants.values()), lambda *_: server, plan, Kept() if journal is None else journal).run()
    return {name: results[each.key] for name, each in entrants.items()}


def descendants() -> list[psutil.Process]:
    """The server and its workers, oldest first."""
    return sorted(psutil.Process().children(recursive=True), key=lambda process: (process.create_time(), process.pid))


def state() -> tuple[set[int], list[int]]:
    """The processes under this one, and how many descriptors each of them and this one hold."""
    processes = [psutil.Process(), *descendants()]
    return {process.pid for process in processes}, [process.num_fds() for process in processes]


def test_contenders_that_misbehave_fail_alone_with_a_reason(server: Server) -> None:
    before = state()
    results = race(server, ["reference", *MISBEHAVING])
    planned = [(heat, block) for heat in range(PLAN.heats) for block in range(PLAN.blocks) for _ in range(2)]
    assert results["reference"].failure is None
    assert [(r.heat, r.block) for r in results["reference"].rounds] == planned
    said = {name: results[name].failure for name in MISBEHAVING}
    for name, (phase, reason) in MISBEHAVING.items():
        failure = said[name]
        assert failure is not None, f"{name} finished"
        assert (failure.phase, bool(re.search(reason, str(failure)))) == (phase, True), f"{name}: {failure}"
        assert failure.not_provided == (name == "incomplete")
        assert len(results[name].rounds) == (phase == "round"), f"{name} keeps the round before"
    assert state() == before, "processes or descriptors are left"


def test_contenders_that_are_slow_get_the_rounds_that_they_have_patience_for(server: Server) -> None:
    """Of real processes. Wrong variant: the others wait for them until the race is over."""
    plan = replace(PLAN, blocks=6, patience_s=10.0, plain=3.0, warm_up_s=0.1)
    results = race(server, ["reference", WITHOUT, "crawls", "dawdles"], plan)
    assert len(results["reference"].rounds) == len(results[WITHOUT].rounds) == 2 * plan.heats * plan.blocks
    crawls, dawdles = results["crawls"], results["dawdles"].failure
    assert crawls.failure is None
    assert 1 <= len(crawls.rounds) <= 2 * plan.least_blocks
    assert crawls.stopped
    assert crawls.finished[0]["memory"]["peak_bytes"]
    profiled = crawls.finished[0]["profile"]["operations"]
    assert profiled[0]["name"] == "PyFunc", "what it spends its time in is named"
    assert profiled[0]["share"] > 0.9
    assert dawdles is not None
    assert (dawdles.phase, dawdles.not_provided) == ("first_call", False)
    assert "did not come back within the 10 s that a contender may take" in str(dawdles)


def test_a_worker_killed_from_outside_keeps_its_rounds_and_the_race_goes_on(server: Server) -> None:
    class Killing(Kept):
        def write(self, entry: Mapping[str, Any]) -> None:
            self.append(entry)
            if (entry["heat"], entry.get("block")) == (1, 0):
                os.kill(descendants()[-1].pid, signal.SIGKILL)  # the youngest: the entrant that was forked last

    journal = Killing()
    results = race(server, ["reference", WITHOUT], journal=journal)
    (killed,), (other,) = ([r for r in results.values() if (r.failure is None) == ran] for ran in (False, True))
    assert "SIGKILL" in str(killed.failure)
    assert [(r.heat, r.block) for r in killed.rounds] == [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0)]
    assert len(other.rounds) == 2 * PLAN.heats * PLAN.blocks
    written = [round_ for entry in journal for round_ in entry.get("rounds", [])]
    assert sorted(seconds for _, seconds, _ in written) == sorted(
        r.seconds for each in results.values() for r in each.rounds
    )


def test_peak_memory_is_each_contenders_own_and_the_step_is_not_traced_again(server: Server) -> None:
    plan = replace(PLAN, heats=1, most_heats=1, blocks=1, least_blocks=1, round_s=0.1, warm_up_s=0.1)
    facts = {name: result.finished[0] for name, result in race(server, ["reference", "hoards"], plan).items()}
    peaks = {name: fact["memory"]["peak_bytes"] for name, fact in facts.items()}
    if peaks["reference"] is None:
        pytest.skip("this system does not tell a process's peak memory")
    assert peaks["hoards"] - peaks["reference"] >= 200_000_000  # it holds 200 MiB; their heaps differ by less than 5%
    for fact in facts.values():
        assert fact["traces"] >= 1
        assert fact["retraces"] == 0
        assert fact["loops"] > 1
        assert fact["first_call_s"] > 3 * fact["call_s"], "the first call traces and compiles"


def test_starting_a_contender_costs_less_than_a_tenth_of_the_import(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = []
    for _ in range(FORKS):
        started = time.perf_counter()
        with server.fork() as worker:
            worker.ask("hello", limit_s=60.0)
            seconds.append(time.perf_counter() - started)
    with capsys.disabled():
        print(  # noqa: T201 - a measurement, for whoever reads the log
            f"\nfrom fork request to ready worker, {FORKS} times: median {statistics.median(seconds):.3f} s, "
            f"from {min(seconds):.3f} to {max(seconds):.3f} s; importing the framework took {server.import_s:.1f} s"
        )
    assert statistics.median(seconds) < server.import_s / 10


def test_a_failure_before_the_framework_is_there_is_explained() -> None:
    server = Server(Site("no_such_backend", "cpu"))
    with pytest.raises(WorkerError, match="ModuleNotFoundError: No module named 'no_such_backend'"):
        server.fork()
    assert not server.alive
    server.close()


def test_a_killed_server_takes_its_workers_along_and_says_so(server: Server) -> None:
    with server.fork() as busy, server.fork() as idle:
        processes = [psutil.Process(worker.pid) for worker in (busy, idle)]
        busy.send("build", **build(entrant("reference")))
        psutil.Process(processes[0].ppid()).kill()
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert not alive
        for worker in (busy, idle):
            with pytest.raises(WorkerError, match="server is gone"):
                worker.ask("hello", limit_s=60.0)
    with pytest.raises(WorkerError, match="ended or hung"):
        server.fork()


CROWD = 50


def crowd() -> list[Entrant]:
    """Fifty contenders: three graphs, which TensorFlow puts aside in files when it traces them, the others Python."""
    module = "suites.selftest.detection"
    asked: dict[str, Any] = {"technique": "detection", "workload": "crowd", "implementation": "reference"}
    asked |= {"backend": "tensorflow", "precision": "float32", "device": "cpu", "scale": "quick"}
    asked |= {"parameters": {"pieces": 20, "batch": 1}}
    kinds = ["graph"] * 3 + ["python"] * (CROWD - 3)
    return [Entrant(str(i), asked | {"operation": kind, "seed": i}, module, module) for i, kind in enumerate(kinds)]


def test_fifty_contenders_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong variants: workers that are not reaped, sockets or logs that stay open, files of what a worker traced."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = state()
    server = Server(Site("tensorflow", "cpu"))
    results = Race(crowd(), lambda *_: server, replace(PLAN, heats=1, most_heats=1, blocks=1), Kept()).run()
    assert all(result.failure is None and len(result.rounds) == 2 for result in results.values())
    assert list(tmp_path.rglob("__autograph_generated_file*")), "nothing was put aside, so that nothing is shown"
    server.close()
    assert state() == before, "processes or descriptors are left"
    assert not list(tmp_path.iterdir()), "temporary files are left"


def test_a_coordinator_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    """Wrong variant: a server that waits for a message, and never for the end of its coordinator."""
    script = (
        "from benchmarks.harness.client import Server, Site\n"
        "from suites.selftest.test_harness import crowd, build\n"
        "server = Server(Site('tensorflow', 'cpu'))\n"
        "workers = [server.fork() for _ in crowd()]\n"
        "for worker, each in zip(workers[:3], crowd()):\n"
        "    worker.ask('build', 60, **build(each))\n"
        "    worker.ask('first_call', 60)\n"
        "workers[0].ask('prepare', 60, loops=10**9)\n"
        "workers[0].send('round', loops=10**9)\n"
        "print('ready', flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "ready\n"
        processes = psutil.Process(killed.pid).children(recursive=True)
        assert len(processes) >= CROWD + 1
        assert list(tmp_path.rglob("__autograph_generated_file*")), "nothing was put aside, so that nothing is shown"
        killed.kill()
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert not alive, "processes are left, busy or idle"
    assert not list(tmp_path.iterdir()), "temporary files are left"


def test_a_kill_at_any_moment_of_a_start_leaves_no_folder(tmp_path: Path) -> None:
    """Wrong variant: the folder is made here, and who removes it starts later."""
    script = (
        "import os, subprocess, sys\n"
        "from benchmarks.harness import scratch\n"
        "begin = subprocess.Popen\n"
        "def die(*arguments, **options):\n"
        "    if sys.argv[1] == 'before': os.kill(os.getpid(), 9)\n"
        "    process = begin(*arguments, **options)\n"
        "    os.kill(os.getpid(), 9)\n"
        "scratch.subprocess.Popen = die\n"
        "from benchmarks.harness.client import Server, Site\n"
        "Server(Site('tensorflow', 'cpu'))\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for moment in ("before", "after"):
        subprocess.run([sys.executable, "-c", script, moment], env=environment, check=False)
        deadline = time.monotonic() + 60
        while any(tmp_path.iterdir()):
            assert time.monotonic() < deadline, "a folder is left"
            time.sleep(0.05)


def test_a_server_that_still_imports_ends_at_once() -> None:
    """As Ctrl-C wants it. Wrong variant: it is waited for until it listens."""
    server = Server(Site("tensorflow", "cpu"))
    process = psutil.Process(server.pid)
    while process.status() != psutil.STATUS_ZOMBIE and "libtensorflow" not in str(process.memory_maps()):
        time.sleep(0.05)  # it is amidst the import
    before = time.monotonic()
    server.close()
    assert not process.is_running()
    assert time.monotonic() - before < 4  # it was waited for 5 s before
