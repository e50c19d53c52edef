"""The console command: `group-emotion PHOTO_OR_FOLDER ...` answers photos, `group-emotion NAME ...` runs a script.

    group-emotion party.jpg team/                               is python scripts/answer.py party.jpg team/
    group-emotion                                               lists the scripts
    group-emotion prepare --help                                is python scripts/prepare.py --help
    accelerate launch "$(group-emotion --path train)" ...       is accelerate launch scripts/train.py ...

A script's name takes precedence over a file or folder of the same name: `./predict` is the folder.

In a checkout or an editable install, these are the files in `scripts`; a wheel installs them as the package
`group_emotion_scripts`.
"""

from __future__ import annotations

import ast
import importlib.metadata
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError

DISTRIBUTION = "group-emotion"
INSTALLED = "group_emotion_scripts"  # setup.py
ANSWER = "answer"  # the script that answers photos
ADDRESSES = ("http://", "https://")
USAGE = """usage: group-emotion PHOTO_OR_FOLDER ... [--help]    answers photos, as the command answer does
       group-emotion COMMAND ... [--help]
       group-emotion --path COMMAND | --version
"""


def scripts() -> dict[str, Path]:
    """The file of each script by its name, such as `prepare`."""
    beside = Path(__file__).resolve().parents[2]
    folder = beside / INSTALLED if (beside / INSTALLED).is_dir() else beside / "scripts"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def script(name: str) -> Path:
    """The file of the script `name`, such as `prepare`.

    Raises:
        UserError: there is none of that name; the message lists those there are.
    """
    files = scripts()
    if name not in files:
        raise UserError(f"unknown command {name!r}: there are {', '.join(files)}")
    return files[name]


def overview() -> str:
    """The scripts and what each of them does, a line each."""
    files = scripts()
    width = max(map(len, files))
    lines = []
    for name, file in files.items():
        text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        lines.append(f"  {name:{width}}  {text.partition(chr(10))[0]}")
    return "\n".join([USAGE, *lines])


def command(words: Sequence[str]) -> list[str]:
    """The file of the script that `words` are for, and its arguments.

    Raises:
        UserError: they name neither a script nor a photo or folder.
    """
    files = scripts()
    if words[0] in files:
        return [str(files[words[0]]), *words[1:]]
    options = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    named = words[:options]
    if any(word.startswith(ADDRESSES) or Path(word).exists() for word in named):
        return [str(script(ANSWER)), *words]
    if not named:
        raise UserError(f"{words[0]} comes first: name photos and folders first, or a command of {', '.join(files)}")
    raise UserError(
        f"{words[0]!r} is neither an existing photo or folder nor a command: the commands are {', '.join(files)}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run a script as `python scripts/NAME.py` would, or answer from `argv` (default: the command line)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(overview())
        elif words[0] == "--version":
            print(importlib.metadata.version(DISTRIBUTION))
        elif words[0] == "--path":
            print(script(" ".join(words[1:])))
        else:
            sys.argv = command(words)
            runpy.run_path(sys.argv[0], run_name="__main__")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
