"""What every script does around its work: parse one dataclass, log to stderr, end in one line of JSON.

The last line of stdout is one JSON object with the run's figures. Exit codes: 0 success; 2 a user error, explained in
one line on stderr; 130 interrupted (Ctrl-C); 141 stdout was closed; 143 terminated (SIGTERM); 1 anything else, with
a traceback, because that is a bug.

Scripts import this module before `ger_models`: it defers the registration of the models (`support.register_models`).
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from .. import support
from .errors import UserError, escaped

support.register_models = False

Arguments = TypeVar("Arguments")

NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)  # argparse itself takes -1e-3 for an option


class Escaping(logging.Formatter):
    """Escapes control characters, which file names may contain, so that they cannot act on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's text, each of its lines escaped."""
        return "\n".join(map(escaped, super().format(record).split("\n")))


def unknown_words(words: Sequence[str], options: Sequence[str], first: str | None) -> str:
    """What to say of words of a command line that no option takes.

    >>> unknown_words(["--outputdir", "a"], ["--output_dir", "--csv"], None)
    'unknown option --outputdir: did you mean --output_dir? --help lists the options'
    """
    unknown = next((word for word in words if word.startswith("-")), None)
    if unknown is None:
        place = f"{first} stand before the options" if first else "every value follows its option"
        return f"unexpected {escaped(' '.join(words))}: {place}; --help lists the options"
    near = difflib.get_close_matches(unknown, options, n=1)
    return f"unknown option {escaped(unknown)}: {f'did you mean {near[0]}? ' if near else ''}--help lists the options"


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Lists options with their defaults, where these say more than that the option may be left out."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        unset = action.default in (None, False, [], argparse.SUPPRESS) or "Default:" in (action.help or "")
        return action.help if unset else super()._get_help_string(action)


def _describe_first(parser: argparse.ArgumentParser, first: str) -> None:
    """Show the option `first` in `--help` as the words before the options, which is how it is given."""
    (action,) = (action for action in parser._actions if action.dest == first)
    parser.usage = f"%(prog)s {first.upper()} ... [options]"
    described = parser.add_argument_group("what to work on")
    described.description = f"{first.upper()} ...  {action.help}"
    action.help = argparse.SUPPRESS


def _parsed(parser: Any, argv: list[str], first: str | None, options_file: str | None) -> Any:
    """The dataclass; UserError if words are left that no option takes."""
    if options_file is not None:
        argv = with_file_options(argv, options_file)
    parsed, *rest = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True)
    if rest and rest[0]:
        options = [option for action in parser._actions for option in action.option_strings]
        raise UserError(unknown_words(rest[0], options, first))
    return parsed


def with_file_options(argv: Sequence[str], option: str) -> list[str]:
    """A command line, before it the options in the YAML file that `--OPTION FILE` names: the last of each counts.

    Raises:
        UserError: the file cannot be read, or a line of it is neither text, a number, true, false nor a list of them.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(f"--{option}", type=Path)
    try:
        known, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    path = getattr(known, option)
    if path is None:
        return list(argv)
    from .yaml_files import read_yaml

    words: list[str] = []
    for name, value in read_yaml(path).items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, (str, int, float)) for each in values):
            raise UserError(f"{name} in {path} must be text, a number, true, false or a list of them")
        words += [f"--{name}", *map(str, values)]
    return words + rest


def run(
    main: Callable[[Arguments], dict[str, Any] | None],
    arguments: type[Arguments],
    argv: list[str] | None = None,
) -> NoReturn:
    """Parse `argv` (default: the command line) into the dataclass `arguments`, call `main`, print its figures, exit.

    `main` returns the figures, or None in a process that has nothing to report (all but the main process). The class
    attribute `first` of `arguments` names the option that leading words without dashes belong to, `options_file` the
    one that names a YAML file of options. With `at_once`, there is nothing to clean up, so Ctrl-C and SIGTERM end the
    process without waiting for its threads.
    """
    argv = sys.argv[1:] if argv is None else argv
    first = getattr(arguments, "first", None)
    if first is not None and argv and not argv[0].startswith("-"):
        argv = [f"--{first}", *argv]
    from transformers import HfArgumentParser

    from .hub_connection import bound_waiting

    class Parser(HfArgumentParser):
        def error(self, message: str) -> None:
            self.exit(2, f"error: {escaped(message)} (--help lists the options)\n")

    bound_waiting()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    (handler,) = logging.getLogger().handlers
    handler.setFormatter(Escaping("%(message)s"))
    for chatty in ("httpx", "httpx2", "datasets", "fsspec", "matplotlib", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each of its many retries
    description = (sys.modules[main.__module__].__doc__ or "").strip()
    parser = Parser(arguments, description=description.split("\n")[0], formatter_class=HelpFormatter)
    parser._negative_number_matcher = NEGATIVE
    if first is not None:
        _describe_first(parser, first)
    process, before, interrupted = os.getpid(), {}, False
    at_once = getattr(arguments, "at_once", False)

    def end(number: int, frame: FrameType | None) -> None:
        """Unwind, so that unfinished files are removed; a forked worker has none."""
        if os.getpid() != process:
            os._exit(128 + number)
        if at_once:
            os.write(2, b"\ninterrupted\n")
            os._exit(128 + number)
        raise SystemExit(128 + number)

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Remember it: other libraries' callbacks, in which Python may be at this moment, lose the exception."""
        nonlocal interrupted
        if os.getpid() != process:
            os._exit(128 + number)
        interrupted = True
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, end)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell's background jobs have it
            before[signal.SIGINT] = signal.signal(signal.SIGINT, end if at_once else interrupt)
    try:
        figures = main(_parsed(parser, argv, first, getattr(arguments, "options_file", None)))
        if interrupted:
            raise KeyboardInterrupt
        if figures is not None:
            print(json.dumps(figures), flush=True)
    except BrokenPipeError:  # whoever read stdout has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # 128 + SIGPIPE, which Windows does not have
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
        logging.getLogger().removeHandler(handler)  # a thread may log later, when the stream is closed
    sys.exit(0)
