"""Hooks of mkdocs (`make docs`): the generated pages of the reference, and links that lead out of docs/.

In: the dataclasses of the commands, the modules of both packages, the cards of the datasets. Out: the pages
reference/commands.md, reference/python.md with one page per folder, and one page for each Markdown file elsewhere in
the repository that a page links to. Links to modules lead to the reference; links to other files become plain text.
A public name without a docstring is a warning, which ends `make docs`.
"""

from __future__ import annotations

import ast
import importlib.util
import logging
import re
import sys
from argparse import SUPPRESS
from pathlib import Path
from posixpath import dirname, normpath, relpath
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ger_datasets", "ger_models")
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)([^)\s#]+)(#[^)\s]*)?\)")
COMMANDS, PYTHON = "reference/commands.md", "reference/python.md"
log = logging.getLogger("mkdocs.plugins.site_hooks")  # --strict counts the warnings of mkdocs's own loggers


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page of each folder of both packages below the entry `Python` of the navigation."""
    (reference,) = (entry["Reference"] for entry in config.nav if "Reference" in entry)
    (python,) = (entry for entry in reference if "Python" in entry)
    python["Python"] = [PYTHON, *({room: page_of(room)} for room in rooms())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the Markdown files outside of docs/ that pages link to."""
    for module in modules():
        for name in undocumented(ast.parse(file_of(module).read_text(encoding="utf-8")), module):
            log.warning("%s has no docstring, and so is missing from the reference", name)
    pages = {COMMANDS: commands_page(), PYTHON: python_page(), **{page_of(room): room_page(room) for room in rooms()}}
    for path in linked_outside(ROOT / "docs"):
        text = (ROOT / path).read_text(encoding="utf-8")
        pages[place_of(path)] = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    for place, content in pages.items():
        file = File.generated(config, place, content=content)
        if place.startswith("project/"):
            file.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links to files outside of docs/ to the pages that describe them."""
    uri = page.file.src_uri
    own = source_of(uri)  # links are relative to the file in the repository

    def led(match: re.Match[str]) -> str:
        text, link, anchor = match[1], match[2], match[3] or ""
        target = normpath(f"{dirname(own)}/{link}")
        if target.startswith("docs/"):
            inside = target.removeprefix("docs/")
        elif target.endswith(".md"):
            inside = place_of(target)
        elif target.startswith("scripts/"):
            inside, anchor = COMMANDS, f"#{Path(target).stem}"
        elif target.startswith(PACKAGES) and target.endswith(".py"):
            name = target.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            inside, anchor = page_of(room_of(name)), f"#{name}"
        else:
            return text
        if not inside.endswith(".md") and files.get_file_from_path(inside) is None:
            return text  # a folder
        return f"[{text}]({relpath(inside, dirname(uri) or '.')}{anchor})"

    return markdown if uri.startswith("reference/") else LINK.sub(led, markdown)


def place_of(path: str) -> str:
    """Where the site has a Markdown file that is not in docs/: `CHANGELOG.md` -> `project/CHANGELOG.md`."""
    return "project/FRONT.md" if path == "README.md" else f"project/{path.replace('/README.md', '/card.md')}"


def source_of(uri: str) -> str:
    """The file in the repository that a page is made from."""
    if not uri.startswith("project/"):
        return f"docs/{uri}"
    path = uri.removeprefix("project/").replace("FRONT.md", "README.md")
    return path if (ROOT / path).exists() else path.replace("/card.md", "/README.md")


def linked_outside(folder: Path) -> list[str]:
    """The Markdown files outside of docs/ that its pages link to, directly or through such files."""
    found: set[str] = set()
    waiting = [path.relative_to(ROOT).as_posix() for path in sorted(folder.rglob("*.md"))]
    while waiting:
        page = waiting.pop()
        for _, link, _ in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            target = normpath(f"{dirname(page)}/{link}")
            outside = target.endswith(".md") and not target.startswith("docs/") and (ROOT / target).is_file()
            if outside and target not in found:
                found.add(target)
                waiting.append(target)
    return sorted(found)


def modules() -> list[str]:
    """The dotted names of all public modules, in order."""
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            if not any(part.startswith("_") for part in name.split(".")) and text.strip():
                names.append(name)
    return sorted(names)


def room_of(module: str) -> str:
    """The folder whose page describes a module: the first one below the package, or the package."""
    package, *rest = module.split(".")
    return f"{package}.{rest[0]}" if rest and (ROOT / package / rest[0]).is_dir() else package


def rooms() -> list[str]:
    """All folders that have a page."""
    return sorted({room_of(module) for module in modules()})


def page_of(room: str) -> str:
    """The page of a folder."""
    return f"reference/{room}.md"


def file_of(module: str) -> Path:
    """The file of a module or package."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def undocumented(node: ast.Module | ast.ClassDef | ast.FunctionDef, name: str) -> list[str]:
    """The dotted names of a module, and of its public functions, classes and methods, that have no docstring."""
    found = [] if ast.get_docstring(node) else [name]
    for child in [] if isinstance(node, ast.FunctionDef) else node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef)) and not child.name.startswith("_"):
            setter = any(isinstance(each, ast.Attribute) and each.attr == "setter" for each in child.decorator_list)
            found += [] if setter else undocumented(child, f"{name}.{child.name}")  # a getter documents its setter
    return found


