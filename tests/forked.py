"""A call in a forked child: a process of its own, without an interpreter that imports everything anew."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Forked:
    """A child under way: its process id, and the files that its stdout and stderr go to."""

    pid: int
    out: Any
    log: Any

    def wait(self, seconds: float = 120) -> tuple[int, str, str]:
        """Exit code (negative: the signal that ended it), stdout and stderr; after `seconds` it is killed."""
        end, done, status = time.monotonic() + seconds, 0, 0
        while not done:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if not done and time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        return os.waitstatus_to_exitcode(status), *self.printed()

    def printed(self) -> tuple[str, str]:
        """Stdout and stderr of the ended child; once."""
        told = []
        for file in (self.out, self.log):
            file.seek(0)
            told.append(file.read().decode(errors="replace"))
            file.close()
        return told[0], told[1]


def forked(call: Callable[..., object], *arguments: object, **environment: str) -> Forked:
    """Start `call(*arguments)` in a child with these variables; it ends as a script: 0, a SystemExit's code, or 1."""
    out, log = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - `printed` closes them
    pid = os.fork()
    if pid:
        return Forked(pid, out, log)
    code = 1
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.update(environment)
        call(*arguments)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - shown to who asked
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
