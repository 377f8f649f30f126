"""The worker: one contender's process. It builds its step, and then runs rounds when it is told to.

Between rounds it waits on its socket and uses no processor time, so that all contenders of a race can be alive
together while one at a time is measured.
"""

import gc
import itertools
import math
import re
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.calls import LEAD_IN_INPUTS, Step
from benchmarks.harness import devices, energy
from benchmarks.harness.channel import Channel, Message
from suites.implementations import Implementation, NotProvided
from suites.subjects import Subject

NOISE = re.compile(r'\x1b\[[0-9;]*m|^\s*(File "[^"]*", line \d+.*)?\n', re.MULTILINE)
"""What hides the cause in a framework's message: colours, blank lines, and where each node of a graph was defined."""

MOST_WARM_UP_CALLS = 1000
"""A step of microseconds is warm long before the seconds of warm-up are over, and each call is a number to keep."""

SHORT_STEP_S = 0.02
"""A round of a longer step has one of them, whatever the calibration says."""

CALLS_ON_A_CORE = 4

PROFILED = 5
"""Operations of a step that are named, those first in which the most time goes."""

ROUNDS_PER_MOVE = 10
"""A counter of energy that moves less often than this within a round counts another contender's round as well."""


clock = time.perf_counter_ns
"""Taken before there is a contender that could put another in its place."""


def main(descriptor: int) -> None:
    """Serve the coordinator until it closes the channel."""
    channel = Channel(descriptor)
    contender = Worker()
    while True:
        try:
            message = channel.receive()
        except EOFError:
            return
        action = message.pop("do")
        started = time.perf_counter()
        try:
            reply: Message = getattr(contender, action)(**message)
            reply["took_s"] = time.perf_counter() - started
        except NotProvided as missing:
            reply = {"error": f"{missing}", "not_provided": True}
        except MemoryError:
            reply = {"error": "out of memory", "traceback": traceback.format_exc()}
        except BaseException as error:  # noqa: BLE001 - whatever a contender raises ends it alone, and is reported
            said = NOISE.sub("", f"{type(error).__name__}: {error}").strip()
            reply = {"error": said[:2000], "traceback": traceback.format_exc()}
        try:
            channel.send(reply)
        except BrokenPipeError:
            return


