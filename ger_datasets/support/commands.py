"""`group-emotion NAME ...`: the scripts, for who has installed the package and has no checkout of it.

    group-emotion                                               lists the scripts
    group-emotion prepare --help                                is python scripts/prepare.py --help
    accelerate launch "$(group-emotion --path train)" ...       is accelerate launch scripts/train.py ...

In a checkout, and where it is installed as editable, these are the files in `scripts`; elsewhere the copies that were
installed beside the package.
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


def scripts_folder() -> Path:
    """The folder that holds prepare.py and the others.

    Raises:
        UserError: the package was installed without them.
    """
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / "scripts" / "prepare.py").is_file():
        return checkout / "scripts"
    for file in importlib.metadata.files(DISTRIBUTION) or ():
        if file.parts[-2:] == ("scripts", "prepare.py"):
            return Path(str(file.locate())).resolve().parent
    raise UserError(f"{DISTRIBUTION} was installed without its scripts: install it again, from PyPI or a wheel")


def script(name: str) -> Path:
    """The file of the script `name`, such as `prepare`.

    Raises:
        UserError: there is none of that name; the message lists those there are.
    """
    files = {path.stem: path for path in sorted(scripts_folder().glob("*.py"))}
    if name not in files:
        raise UserError(f"unknown command {name!r}: there are {', '.join(files)}")
    return files[name]


def overview() -> str:
    """The scripts and what each of them does, a line each."""
    files = sorted(scripts_folder().glob("*.py"))
    width = max(len(file.stem) for file in files)
    lines = []
    for file in files:
        text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        lines.append(f"  {file.stem:{width}}  {text.partition(chr(10))[0]}")
    return "\n".join(["usage: group-emotion NAME [--help] ..., or --path NAME, or --version", "", *lines])


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
            file = str(script(words[0]))
            sys.argv = [file, *words[1:]]
            runpy.run_path(file, run_name="__main__")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
