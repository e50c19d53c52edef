"""Several models and their weights -> logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import ModelOutput, can_return_tuple

from .backbones import GerPreTrainedModel, keep_own_weights
from .combining import combine_stacked, combine_weighted, parse_routes
from .configuration_ensemble import GerEnsembleConfig
from .processing_ensemble import GerEnsembleProcessor

# inputs that hold the faces or patches of all photos one after the other -> how many each photo has
PACKED = {"face_pixels": "face_counts", "expression_pixels": "face_counts", "patch_pixels": "patch_counts"}


@dataclass
class GerEnsembleOutput(ModelOutput):
    """`loss` (a scalar, if labels were given), `logits` (photos, classes) and, on request, `member_logits` (members,
    photos, classes)."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    member_logits: torch.Tensor | None = None


class GerEnsembleForImageClassification(GerPreTrainedModel):
    """The weighted logits, or probabilities, of several models, as one model; or, with `routes`, several models of
    which each answers the photos with its range of face counts.

    In evaluation, backbones with the same weights compute the features of a photo once. Members of weight 0 are not
    computed.

    Args:
        config: the architecture.
        members: the models; None: new models from the configuration.
    """

    config_class = GerEnsembleConfig

    def __init__(self, config: GerEnsembleConfig, members: Sequence[PreTrainedModel] | None = None) -> None:
        super().__init__(config)
        if not config.members:
            raise ValueError("GerEnsembleConfig.members must name one member or more; it names none")
        if members is None:
            members = [AutoModelForImageClassification.from_config(member) for member in config.member_configs]
        self.members = nn.ModuleList(members)
        keep_own_weights(self.members)
        self._shared: tuple[list[tuple[int, int]], dict[int, nn.Module]] | None = None  # see `_shared_backbones`
        self.post_init()

    @classmethod
    def from_members(
        cls,
        names: Sequence[str],
        weights: Sequence[float] | None = None,
        combination: str = "logits",
        stacking: Mapping[str, Any] | None = None,
        revisions: Sequence[str | None] | None = None,
        routes: Sequence[str] | None = None,
    ) -> tuple[GerEnsembleForImageClassification, GerEnsembleProcessor]:
        """An ensemble of trained models, and its processor; both are saved, loaded and pushed like any other.

        Args:
            names: folders or Hub repositories of the members' checkpoints; weights are read from safetensors only.
            weights: see GerEnsembleConfig. None: equal weights.
            combination: `logits` or `probabilities`.
            stacking: see GerEnsembleConfig; every member is computed then, and the weights are ignored.
            revisions: of the members on the Hub, the commits or branches to load; None: the main branches.
            routes: see GerEnsembleConfig; the weights are ignored then.

        Raises:
            ValueError: the members disagree on the classes, one is not of this package's kind, or the weights are
                not finite numbers, one for each member; or the routes overlap or leave face counts out, or members
                that read faces disagree on `min_face_score`.
            OSError: a checkpoint is missing.
        """
        if isinstance(names, str) or not names:
            raise ValueError(f"an ensemble needs a list of checkpoints, not {names!r}")
        of_members = list(zip(names, [None] * len(names) if revisions is None else revisions, strict=True))
        # members of different precisions are converted to one, which the checkpoint can name
        members = [
            AutoModelForImageClassification.from_pretrained(
                name, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, revision=revision or "main"
            )
            for name, revision in of_members
        ]
        processor, groups = GerEnsembleProcessor.from_members(
            [_load_processor(*each) for each in of_members], count_faces=routes is not None
        )
        for name, member in zip(names[1:], members[1:], strict=True):
            if member.config.id2label != members[0].config.id2label:
                raise ValueError(
                    f"the members of an ensemble must agree on the classes and their order: {names[0]} has "
                    f"{', '.join(members[0].config.id2label.values())}, {name} has "
                    f"{', '.join(member.config.id2label.values())}"
                )
        notices = dict.fromkeys(filter(None, (getattr(member.config, "notice", "") for member in members)))
        config = GerEnsembleConfig(
            [member.config for member in members],
            weights,
            combination,
            groups,
            stacking,
            routes,
            **({"notice": "; ".join(notices)} if notices else {}),
        )
        return cls(config, members).eval(), processor

    @can_return_tuple
    def forward(
        self,
        labels: torch.Tensor | None = None,
        output_member_logits: bool = False,
        face_counts: torch.Tensor | None = None,
        **inputs: Any,
    ) -> GerEnsembleOutput:
        """Classify photos.

        Args:
            labels: (photos,) int64; -1 marks a photo without a label, which adds nothing to the loss.
            output_member_logits: whether to return the logits of each member, those of weight 0 included; with
                routes, those of all photos.
            face_counts: (photos,) int64, with routes: how many faces each photo has.
            inputs: `group_i.NAME`, as the ensemble's processor makes them.

        Returns:
            `loss`, `logits` and `member_logits`. If probabilities are combined, the logits are their logarithms, so
            that softmax returns the probabilities.

        Raises:
            TypeError: an input has another name.
            ValueError: a member's inputs, or the face counts of a routed ensemble, are not there.
        """
        if self.config.routes is not None:
            return self._routed(_by_group(inputs), face_counts, labels, output_member_logits)
        if face_counts is not None:
            raise TypeError("forward() got an unexpected keyword argument 'face_counts': this ensemble has no routes")
        weights = self.config.weights if self.config.stacking is None else [1.0] * len(self.members)
        asked = [i for i, weight in enumerate(weights) if weight or output_member_logits]
        every = self._member_logits(asked, _by_group(inputs))  # (asked, photos, classes)
        used = [k for k, i in enumerate(asked) if weights[i]]
        logits = self._combined(every[used], [weights[asked[k]] for k in used])
        return GerEnsembleOutput(
            loss=self.classification_loss(logits, labels),
            logits=logits,
            member_logits=every if output_member_logits else None,
        )

    def _routed(
        self,
        groups: dict[int, dict[str, Any]],
        counts: torch.Tensor | None,
        labels: torch.Tensor | None,
        output_member_logits: bool,
    ) -> GerEnsembleOutput:
        """Each photo's logits are those of the member of its route, which computes no others unless asked."""
        if counts is None:
            raise ValueError("this ensemble needs face_counts: pass what its processor returns")
        every = self._member_logits(range(len(self.members)), groups) if output_member_logits else None
        logits = torch.zeros(len(counts), self.config.num_labels, device=counts.device)
        for i, route in enumerate(parse_routes(self.config.routes)):
            own = route.holds(counts)  # (photos,)
            if every is not None:
                logits[own] = every[i, own].to(logits.dtype)
            elif own.any():
                group = self.config.groups[i]
                chosen = {group: _photos_of(groups[group], own)} if group in groups else {}
                logits[own] = self._member_logits([i], chosen)[0].to(logits.dtype)
        return GerEnsembleOutput(loss=self.classification_loss(logits, labels), logits=logits, member_logits=every)

    def _combined(self, logits: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
        """(members, photos, classes) -> (photos, classes)."""
        combination, stacking = self.config.combination, self.config.stacking
        if stacking is None:
            return combine_weighted(logits, weights, combination, torch)
        matrices = logits.new_tensor(stacking["coefficients"]), logits.new_tensor(stacking["intercept"])
        return combine_stacked(logits, *matrices, combination, torch)

    def _member_logits(self, asked: Sequence[int], groups: dict[int, dict[str, Any]]) -> torch.Tensor:
        """(asked, photos, classes); in evaluation, equal backbones with equal inputs are computed once."""
        networks = {} if self.training else self._shared_backbones()
        computed: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []  # network, photos, features
        logits = []
        for i in asked:
            group = self.config.groups[i]
            if group not in groups:
                raise ValueError(
                    f"member {i} of the ensemble reads group_{group}.…, which is not among the inputs: pass what the "
                    "ensemble's processor returns"
                )
            inputs = dict(groups[group])
            if i in networks and inputs.get("pixel_values") is not None:
                inputs["image_features"] = _features(networks[i], inputs["pixel_values"], computed)
            logits.append(self.members[i](**inputs, return_dict=True).logits)
        stacked = torch.stack(logits)
        return stacked.to(torch.promote_types(stacked.dtype, torch.float32))  # sums of half floats lose digits

    def _shared_backbones(self) -> dict[int, nn.Module]:
        """Member -> a backbone with the same weights, shared by all members that have it.

        Weights are compared once, and again after they have changed.
        """
        backbones = {i: (name, part) for i, member in enumerate(self.members) for name, part in _backbones(member)}
        tensors = [tensor for _, part in backbones.values() for tensor in _tensors(part).values()]
        state = [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]
        if self._shared is None or self._shared[0] != state:
            firsts: dict[int, nn.Module] = {}
            for i, (name, part) in backbones.items():
                alike = (k for k in firsts if backbones[k][0] == name and _equal(firsts[k], part))
                firsts[i] = next((firsts[k] for k in alike), part)
            counts = Counter(map(id, firsts.values()))
            self._shared = state, {i: first for i, first in firsts.items() if counts[id(first)] > 1}
        return self._shared[1]


def _backbones(member: nn.Module) -> list[tuple[str, nn.Module]]:
    """Architecture name and backbone of a member; empty if it has none."""
    parts = [part for name, part in member.named_children() if name.endswith("backbone")]
    return [(member.config.backbone, part) for part in parts if isinstance(member, PreTrainedModel)]


def _features(
    network: nn.Module, photos: torch.Tensor, computed: list[tuple[nn.Module, torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """The network's features of the photos, cached in `computed`."""
    for known, seen, features in computed:
        if known is network and (
            seen is photos
            or (seen.dtype == photos.dtype and seen.device == photos.device and torch.equal(seen, photos))
        ):
            return features
    computed.append((network, photos, network(photos)))
    return computed[-1][2]


def _equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks have the same weights under the same names."""
    ours, theirs = _tensors(a), _tensors(b)
    return (
        type(a) is type(b)
        and ours.keys() == theirs.keys()
        and not any(tensor.is_meta for tensor in (*ours.values(), *theirs.values()))
        and all(x.device == theirs[name].device and torch.equal(x, theirs[name]) for name, x in ours.items())
    )


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict(chain(module.named_parameters(), module.named_buffers()))


def _by_group(inputs: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """`group_0.pixel_values` -> {0: {"pixel_values": ...}}; TypeError for other names."""
    groups: dict[int, dict[str, Any]] = {}
    for key, value in inputs.items():
        group, dot, name = key.partition(".")
        if not (dot and group.startswith("group_") and group[6:].isdigit()):
            raise TypeError(f"forward() got an unexpected keyword argument {key!r}: inputs are called group_i.NAME")
        groups.setdefault(int(group[6:]), {})[name] = value
    return groups


def _photos_of(inputs: Mapping[str, torch.Tensor], chosen: torch.Tensor) -> dict[str, torch.Tensor]:
    """A group's inputs of the photos `chosen`, (photos,) bool; of packed faces and patches those of these photos."""
    taken = {}
    for name, tensor in inputs.items():
        inner, _, last = name.rpartition(".")
        counts = inputs[f"{inner}.{PACKED[last]}".lstrip(".")] if last in PACKED else None
        taken[name] = tensor[chosen if counts is None else chosen.repeat_interleave(counts)]
    return taken


def _load_processor(name: str, revision: str | None) -> BaseImageProcessor:
    processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False, revision=revision or "main")
    if not hasattr(processor, "row_columns"):
        raise ValueError(f"{name} has a {type(processor).__name__}, not this package's: it cannot be a member")
    return processor
