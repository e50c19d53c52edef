"""The frame of a page that a person opens: one file, styles inline, nothing fetched, light and dark.

A page may have one script of our own: its hash is what the browser is told to run, and nothing else is.

What comes from the data goes through `text` before it is put into a page.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --ink: #1b1f24; --quiet: #57606a; --line: #dde2e7;
  --blue: #0072b2; --track: #e8ecf0; --warn: #fff1cc; --warn-line: #d99a00; --warn-ink: #4a3500; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1216; --card: #181c21; --ink: #e8ebee; --quiet: #9aa5b1;
  --line: #2d333b; --blue: #56b4e9; --track: #2a3038; --warn: #3a2d08; --warn-line: #d99a00;
  --warn-ink: #ffe3a1; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 820px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 4px; }
p { margin: 0; } .quiet { color: var(--quiet); font-size: .9rem; }
header p, h2 + p { margin-bottom: 12px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px;
  margin-top: 14px; }
.note { background: var(--warn); color: var(--warn-ink); border: 1px solid var(--warn-line); border-left-width: 6px;
  border-radius: 10px; padding: 12px 16px; margin-bottom: 20px; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 14px; }
.tiles div { border-top: 1px solid var(--line); padding-top: 8px; }
.tiles b { display: block; font-size: 1.35rem; line-height: 1.3; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } thead th { color: var(--quiet); font-weight: 500; font-size: .85rem; }
tbody tr:last-child > * { border-bottom: 0; }
.name { text-align: left; } .name:first-child { overflow-wrap: anywhere; min-width: 5em; }
td small { display: block; color: var(--quiet); white-space: nowrap; }
footer { margin-top: 18px; } footer p { margin-bottom: 8px; }
@media (max-width: 560px) { section { padding: 14px; } th, td { padding: 6px 3px; }
  .stack thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stack, .stack tbody { display: block; }
  .stack tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 12px; padding: 9px 0;
    border-bottom: 1px solid var(--line); }
  .stack tr:last-child { border-bottom: 0; } .stack td { border: 0; padding: 0; }
  .stack td:first-child { grid-column: 1 / -1; } .stack td:not(:first-child) { text-align: left; font-size: .9rem; }
  .stack td:not(:first-child)::before { content: attr(data-name) " "; color: var(--quiet); } }
"""


def whole_page(title: str, parts: Iterable[str], style: str = "", marker: str = "", script: str = "") -> str:
    """The page.

    Args:
        title: plain text, for the window.
        parts: HTML.
        style: CSS of this page's own, after the common one.
        marker: a comment near the top, by which a program knows its own pages.
        script: JavaScript that runs when the page is there; the page must be readable without it.
    """
    allowed = "style-src 'unsafe-inline'; img-src data:"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        allowed += f"; script-src 'sha256-{digest}'"
    code = f"<script>{script}</script>\n" if script else ""
    comment = f"<!-- {marker} -->\n" if marker else ""
    return f"""<!doctype html>
{comment}<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {allowed}">
<title>{text(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<main>
{"".join(parts)}</main>
{code}</body>
</html>
"""


def note(about: str) -> str:
    """A banner with the plain text `about`; nothing if that is empty."""
    return f'<div class="note" role="note"><strong>Note:</strong> {text(about)}</div>\n' if about else ""


def tiles(shown: Iterable[tuple[str, str, str]]) -> str:
    """Figures side by side: what, how much, and a line below, all HTML."""
    cells = "".join(
        f'<div><span class="quiet">{name}</span><b>{value}</b><span class="quiet">{under}</span></div>\n'
        for name, value, under in shown
    )
    return f'<div class="tiles">\n{cells}</div>\n'


def section(title: str, about: str, body: str) -> str:
    """A card with a heading and a quiet line below it, all HTML."""
    about = f'<p class="quiet">{about}</p>\n' if about else ""
    return f"<section>\n<h2>{title}</h2>\n{about}{body}</section>\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1, kind: str = "") -> str:
    """A table whose first `names` columns are text and the rest numbers. Cells are HTML already."""

    def mark(index: int) -> str:
        return ' class="name"' if index < names else ""

    head = "".join(f'<th scope="col"{mark(index)}>{name}</th>' for index, name in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f'<td{mark(at)} data-name="{heads[at]}">{cell}</td>' for at, cell in enumerate(row))
        + "</tr>\n"
        for row in rows
    )
    return f"""<div class="wide"><table class="{kind}">
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody></table></div>
"""


def text(value: str) -> str:
    """Plain text as HTML."""
    return html.escape(value, quote=True)


def photos(count: int) -> str:
    """`1 photo`, `1,200 photos`."""
    return f"{count:,} photo" + ("" if count == 1 else "s")
