"""HTML pages: one file each, styles inline, nothing fetched, light and dark.

Pages are Jinja2 templates that extend `templates/page.html`, and all they show is escaped unless it is `Markup`.
A page may have one script of its own: the browser is given its hash and runs nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

__all__ = ["Markup", "escape", "photos", "render"]

TEMPLATES = Path(__file__).with_name("templates")


def render(template: Path, **values: Any) -> str:
    """The page that `template`, a file that extends `page.html`, makes of `values`.

    Args:
        template: the file; it can include the files beside it and those of `TEMPLATES`.
        values: what the template names. `script`, JavaScript that runs when the page is loaded, and `marker`, a
            comment near the top by which a program recognises its own pages, are read by `page.html`.
    """
    loader = FileSystemLoader([template.parent, TEMPLATES])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(photos=photos, sha256=_sha256)
    return environment.get_template(template.name).render({"script": "", "marker": "", **values}) + "\n"


def photos(count: int) -> str:
    """A number of photos in words.

    >>> photos(1200)
    '1,200 photos'
    """
    return f"{count:,} photo" + ("" if count == 1 else "s")


def _sha256(script: str) -> str:
    """The script's hash as a Content-Security-Policy writes it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