class Worker:
    """What the coordinator can ask for: ``build``, ``first_call``, ``warm_up``, ``finish``.

    Between them ``prepare`` and ``round``, often. And ``hello``, which is answered as soon as the process listens, and
    ``check`` and ``profile`` at the end. To each reply is added how long it took (``took_s``).
    """

    def __init__(self) -> None:
        self.step = Step(lambda: None)
        self._draw: int | None = None
        self._feed: Iterator[Iterable[tuple[Any, ...]]] = iter(())
        self._lead_in: list[tuple[Any, ...]] = []
        self._kept: list[tuple[int, list[float]]] = []
        self._weights: list[float] = []
        self._rested: float | None = None  # the processor time at the end of the last round
        self._busy_s = self._idle_s = 0.0

    def hello(self) -> Message:
        """Say nothing but that this process is there."""
        return {}

    def build(self, asked: dict[str, Any], module: str, bench: str) -> Message:
        """Load the implementation and build the step. Seconds are wall-clock time."""
        self.baseline_bytes = resident_bytes()
        started = time.perf_counter()
        from benchmarks import steps

        chosen = Implementation(asked["technique"], asked["implementation"], module)
        self.backend, self.device = asked["backend"], asked["device"]
        devices.prepare(self.backend, self.device, asked.get("variation", {}))
        self.synchronize = devices.synchronizer(self.backend)
        self.count_traces = devices.trace_counter(self.backend)
        self.meter = energy.meter(self.device)
        self.subject = Subject(chosen, asked["precision"], self.backend, self.device, asked["scale"])
        self.step = steps.build(asked, self.subject, bench)
        return {"build_s": time.perf_counter() - started, "items": int(asked["parameters"]["batch"])}

    def first_call(self) -> Message:
        """Run the step once: tracing, compilation, and whatever else only the first call pays.

        Raises:
            ValueError: the step's result says nothing about when its work is done.
        """
        seconds, result = self._timed(self._fresh())
        if not devices.can_be_waited_for(self.backend, result):
            raise ValueError(
                "missing synchronization: the step returns nothing that JAX could wait for, so that only the request "
                "for its work would be timed; return the arrays that it computes"
            )
        self._values(result)  # what this has compiled is not compiled again in the rounds
        return {"first_call_s": seconds}

    def warm_up(self, seconds: float, calls: int, cores: Sequence[int] = (), most_s: float = math.inf) -> Message:
        """Run at least so many calls for at least so long; the fastest of the later half calibrates the rounds.

        No more than one, where that takes longer than `most_s`: its first call has warmed it up as well.

        So do a few more on each of the given cores, where a step is short: half of a busy core is not how fast the step
        is, and a wrong number of steps in a round shows as a difference of several per cent.
        """
        started = time.perf_counter()
        times = [self._timed(self._fresh())[0]]
        while (spent := time.perf_counter() - started) < most_s and (
            len(times) < calls or (spent < seconds and len(times) < MOST_WARM_UP_CALLS)
        ):
            times.append(self._timed(self._fresh())[0])
        fastest = min(times[len(times) // 2 :])
        for core in cores if fastest < SHORT_STEP_S else ():
            devices.move_to_core(core)
            fastest = min(fastest, *(self._timed(self._fresh())[0] for _ in range(CALLS_ON_A_CORE)))
        if self.step.trains:
            from benchmarks import evidence

            self._weights = evidence.weights_of(self.step.model)
        self.traces = self.count_traces() if self.count_traces else None
        gc.collect()
        gc.freeze()  # what is alive now stays; collections between rounds have less to look at
        return {"call_s": fastest, "warm_up": times}

    def prepare(self, loops: int, lead_in: int = 0, draw: int | None = None) -> Message:
        """Make the inputs of the next round, of so many steps after so many that are not timed."""
        self._rest()
        self._draw = draw
        ready = self.step.feed(min(lead_in, LEAD_IN_INPUTS), None if draw is None else (draw, LEAD_IN_INPUTS))
        few = list(itertools.chain.from_iterable(ready)) if lead_in else []
        self._lead_in = list(itertools.islice(itertools.cycle(few), lead_in))
        feed = self.step.feed(loops, draw)
        self._feed = itertools.chain([next(feed)], feed)  # the first ones are made now, and not in the round
        return {}

    def round(self, loops: int, core: int = 0, keep: bool = False) -> Message:
        """One round, for which inputs lie ready: so many steps between two synchronizations.

        Returns seconds, and joules if counted, per step. What the last step returned is kept for `check` if asked.

        Before it come steps that are not timed: caches and clocks are as whoever ran before has left them, and a
        contender that follows itself would look faster. They begin on the given one of this process's cores.
        """
        started = time.process_time()
        devices.move_to_core(core)
        for inputs in self._lead_in:
            self.step.call(*inputs)
        before = self.meter.joules() if self.meter else 0.0
        taken, result = self._timed(self._feed)
        seconds = taken / loops
        self._busy_s += time.process_time() - started
        self._lead_in, self._feed = [], iter(())
        spent = {}
        if self.meter and seconds * loops >= ROUNDS_PER_MOVE * self.meter.resolution_s:
            spent = {"joules": (self.meter.joules() - before) / loops}
        if keep and self._draw is not None and (values := self._values(result)):
            self._kept.append((self._draw, values))
        gc.collect(0)  # between rounds, since it is off within them
        self._rested = time.process_time()
        return {"seconds": seconds} | spent

    def _values(self, result: Any) -> list[float]:
        """What is kept of a result; nothing of a training step's, which hangs on how many came before."""
        if self.step.inputs is None or self.step.trains:
            return []
        from benchmarks import evidence

        return evidence.values(result)

    def _rest(self) -> None:
        """Count what the processor has done since the last round, when this process had nothing to do."""
        if self._rested is not None:
            self._idle_s += time.process_time() - self._rested
            self._rested = None

    def finish(self) -> Message:
        """Peak memory of this process, and what was traced or compiled before and during the rounds."""
        memory = {
            "baseline_bytes": self.baseline_bytes,
            "peak_bytes": peak_bytes(),
            "device_peak_bytes": devices.device_peak_bytes(self.backend, self.device),
        }
        again = None if self.count_traces is None or self.traces is None else self.count_traces() - self.traces
        return {"memory": memory, "traces": self.traces, "retraces": again}

    def check(self) -> Message:
        """What shows that the work of the rounds was done, see `benchmarks.evidence`; of this step, or why not."""
        self._rest()
        from benchmarks import evidence

        # Who makes its own data may make it in advance; who gets its inputs with the call has nothing to do before.
        shown: Message = {"busy_s": self._busy_s, "idle_s": self._idle_s} if self.step.inputs else {}
        try:
            return shown | evidence.of_step(self.step, self._kept, self._weights)
        except Exception as error:  # noqa: BLE001 - a step that the rounds could call was timed, whatever it does here
            return shown | {"unknown": f"{type(error).__name__}: {error}"[:500]}

    def profile(self) -> Message:
        """The operations that one more step, which is not timed, consists of; nothing where the backend has no trace.

        Its place is after `finish`: a trace takes memory.
        """
        if self.backend != "tensorflow":
            return {}
        from reference import monitoring

        ((inputs,),) = self._fresh()
        found = monitoring.profile(lambda: self.step.call(*inputs), steps=1)
        total = sum(row.own for row in found.rows)
        rows = [row for row in found.rows[:PROFILED] if total > 0]
        # A trace does not tell dtypes; what takes the time of a step is computed in that of its policy.
        facts = {"dtype": self.subject.compute_dtype}
        return {"profile": {"operations": [{"name": row.operation, "share": row.own / total} | facts for row in rows]}}

    def _fresh(self) -> Iterator[Iterable[tuple[Any, ...]]]:
        """Inputs of one call."""
        return self.step.feed(1, draw=None)

    def _timed(self, feed: Iterator[Iterable[tuple[Any, ...]]]) -> tuple[float, Any]:
        """Seconds of a step for each of the inputs, and the last one's result.

        The device is idle on both sides of the clock, and the collector off.
        """
        call, synchronize, taken, result = self.step.call, self.synchronize, 0, None
        for group in feed:
            gc.disable()
            try:
                synchronize(None)
                started = clock()
                for inputs in group:
                    result = call(*inputs)
                synchronize(result)
                taken += clock() - started
            finally:
                gc.enable()
        return taken * 1e-9, result


def resident_bytes() -> int | None:
    """Resident memory of this process now, or ``None`` where the system does not tell."""
    return _status_bytes("VmRSS")


def peak_bytes() -> int | None:
    """The high-water mark of this process's resident memory, or ``None`` where the system does not tell."""
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int | None:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None
