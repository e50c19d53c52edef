"""Every public name says what it is, which errors it raises and what shape its arrays have; its examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for room in ("ger_datasets", "ger_models") for path in (ROOT / room).rglob("*.py"))
ERRORS = ("UserError", "BadPhoto", "BadVideo", "ValueError", "TypeError")
ARRAY = re.compile(r"\b(np\.ndarray|torch\.Tensor)\b")
# a shape in brackets, or words that say there is none: a scalar, any shape, the same shape as what came in
SHAPE = re.compile(r"\([^()]*\)|\bscalar|\bshape|\bpixels\b|\barray", re.IGNORECASE)


class Name(NamedTuple):
    """A public function, class or method: where it is, its tree, and the docstring of the class it is in."""

    place: str
    node: ast.FunctionDef | ast.ClassDef
    around: str

    @property
    def text(self) -> str:
        return ast.get_docstring(self.node) or ""


def public_names(body: list[ast.stmt], place: str, around: str = "") -> Iterator[Name]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)
            if not setter:  # the getter tells of both
                yield Name(f"{place}.{node.name}", node, around)
            if isinstance(node, ast.ClassDef):
                own = around + (ast.get_docstring(node) or "")
                yield from public_names(node.body, f"{place}.{node.name}", own)


def names_of(source: str, place: str) -> list[Name]:
    tree = ast.parse(source)
    return list(public_names(tree.body, place, ast.get_docstring(tree) or ""))


def undocumented(names: list[Name]) -> list[str]:
    return [name.place for name in names if not name.text]


def silent_errors(names: list[Name]) -> list[str]:
    """Functions that raise an error of their own which neither they nor their class tell of."""
    found = []
    for name in names:
        if not isinstance(name.node, ast.FunctionDef):
            continue
        for node in ast.walk(name.node):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                error = node.exc.func.id
                if error in ERRORS and error not in name.text + name.around:
                    found.append(f"{name.place}: {error}")
    return found


def shapeless(names: list[Name]) -> list[str]:
    """Functions with arrays or tensors coming in or going out whose docstring tells no shape."""
    found = []
    for name in names:
        if isinstance(name.node, ast.FunctionDef):
            every = (*name.node.args.posonlyargs, *name.node.args.args, *name.node.args.kwonlyargs)
            typed = [argument.annotation for argument in every] + [name.node.returns]
            if any(ARRAY.search(ast.unparse(kind)) for kind in typed if kind) and not SHAPE.search(name.text):
                found.append(name.place)
    return found


NAMES = [name for path in FILES for name in names_of(path.read_text("utf-8"), ".".join(path.relative_to(ROOT).parts))]


def test_every_file_says_what_it_is() -> None:
    trees = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
    assert [
        str(path.relative_to(ROOT)) for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)
    ] == []


def test_every_public_name_has_a_docstring() -> None:
    assert len(NAMES) > 300
    assert undocumented(NAMES) == []


def test_every_error_that_a_public_function_raises_is_told() -> None:
    assert silent_errors(NAMES) == []


def test_every_array_has_a_shape() -> None:
    assert shapeless(NAMES) == []


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (undocumented, "def f(): pass"),
        (undocumented, 'class C:\n    """A class."""\n    def f(self): pass'),
        (silent_errors, 'def f():\n    """Do."""\n    raise UserError("no")'),
        (shapeless, 'def f(x: np.ndarray) -> int:\n    """Count."""'),
    ],
)
def test_the_checks_can_fail(check, source: str) -> None:
    assert check(names_of(source, "x"))


def examples() -> Iterator[tuple[str, str]]:
    """(module, text) of every docstring, or other text, that holds examples."""
    for path in FILES:
        source = path.read_text("utf-8")
        if ">>> " in source:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and ">>> " in node.value:
                    yield module, node.value


@pytest.mark.parametrize("module", sorted({module for module, _ in examples()}))
def test_examples(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if module.startswith("ger_models.app"):
        pytest.importorskip("gradio", reason="the extra app is not installed")
    monkeypatch.chdir(ROOT)
    names = vars(importlib.import_module(module))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for of, text in examples():
        if of == module:
            runner.run(doctest.DocTestParser().get_doctest(text, dict(names), module, None, 0))
    tried, failed = runner.tries, runner.failures
    assert tried > 0
    assert failed == 0
