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
    """The members' processors as one. Tensors that several members need are computed once.

    Processor i computes group i of the inputs, under the names `group_i.NAME`. Members with equal processors read the
    same group; processors that differ only in their columns still share the tensors of common columns.

    Args:
        processors: the processors, or their settings as `to_dict` gives them; no two alike.
        count_faces: whether `face_counts` (batch,) int64 are made too, for a routed ensemble: how many of a row's
            `face_scores` are at least `min_face_score`.
    """

    model_input_names = ()

    def __init__(
        self,
        processors: Sequence[BaseImageProcessor | Mapping[str, Any]] = (),
        count_faces: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.count_faces = count_faces
        self.processors = [settings(processor) for processor in processors]
        for i, fields in enumerate(self.processors):
            if fields.get("image_processor_type") not in KINDS:
                raise ValueError(
                    f"GerEnsembleProcessor.processors[{i}] must be a {' or '.join(KINDS)}, not a "
                    f"{fields.get('image_processor_type')}"
                )
        if count_faces and len(set(self._thresholds)) > 1:
            raise ValueError(
                "the members of a routed ensemble must agree on which faces count: their min_face_score are "
                f"{', '.join(map(str, self._thresholds))}"
            )

    @classmethod
    def from_members(
        cls, processors: Sequence[BaseImageProcessor], count_faces: bool = False
    ) -> tuple[GerEnsembleProcessor, list[int]]:
        """The processor of an ensemble, and the group that each member reads.

        Args:
            processors: one for each member.
            count_faces: see the class.

        Raises:
            ValueError: faces are to be counted, and members that read faces have other `min_face_score`s.
        """
        each = [settings(processor) for processor in processors]
        distinct = [fields for i, fields in enumerate(each) if fields not in each[:i]]
        return cls(distinct, count_faces), [distinct.index(fields) for fields in each]

    @property
    def min_face_score(self) -> float:
        """A face counts if the detector is at least so sure of it: the least that a member asks for, of those that
        read faces."""
        return min(self._thresholds, default=0.0)

    @cached_property
    def _thresholds(self) -> list[float]:
        """`min_face_score` of the processors that read or count faces, or of all if none does."""
        parts = [KINDS[fields["image_processor_type"]](**fields) for fields in self.processors]
        reading = [part for part in parts if part.reads_faces]
        return [part.min_face_score for part in reading or parts]

    @property
    def reads_faces(self) -> bool:
        """Whether any of its processors reads faces, or faces are counted."""
        return self.count_faces or any(KINDS[f["image_processor_type"]](**f).reads_faces for f in self.processors)

    @cached_property
    def _parts(self) -> tuple[list[BaseImageProcessor], list[list[int]]]:
        """Distinct single-column processors, and their positions for each group."""
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
        """The columns that any member needs."""
        columns = [column for part in self._parts[0] for column in part.row_columns]
        return list(dict.fromkeys([*columns, *(["face_scores"] if self.count_faces else [])]))

    def to_dict(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {name: value for name, value in super().to_dict().items() if name not in CACHED}

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        return self.preprocess(images, **kwargs)

    def preprocess(
        self, images: Any, generators: Sequence[torch.Generator] | None = None, return_tensors: str = "pt"
    ) -> BatchFeature:
        """Make the members' inputs; the arguments are GerProcessor's.

        With generators, every column gets the same random numbers, so that all members see the same augmentation.

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
        counts = {}
        if self.count_faces:
            rows = [images] if isinstance(images, Mapping) else images
            counts["face_counts"] = torch.tensor([self._face_count(row) for row in rows])
        return BatchFeature(
            {
                f"group_{i}.{name}": tensor
                for i, group in enumerate(groups)
                for part in group
                for name, tensor in made[part].items()
            }
            | counts
        )

    def _face_count(self, row: Any) -> int:
        if not isinstance(row, Mapping) or row.get("face_scores") is None:
            raise ValueError("the rows have no face_scores, by which this routed ensemble chooses the member")
        return sum(score >= self.min_face_score for score in row["face_scores"])


CACHED = ("_parts", "_thresholds")  # what an ensemble's processor keeps beside its settings
KINDS = {"GerProcessor": GerProcessor, "GerEnsembleProcessor": GerEnsembleProcessor}


def settings(processor: BaseImageProcessor | Mapping[str, Any]) -> dict[str, Any]:
    """A processor's settings as JSON values."""
    fields = dict(processor) if isinstance(processor, Mapping) else processor.to_dict()
    return {name: value for name, value in fields.items() if name not in ("auto_map", "processor_class")}
