"""YAML files -> mappings, within bounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, one_line

MOST_BYTES, MOST_VALUES = 1_000_000, 10_000  # of a file


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are read")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply") from error
    except (yaml.YAMLError, ArithmeticError, LookupError, TypeError, ValueError) as error:  # of odd dates and numbers
        raise UserError(f"{path} is not valid YAML: {one_line(error)}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        found = (
            type(content).__name__
            if not isinstance(content, dict)
            else "a name that YAML does not read as text (on, off, yes, no and numbers need quotes)"
        )
        raise UserError(f"{path} must hold NAME: VALUE lines, found {found}")
    if _written_out(content, {}) > MOST_VALUES:
        raise UserError(f"{path} expands to more than {MOST_VALUES:,} values: write it without nested aliases")
    return content


def _written_out(value: Any, known: dict[int, float]) -> float:
    """How many values `value` is where aliases are written out; infinite where it holds itself."""
    if not isinstance(value, (dict, list, set, tuple)):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_written_out(each, known) for each in inner)
    return known[id(value)]
