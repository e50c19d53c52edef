"""A dataset row or a raw photo -> the tensors of every member of an ensemble. Saved and loaded with the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from .processing_ger import GerProcessor


class GerEnsembleProcessor(BaseImageProcessor):
    """The members' processors as one; what several of them would make of a column is made once.

    Group i of the inputs is what processor i makes, under the names `group_i.NAME`. Members whose processors agree
    read the same group; where two processors differ in their columns only, their tensors are shared all the same.

    Args:
        processors: the processors, or their settings as `to_dict` gives them; no two alike.
    """

    model_input_names = ()

    def __init__(self, processors: Sequence[BaseImageProcessor | Mapping[str, Any]] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.processors = [settings(processor) for processor in processors]
        for i, fields in enumerate(self.processors):
            if fields.get("image_processor_type") not in KINDS:
                raise ValueError(
                    f"GerEnsembleProcessor.processors[{i}] must be a {' or '.join(KINDS)}, not a "
                    f"{fields.get('image_processor_type')}"
                )

    @classmethod
    def from_members(cls, processors: Sequence[BaseImageProcessor]) -> tuple[GerEnsembleProcessor, list[int]]:
        """The processor of an ensemble, and which group of its tensors each member reads.

        Args:
            processors: one for each member.
        """
        each = [settings(processor) for processor in processors]
        distinct = [fields for i, fields in enumerate(each) if fields not in each[:i]]
        return cls(distinct), [distinct.index(fields) for fields in each]

    @cached_property
    def _parts(self) -> tuple[list[BaseImageProcessor], list[list[int]]]:
        """Distinct processors of one column each, and which of them make up each group."""
        parts: list[dict[str, Any]] = []
        groups = []
        for fields in self.processors:
            alone = (
                [{**fields, "columns": [column]} for column in fields["columns"]] if "columns" in fields else [fields]
            )
            parts += [part for part in alone if part not in parts]
            groups.append([parts.index(part) for part in alone])
        return [KINDS[part["image_processor_type"]](**part) for part in parts], groups

    @property
    def row_columns(self) -> list[str]:
        """The columns that a row must have for some member."""
        return list(dict.fromkeys(column for part in self._parts[0] for column in part.row_columns))

    @property
    def min_face_score(self) -> float:
        """The least score of a face that some member sees."""
        return min((part.min_face_score for part in self._parts[0]), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {name: value for name, value in super().to_dict().items() if name != "_parts"}

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        return self.preprocess(images, **kwargs)

    def preprocess(
        self, images: Any, generators: Sequence[torch.Generator] | None = None, return_tensors: str = "pt"
    ) -> BatchFeature:
        """Make the members' inputs; the arguments are GerProcessor's.

        With generators, every column gets the same random numbers: members see one augmentation of a photo.

        Raises:
            ValueError: as GerProcessor does.
        """
        images = images if isinstance(images, (Mapping, Image.Image)) else list(images)
        states = None if generators is None else [generator.get_state() for generator in generators]
        parts, groups = self._parts
        made = []
        for part in parts:
            for generator, state in zip(generators or (), states or (), strict=True):
                generator.set_state(state)
            made.append(part(images, generators=generators, return_tensors=return_tensors))
        return BatchFeature(
            {
                f"group_{i}.{name}": tensor
                for i, group in enumerate(groups)
                for part in group
                for name, tensor in made[part].items()
            }
        )


KINDS = {"GerProcessor": GerProcessor, "GerEnsembleProcessor": GerEnsembleProcessor}


def settings(processor: BaseImageProcessor | Mapping[str, Any]) -> dict[str, Any]:
    """What a processor does, as JSON values."""
    fields = dict(processor) if isinstance(processor, Mapping) else processor.to_dict()
    return {name: value for name, value in fields.items() if name not in ("auto_map", "processor_class")}
