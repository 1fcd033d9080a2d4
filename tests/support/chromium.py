"""Drives a headless Chromium over its debugging pipe, for the tests of HTML pages.

Standard library only. Commands are those of the DevTools protocol.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--no-first-run", "--disable-dev-shm-usage", "--disable-extensions", "--mute-audio",
    "--remote-debugging-pipe",
)  # fmt: skip


def find_chromium() -> str | None:
    """The Chromium or Chrome on the path, None without one."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        result = shutil.which(name)
        if result is not None:
            return result
    return None


class Chromium:
    """One browser with one page; a context manager."""

    def __init__(self, executable: str, width: int = 1400, height: int = 900) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_theirs, self._write = os.pipe()
        self._read, write_theirs = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4. A shell cannot move
        # them there: of its descriptors dash knows 0 to 9 alone.
        move = (
            "import os, sys\n"
            "pair = [os.dup(int(number)) for number in sys.argv[1:3]]\n"
            "while min(pair) < 5: pair = [os.dup(number) for number in pair]\n"
            "os.dup2(pair[0], 3), os.dup2(pair[1], 4)\n"
            "os.execv(sys.argv[3], sys.argv[3:])\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", move, str(read_theirs), str(write_theirs), executable, *_FLAGS,
             f"--window-size={width},{height}",
             f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(read_theirs, write_theirs), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read_theirs)
        os.close(write_theirs)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _message(self, timeout: float = 60.0) -> dict[str, Any]:
        until = time.monotonic() + timeout
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError("the browser is gone")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a page and wait until its script has set `data-ready`."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        for _ in range(600):
            if self.value("document.documentElement?.dataset.ready === 'true'"):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{path.name}: the page's script did not end")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press one key, as a person would."""
        text = key if len(key) == 1 else ""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """What the browser complained of so far: errors, refused content, failed scripts."""
        result = []
        for event in self.events:
            if (
                event["method"] == "Log.entryAdded"
                and event["params"]["entry"]["level"] != "verbose"
            ):
                result.append(event["params"]["entry"]["text"])
            if event["method"] == "Runtime.exceptionThrown":
                result.append(json.dumps(event["params"]["exceptionDetails"]))
        return result

    def requested(self) -> list[str]:
        """The addresses that were asked for, blank pages left out."""
        addresses = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in addresses if address != "about:blank"]
