"""A headless Chromium, driven over its debugging pipe with the standard library alone: what the report looks like.

``python -m suites.selftest.chromium PAGE PICTURE [WIDTH] [light|dark] [HEIGHT] [#anchor]`` takes a picture of a page.
"""

import base64
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync", "--disable-extensions", "--remote-debugging-pipe"),
)
PATIENCE_S = 60.0


def find() -> str | None:
    """The path of a Chromium or Chrome on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Chromium:
    """One page in a headless browser; a context manager.

    Attributes:
        requests: every address that was asked for since the page was opened, ``data:`` left out.
        complaints: every console error or warning, uncaught exception and log entry of these levels.
    """

    path: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        # Chromium reads commands on descriptor 3 and answers on 4, which may be among the ends: out of the way first.
        ends = [(read_commands, 200), (write_answers, 201), (200, 3), (201, 4)]
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ends]
        actions += [(os.POSIX_SPAWN_OPEN, output, os.devnull, os.O_WRONLY, 0) for output in (1, 2)]
        command = [self.path, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = os.posix_spawn(self.path, command, os.environ, file_actions=actions)
        os.close(read_commands)
        os.close(write_answers)
        self._buffer, self._number, self._session = b"", 0, None
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._commands)
        os.close(self._answers)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            message = self._message()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            self._note(message)
        raise TimeoutError(method)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(text))

    def _note(self, message: Mapping[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                if not parameters["request"]["url"].startswith("data:"):
                    self.requests.append(parameters["request"]["url"])
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(parameters["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters["exceptionDetails"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.complaints.append(parameters["entry"]["text"])

    def open(self, page: Path, width: int = 1280, height: int = 900, scheme: str = "light", anchor: str = "") -> None:
        """Open a file at a window's size in CSS pixels and a colour scheme, and wait until it has loaded."""
        self.requests.clear()
        self.complaints.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=page.resolve().as_uri() + anchor)
        deadline = time.monotonic() + PATIENCE_S
        while (
            self.evaluate("location.protocol + document.readyState") != "file:complete" and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        time.sleep(0.3)  # whatever a page asks for late

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key that writes nothing but a line break."""
        code = {"Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text="\r")

    def picture(self, path: Path, whole: bool = False) -> None:
        """Save a PNG of what the window shows, or of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


if __name__ == "__main__":
    page, picture, width, scheme, height, anchor = (*sys.argv[1:], *("1280", "light", "900", "")[len(sys.argv) - 3 :])
    executable = find()
    if executable is None:
        sys.exit(f"no Chromium here; looked for {', '.join(NAMES)}")
    with Chromium(executable) as browser:
        browser.open(Path(page), int(width), int(height), scheme, anchor)
        browser.picture(Path(picture))
        sys.stdout.writelines(f"{line}\n" for line in [*browser.complaints, *browser.requests])
