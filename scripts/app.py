"""Open the web app: photos in a browser, or through its HTTP API; the address is printed.

group-emotion app
group-emotion app --model starter runs/densenet_emotic --port 7861
"""

from __future__ import annotations

import ger_datasets.support.cpu_cores  # noqa: F401 - before torch

# isort: split
import logging
import os
import re
import threading
from dataclasses import dataclass, field

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError

logger = logging.getLogger(__name__)

PASSWORD = "GROUP_EMOTION_PASSWORD"
MIN_PASSWORD = 8  # characters


@dataclass
class Arguments:
    model: list[str] = field(
        default_factory=lambda: ["starter"],
        metadata={"help": "Checkpoints or Hub repositories, answered side by side. Default: starter."},
    )
    host: str = field(
        default="127.0.0.1",
        metadata={"help": "Address to listen at. 0.0.0.0 lets other machines in: then set --auth."},
    )
    port: int = field(default=7860, metadata={"help": "Port to listen at; 0: any that is free."})
    auth: str | None = field(
        default=None, metadata={"help": f"Name of the only user; the password is in the variable {PASSWORD}."}
    )
    share: bool = field(
        default=False, metadata={"help": "Refused: photos would pass through a tunnel of another company."}
    )
    device: str = field(default="auto", metadata={"help": "cpu, cuda, cuda:1, or auto: a GPU if there is one."})

    def __post_init__(self) -> None:
        if self.share:
            raise UserError(
                "--share is refused: photos would pass through a tunnel of another company; use --host with --auth "
                "in a network of your own"
            )
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port must be from 0 to 65535, not {self.port}")
        if re.fullmatch(r"auto|[a-z]+(:\d+)?", self.device) is None:
            raise UserError(f"--device must be auto, cpu, cuda or cuda:N, not {self.device!r}")
        if self.auth is not None and (not self.auth.strip() or len(os.environ.get(PASSWORD, "")) < MIN_PASSWORD):
            raise UserError(f"--auth needs a name, and a password of {MIN_PASSWORD} or more letters in {PASSWORD}")


def main(arguments: Arguments) -> None:
    from accelerate import PartialState

    from ger_datasets.support.devices import choose_device
    from ger_models.app.serving import LOOPBACK, serving

    device = choose_device(arguments.device, PartialState(cpu=True))
    login = None if arguments.auth is None else (arguments.auth, os.environ[PASSWORD])
    if arguments.host not in LOOPBACK and login is None:
        logger.warning("anyone who reaches %s can use the app: --auth asks for a password", arguments.host)
    logger.info("loading the model and the page")
    with serving(arguments.model, device, arguments.host, arguments.port, login) as url:
        logger.info("open %s in a browser; Ctrl-C stops", url)
        threading.Event().wait()


if __name__ == "__main__":
    run(main, Arguments)
