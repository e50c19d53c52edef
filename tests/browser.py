"""Headless Chromium over its pipe: open a page, look at it, ask it questions. Nothing but the standard library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 60  # that an answer may take


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in a new browser. `errors` gets what goes wrong on it: exceptions, console errors, refused loads."""

    def __init__(self, program: str) -> None:
        self.profile = tempfile.mkdtemp(prefix="browser_")
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        commands, answers = (fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out))

        def wire() -> None:  # where --remote-debugging-pipe looks: commands at 3, answers at 4
            os.dup2(commands, 3)
            os.dup2(answers, 4)

        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self.profile}"],
            preexec_fn=wire, close_fds=False, start_new_session=True, **quiet,
        )  # fmt: skip
        for fd in (theirs_in, theirs_out, commands, answers):
            os.close(fd)
        os.set_blocking(ours_in, False)
        self.reading, self.writing, self.pending, self.count = ours_in, ours_out, b"", 0
        self.errors: list[str] = []
        self.loaded = False
        self.session = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.reading)
        os.close(self.writing)
        shutil.rmtree(self.profile, ignore_errors=True)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer."""
        self.count += 1
        command = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.writing, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            message = self._message()
            if message is None:
                time.sleep(0.005)
            elif message.get("id") == self.count:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
        raise TimeoutError(f"{method} had no answer within {SECONDS} seconds")

    def _message(self) -> dict[str, Any] | None:
        while b"\0" not in self.pending:
            try:
                chunk = os.read(self.reading, 2**20)
            except BlockingIOError:
                return None
            if not chunk:
                raise RuntimeError("the browser has ended")
            self.pending += chunk
        first, _, self.pending = self.pending.partition(b"\0")
        message = json.loads(first)
        told = message.get("params", {})
        if message.get("method") == "Page.loadEventFired":
            self.loaded = True
        elif message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(told["exceptionDetails"]["text"])
        elif message.get("method") == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])
        elif message.get("method") == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert", "warning"):
            self.errors.append(str(told["args"]))
        return message

    def open(self, page: Path, width: int = 1100, height: int = 900, dark: bool = False, scripts: bool = True) -> None:
        self.loaded = False
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + SECONDS
        while not self.loaded and time.monotonic() < end:
            if self._message() is None:
                time.sleep(0.005)
        assert self.loaded, "the page did not load"

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives on the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """A PNG of the whole page."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])
