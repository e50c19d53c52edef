"""Training recipes. Values come from the preset, a file and the command line; later ones override earlier ones."""

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
from ger_datasets.support.yaml_files import read_yaml

from .loading.sampling_orders import ORDERS
from .losses import LOSSES
from .optimization import OPTIMIZERS, SCHEDULES

# field: the table that holds its values
TABLES: dict[str, Mapping[str, Any]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "sampling": ORDERS,
}
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
    "layer_decay": (0, 1, False),
}


def about(text: str, **default: Any) -> Any:
    """A field of a dataclass of options, with its help text."""
    return field(metadata={"help": text}, **default)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Every field is an option of train.py, and a line of a recipe file.

    Raises:
        UserError: an invalid value; the message names the field, the limit and the value.
    """

    optimizer: str = about(f"One of {', '.join(OPTIMIZERS)}.")
    learning_rate: float = about("Highest learning rate.")
    epochs: int = about("Number of epochs.")
    batch_size: int = about("Photos per process and forward pass.")
    schedule: str = about(
        f"One of {', '.join(SCHEDULES)}. step divides the rate by 10 every step_epochs; cosine lowers it to 0.",
        default="step",
    )
    step_epochs: int = about("Epochs between two divisions of the learning rate, for the schedule step.", default=7)
    warmup: float = about("Share of the steps in which the learning rate rises to its highest.", default=0.0)
    momentum: float = about("SGD momentum.", default=0.9)
    weight_decay: float = about("Weight decay; biases and normalisation layers are exempt.", default=0.0)
    max_grad_norm: float = about("Gradients are clipped to this norm; 0: no clipping.", default=0.0)
    loss: str = about(
        f"One of {', '.join(LOSSES)}. model is the model's own; distillation combines cross_entropy with a teacher's "
        "probabilities.",
        default="model",
    )
    label_smoothing: float = about("Label smoothing, for the losses cross_entropy and distillation.", default=0.0)
    teacher_weight: float = about("Weight of the teacher in the loss distillation.", default=0.7)
    teacher_temperature: float = about("Softmax temperature in the loss distillation.", default=2.0)
    sampling: str = about(
        f"One of {', '.join(ORDERS)}. balanced draws every class equally often; lengths gives every batch about as "
        "many faces.",
        default="shuffle",
    )
    ema: float = about("Decay of the moving average of the weights, which is saved; 0: no average.", default=0.0)
    gradient_accumulation: int = about("Batches per optimizer step.", default=1)
    layer_decay: float = about(
        "Learning rate of each layer of the backbone, relative to that of the layer above it; 1: the same for all.",
        default=1.0,
    )
    gradient_checkpointing: bool = about(
        "Compute activations of the backbone again in the backward pass: less memory, a third more time.",
        default=False,
    )

    def __post_init__(self) -> None:
        for name, choices in TABLES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")
        for name, (least, most, allowed) in _LIMITS.items():
            value = getattr(self, name)
            if not math.isfinite(value) or value > most or value < least or (value == least and not allowed):
                # "more than 0" reads better than "1 or more" and says the same of whole numbers
                bound = "more than 0" if least in (0, 1) and most == math.inf and (least or not allowed) else None
                raise UserError(f"{name} must be {bound or f'from {least} to {most}'}, not {value}")
        if self.loss == "model" and self.label_smoothing:
            raise UserError("label_smoothing is a parameter of the loss cross_entropy: choose it, or set 0")


RecipeOptions = dataclasses.make_dataclass(
    "RecipeOptions",
    [
        (name, kind | None, field(default=None, metadata={"help": f"{of.metadata['help']} Default: the recipe's."}))
        for (name, kind), of in zip(typing.get_type_hints(Recipe).items(), dataclasses.fields(Recipe), strict=True)
    ],
    namespace={"__doc__": "The recipe's fields as options of a command line; None: as the recipe has it."},
    kw_only=True,
)


def modern(recipe: Recipe, learning_rate: float) -> Recipe:
    """A modern recipe with the epochs and batch size of `recipe`."""
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
    """The recipe to train with.

    Args:
        recipes: a model's recipes by name; the first is the default.
        wanted: a recipe's name, or a YAML file that overrides fields of the default; None: the default.
        options: has the fields of `RecipeOptions`; fields that are not None override the recipe.

    Raises:
        UserError: an unknown recipe, file or field, or an invalid value.
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
    """`recipe` with `fields`; error messages name their source as `where`.

    Raises:
        UserError: an unknown field, or a value of another type.
    """
    kinds = typing.get_type_hints(Recipe)
    unknown = [name for name in fields if name not in kinds]
    if unknown:
        raise UserError(f"{where} has {listing(unknown)}, which are no fields of a recipe: {listing(kinds, 99)}")
    values: dict[str, Any] = {}
    for name, value in fields.items():
        kind = kinds[name]
        if kind is bool:
            if not isinstance(value, bool):
                raise UserError(f"{name} in {where} must be true or false, not {value!r}")
            values[name] = value
            continue
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


_KINDS = {int: "a whole number", float: "a number", str: "text"}


def to_yaml(recipe: Recipe) -> str:
    """A recipe file."""
    return yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False)
