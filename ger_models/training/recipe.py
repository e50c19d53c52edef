"""How a model is trained: read from the model's preset, a file, and the command line, each overriding the former."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ger_datasets.support.errors import UserError, listing

CHOICES = {
    "optimizer": ("sgd", "adamw"),
    "schedule": ("step", "cosine"),
    "loss": ("model", "cross_entropy", "distillation"),
    "sampling": ("shuffle", "balanced", "lengths"),
}
MOST_BYTES, MOST_VALUES = 1_000_000, 10_000  # of a YAML file
# field: least value, most value, whether the least is allowed itself
_LIMITS = {
    "learning_rate": (0, math.inf, False),
    "epochs": (1, math.inf, True),
    "batch_size": (1, math.inf, True),
    "step_epochs": (1, math.inf, True),
    "gradient_accumulation": (1, math.inf, True),
    "momentum": (0, 0.999, True),
    "warmup": (0, 1, True),
    "weight_decay": (0, math.inf, True),
    "max_grad_norm": (0, math.inf, True),
    "label_smoothing": (0, 0.95, True),
    "teacher_weight": (0, 1, True),
    "teacher_temperature": (0, 100, False),
    "ema": (0, 0.999999, True),
}


def _about(text: str, **default: Any) -> Any:
    return field(metadata={"help": text}, **default)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Every field is an option of train.py, and a line of a recipe file.

    Raises:
        UserError: a value that makes no sense; the message names the field, the limit and the value.
    """

    optimizer: str = _about("sgd or adamw.")
    learning_rate: float = _about("At its highest.")
    epochs: int = _about("Times that every photo is seen.")
    batch_size: int = _about("Photos per process and forward pass.")
    schedule: str = _about("step: the rate is divided by 10 every step_epochs; cosine: it falls to 0.", default="step")
    step_epochs: int = _about("Epochs between two divisions of the rate, where the schedule is step.", default=7)
    warmup: float = _about("Share of the steps in which the rate rises to its highest.", default=0.0)
    momentum: float = _about("Of sgd.", default=0.9)
    weight_decay: float = _about("Of the weights; biases and normalisation layers are left alone.", default=0.0)
    max_grad_norm: float = _about("Gradients are clipped to this norm; 0 leaves them alone.", default=0.0)
    loss: str = _about(
        "model: the model's own; cross_entropy: with smoothed labels; distillation: cross_entropy and a teacher's "
        "probabilities.",
        default="model",
    )
    label_smoothing: float = _about(
        "Share of the label that is spread over all classes; not for the loss model.", default=0.0
    )
    teacher_weight: float = _about("Share of the teacher in the loss distillation.", default=0.7)
    teacher_temperature: float = _about("Softens the probabilities in the loss distillation.", default=2.0)
    sampling: str = _about(
        "shuffle; balanced: every class alike; lengths: photos of like face counts together.", default="shuffle"
    )
    ema: float = _about("Decay of the weights' moving average, which is what is kept; 0: no average.", default=0.0)
    gradient_accumulation: int = _about("Batches per step of the optimizer.", default=1)

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")
        for name, (least, most, allowed) in _LIMITS.items():
            value = getattr(self, name)
            if not math.isfinite(value) or value > most or value < least or (value == least and not allowed):
                # "more than 0" reads better than "1 or more" and says the same of whole numbers
                bound = "more than 0" if least in (0, 1) and most == math.inf and (least or not allowed) else None
                raise UserError(f"{name} must be {bound or f'from {least} to {most}'}, not {value}")
        if self.loss == "model" and self.label_smoothing:
            raise UserError("label_smoothing is a part of the loss cross_entropy: choose that loss, or leave it at 0")


RecipeOptions = dataclasses.make_dataclass(
    "RecipeOptions",
    [
        (name, kind | None, field(default=None, metadata={"help": f"{about.metadata['help']} Default: the recipe's."}))
        for (name, kind), about in zip(typing.get_type_hints(Recipe).items(), dataclasses.fields(Recipe), strict=True)
    ],
    namespace={"__doc__": "The recipe's fields as options of a command line; None: as the recipe has it."},
    kw_only=True,
)


def modern(recipe: Recipe, learning_rate: float) -> Recipe:
    """A recipe of today for a model whose original recipe is `recipe`; it keeps its epochs and batches."""
    return Recipe(
        "adamw",
        learning_rate=learning_rate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        schedule="cosine",
        warmup=0.1,
        weight_decay=0.05,
        max_grad_norm=1.0,
        loss="cross_entropy",
        label_smoothing=0.1,
        sampling="balanced",
        ema=0.99,
    )


def effective(recipes: Mapping[str, Recipe], wanted: str | None, options: Any = None) -> Recipe:
    """The recipe that is trained with.

    Args:
        recipes: a model's own, by name; the first is the default.
        wanted: one of their names, or a YAML file that overrides fields of the first; None: the first.
        options: has the fields of `RecipeOptions`; those that are not None override the rest.

    Raises:
        UserError: no such recipe or file, a field that there is not, or a value that makes no sense.
    """
    first = next(iter(recipes.values()))
    if wanted is None:
        recipe = first
    elif wanted in recipes:
        recipe = recipes[wanted]
    elif Path(wanted).suffix.lower() in (".yaml", ".yml"):
        recipe = changed(first, read_yaml(Path(wanted)), wanted)
    else:
        raise UserError(
            f"unknown recipe {wanted!r}: this model has {listing(recipes)}, or name a file that ends in .yaml"
        )
    names = [about.name for about in dataclasses.fields(Recipe)]
    given = {name: getattr(options, name, None) for name in names}
    return changed(recipe, {name: value for name, value in given.items() if value is not None}, "the command line")


def changed(recipe: Recipe, fields: Mapping[str, Any], where: str) -> Recipe:
    """`recipe` with `fields`, of which `where` tells the user the source.

    Raises:
        UserError: a field that there is not, or a value of another kind.
    """
    kinds = typing.get_type_hints(Recipe)
    unknown = [name for name in fields if name not in kinds]
    if unknown:
        raise UserError(f"{where} has {listing(unknown)}, which no recipe has: there are {listing(kinds, 99)}")
    values = {}
    for name, value in fields.items():
        kind = kinds[name]
        try:
            values[name] = kind(value)  # YAML reads 1e-3 as text
            exact = kind is str or values[name] == float(value) or float(value) != float(value)
        except (OverflowError, TypeError, ValueError):
            exact = False
        if isinstance(value, bool) or not exact:
            raise UserError(f"{name} in {where} must be {_KINDS[kind]}, not {value!r}")
    try:
        return dataclasses.replace(recipe, **values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


_KINDS = {int: "a whole number", float: "a number", str: "a word"}


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
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply") from error
    except (yaml.YAMLError, ArithmeticError, LookupError, TypeError, ValueError) as error:  # of odd dates and numbers
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        found = type(content).__name__ if not isinstance(content, dict) else "names that are no words"
        raise UserError(f"{path} must hold NAME: VALUE lines, found {found}")
    if _written_out(content, {}) > MOST_VALUES:
        raise UserError(
            f"{path} holds itself, or aliases of aliases: write it out, with {MOST_VALUES:,} values at most"
        )
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


def to_yaml(recipe: Recipe) -> str:
    """A recipe file."""
    return yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False)
