"""An invented ``pynvml``, since no GPU is here: what it answers is made up, what it is called is NVML's own.

Where nvidia-ml-py is installed, a test checks that every name in it exists there too.
"""

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest


class NVMLError(Exception):
    """What NVML raises, also for what a device does not support."""


CONSTANTS = {"NVML_CLOCK_SM": 1, "NVML_TEMPERATURE_GPU": 0, "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN": 1}


@dataclass
class InventedGpu:
    """One GPU's answers, by the query's name after ``nvmlDeviceGet``; a query without an answer is not supported."""

    answers: dict[str, Any] = field(
        default_factory=lambda: {
            "PersistenceMode": 1,
            "ClockInfo": 1410,
            "MaxClockInfo": 1980,
            "Temperature": 41,
            "TemperatureThreshold": 92,
            "CurrentClocksEventReasons": 0x1,  # idle
            "ComputeRunningProcesses": [],
            "GraphicsRunningProcesses": [],
            "TotalEnergyConsumption": 1_000_000,
        }
    )

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "InventedGpu":
        """Let this be the only GPU of the machine, for the time of a test."""
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setitem(sys.modules, "pynvml", self.library())
        return self

    def processes(self, *pids: int) -> "InventedGpu":
        """Let these processes compute on the GPU."""
        self.answers["ComputeRunningProcesses"] = [SimpleNamespace(pid=pid) for pid in pids]
        return self

    def library(self) -> Any:
        """The module."""
        queries = {f"nvmlDeviceGet{name}": self._query(name) for name in [*self.answers, *OLDER]}
        return SimpleNamespace(
            NVMLError=NVMLError,
            nvmlInit=lambda: None,
            nvmlDeviceGetHandleByIndex=self._handle,
            nvmlDeviceGetHandleByUUID=self._handle,
            **CONSTANTS,
            **queries,
        )

    def _handle(self, which: int | str) -> str:
        if which not in (0, "GPU-7f1"):
            raise NVMLError("Not Found")
        return "handle"

    def _query(self, name: str) -> Any:
        def answer(handle: str, *_: int) -> Any:
            assert handle == "handle"
            if name not in self.answers:
                raise NVMLError("Not Supported")
            return self.answers[name]

        return answer


OLDER = ("CurrentClocksThrottleReasons",)
