"""NVIDIA's management library: what the driver tells of the GPU on which a contender computes.

``pynvml`` (the package nvidia-ml-py) is optional and imported late; without it, or without a driver, there is nothing
to ask, and what cannot be asked is not measurable here.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

SLOWED_BY = {
    0x04: "its power limit",
    0x08: "a hardware slowdown",
    0x10: "the clock of another GPU (sync boost)",
    0x20: "its temperature (driver)",
    0x40: "its temperature (hardware)",
    0x80: "the power supply's brake",
}
"""Bits of NVML's clocks-event reasons that mean slower than wanted; idling or a clock that was set is not."""


@dataclass(frozen=True)
class Gpu:
    """The first GPU that is visible to the frameworks, which is where they compute unless told otherwise."""

    library: Any
    handle: Any

    @classmethod
    def first(cls) -> Self | None:
        """The GPU, or ``None`` where there is no library, no driver, or none is visible."""
        try:
            import pynvml
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
            if visible.removeprefix("-").isdecimal():
                handle = pynvml.nvmlDeviceGetHandleByIndex(int(visible)) if int(visible) >= 0 else None
            else:
                handle = pynvml.nvmlDeviceGetHandleByUUID(visible) if visible else None
        except pynvml.NVMLError:
            return None
        return None if handle is None else cls(pynvml, handle)

    def ask(self, query: str, *arguments: Any) -> Any:
        """The answer to ``nvmlDeviceGet<query>``, or ``None`` where the device, driver or library cannot tell."""
        function = getattr(self.library, f"nvmlDeviceGet{query}", None)
        try:
            return None if function is None else function(self.handle, *arguments)
        except self.library.NVMLError:
            return None

    def clock_mhz(self) -> int | None:
        """The clock of the multiprocessors now."""
        found: int | None = self.ask("ClockInfo", self.library.NVML_CLOCK_SM)
        return found

    def temperature_c(self) -> int | None:
        """The temperature of the chip now."""
        found: int | None = self.ask("Temperature", self.library.NVML_TEMPERATURE_GPU)
        return found

    def slowed_by(self) -> int | None:
        """The bits of `SLOWED_BY` that hold now."""
        reasons = self.ask("CurrentClocksEventReasons")
        if reasons is None:  # drivers before 535 know the older name only
            reasons = self.ask("CurrentClocksThrottleReasons")
        return None if reasons is None else reasons & sum(SLOWED_BY)

    def processes(self) -> set[int] | None:
        """The processes on the GPU, numbered as the driver sees them: in a container that may be the host's way."""
        lists = [self.ask(f"{kind}RunningProcesses") for kind in ("Compute", "Graphics")]
        known = [each for each in lists if each is not None]
        return {process.pid for each in known for process in each} if known else None


def reasons(bits: float) -> Iterable[str]:
    """The words for the bits of `SLOWED_BY`."""
    return (words for bit, words in SLOWED_BY.items() if int(bits) & bit)