def summary(module: str) -> str:
    """The first paragraph of a module's docstring."""
    file = file_of(module)
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "" if file.exists() else ""
    return " ".join(text.split("\n\n")[0].split())


def python_page() -> str:
    """The table of folders."""
    rows = "".join(
        f"| [{room}]({Path(page_of(room)).name}) | {summary(room)} |\n".replace("\\", "") for room in rooms()
    )
    return f"# Python\n\n| folder | |\n|---|---|\n{rows}"


def room_page(room: str) -> str:
    """All modules of a folder, for mkdocstrings."""
    own = [module for module in modules() if room_of(module) == room]
    directives = "\n\n".join(f"::: {module}\n    options: {{show_submodules: false}}" for module in own)
    return f"# {room}\n\n{directives}\n"


def script(path: Path) -> ModuleType:
    """A script as a module, as `import` would load it."""
    spec = importlib.util.spec_from_file_location(f"site_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def cell(text: Any) -> str:
    """Text for a cell of a table."""
    return re.sub(r"([|<*_`])", r"\\\1", " ".join(str(text).split()))


def default_of(action: Any) -> str:
    """The default of an option, as a cell."""
    if action.required:
        return "required"
    if action.default in (None, False, SUPPRESS) or action.default == []:
        return ""
    value = " ".join(map(str, action.default)) if isinstance(action.default, list) else str(action.default)
    return f"`{value}`"


def commands_page() -> str:
    """Every command with its options, from the dataclass `Arguments` of its script."""
    sys.path.insert(0, str(ROOT))
    from transformers import HfArgumentParser

    text = "# Commands\n\n`group-emotion NAME ...` is equivalent to `python scripts/NAME.py ...`.\n"
    for path in sorted((ROOT / "scripts").glob("*.py")):
        module = script(path)
        first, _, rest = (module.__doc__ or "").strip().partition("\n")
        lines = re.sub(r"^(?=python |accelerate |group-emotion )", "    ", rest, flags=re.M)
        text += f"\n## {path.stem} {{ #{path.stem} }}\n\n{first}\n\n{lines}\n\n| option | default | |\n|---|---|---|\n"
        for action in HfArgumentParser(module.Arguments)._actions:
            if action.dest == "help" or action.help is SUPPRESS:
                continue
            text += f"| `{action.option_strings[0]}` | {default_of(action)} | {cell(action.help or '')} |\n"
    return text
