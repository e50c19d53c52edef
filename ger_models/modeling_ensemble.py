"""Several models and their weights -> logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import ModelOutput, can_return_tuple

from .backbones import GerPreTrainedModel, keep_own_weights
from .configuration_ensemble import GerEnsembleConfig
from .processing_ensemble import GerEnsembleProcessor

Thing = TypeVar("Thing")
# fields of a configuration that change no answer
UNHEEDED = dict.fromkeys(("_name_or_path", "architectures", "auto_map", "dtype", "notice"))


@dataclass
class GerEnsembleOutput(ModelOutput):
    """`loss` (a scalar, if labels were given), `logits` (photos, classes) and, on request, `member_logits` (members,
    photos, classes)."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    member_logits: torch.Tensor | None = None


class GerEnsembleForImageClassification(GerPreTrainedModel):
    """The weighted logits, or probabilities, of several models, as one model.

    In evaluation what is equal is computed once: members that are alike and read the same inputs, and the backbones
    of members that are alike up to their heads. Members of weight 0 are not computed.

    Args:
        config: the architecture.
        members: the models, where they are there already; None: new ones.
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
        self._known_twins: tuple[list[tuple[int, int]], Twins] | None = None
        self.post_init()

    @classmethod
    def from_members(
        cls,
        names: Sequence[str],
        weights: Sequence[float] | None = None,
        combination: str = "logits",
        stacking: Mapping[str, Any] | None = None,
        revisions: Sequence[str | None] | None = None,
    ) -> tuple[GerEnsembleForImageClassification, GerEnsembleProcessor]:
        """An ensemble of trained models, and its processor; each is saved, loaded and pushed as any other.

        Args:
            names: folders or Hub repositories of the members' checkpoints; weights are read from safetensors only.
            weights: how much each member counts; brought to the sum 1. None: all alike.
            combination: `logits` or `probabilities`.
            stacking: see GerEnsembleConfig; then every member is computed, and the weights do not count.
            revisions: of the members on the Hub, the commits or branches to load; None: the main branches.

        Raises:
            ValueError: the members disagree on the classes, one is not of this package's kind, or the weights are
                not numbers from 0, one for each member.
            OSError: a checkpoint is missing.
        """
        if isinstance(names, str) or not names:
            raise ValueError(f"an ensemble needs a list of checkpoints, not {names!r}")
        of_members = list(zip(names, [None] * len(names) if revisions is None else revisions, strict=True))
        # members saved in several precisions are brought to one, which the checkpoint can name
        members = [
            AutoModelForImageClassification.from_pretrained(
                name, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, revision=revision or "main"
            )
            for name, revision in of_members
        ]
        processor, groups = GerEnsembleProcessor.from_members([_load_processor(*each) for each in of_members])
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
            **({"notice": "; ".join(notices)} if notices else {}),
        )
        return cls(config, members).eval(), processor

    @can_return_tuple
    def forward(
        self,
        labels: torch.Tensor | None = None,
        output_member_logits: bool = False,
        **inputs: Any,
    ) -> GerEnsembleOutput:
        """Classify photos.

        Args:
            labels: (photos,) int64; -1 marks a photo without a label, which adds nothing to the loss.
            output_member_logits: whether to return the logits of each member, those of weight 0 included.
            inputs: `group_i.NAME`, as the ensemble's processor makes them.

        Returns:
            `loss`, `logits` and `member_logits`. Where probabilities are combined, the logits are their logarithms:
            softmax gives the probabilities back.

        Raises:
            TypeError: an input has another name.
            ValueError: a member's inputs are not there.
        """
        weights = self.config.weights if self.config.stacking is None else [1.0] * len(self.members)
        asked = [i for i, weight in enumerate(weights) if weight > 0 or output_member_logits]
        every = self._member_logits(asked, _by_group(inputs))  # (asked, photos, classes)
        used = [k for k, i in enumerate(asked) if weights[i] > 0]
        logits = self._combined(every[used], [weights[asked[k]] for k in used])
        return GerEnsembleOutput(
            loss=self.classification_loss(logits, labels),
            logits=logits,
            member_logits=every if output_member_logits else None,
        )

    def _combined(self, logits: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
        """(members, photos, classes) -> (photos, classes)."""
        if self.config.stacking is not None:
            scores = logits.softmax(-1) if self.config.combination == "probabilities" else logits
            coefficients = logits.new_tensor(
                self.config.stacking["coefficients"]
            )  # (members, classes out, classes in)
            return torch.einsum("mpc,mkc->pk", scores, coefficients) + logits.new_tensor(
                self.config.stacking["intercept"]
            )
        if self.config.combination == "probabilities":
            shares = logits.new_tensor([math.log(weight) for weight in weights])
            return torch.logsumexp(logits.log_softmax(-1) + shares[:, None, None], 0)
        return torch.einsum("mpc,m->pc", logits, logits.new_tensor(weights))

    def _member_logits(self, asked: Sequence[int], groups: dict[int, dict[str, Any]]) -> torch.Tensor:
        twins = Twins([], [], []) if self.training else self._twins()
        original = {i: same[0] for same in twins.members for i in same}
        answers: dict[int, torch.Tensor] = {}
        with twins.asked_once():
            for i in asked:
                first = original.get(i, i)
                if first not in answers:
                    group = self.config.groups[first]
                    if group not in groups:
                        raise ValueError(
                            f"member {first} of the ensemble reads group_{group}.…, which is not among the inputs: "
                            "give what the ensemble's processor makes"
                        )
                    answers[first] = self.members[first](**groups[group]).logits
        every = torch.stack([answers[original.get(i, i)] for i in asked])
        return every.to(torch.promote_types(every.dtype, torch.float32))  # sums of half floats lose digits

    def _twins(self) -> Twins:
        """What is equal among the members now: looked for once, and again when those weights have been changed."""
        if self._known_twins is None or self._known_twins[0] != self._known_twins[1].state():
            twins = find_twins(list(self.members), self.config.groups)
            self._known_twins = (twins.state(), twins)
        return self._known_twins[1]


@dataclass
class Twins:
    """What is equal.

    Attributes:
        members: positions of equal members that read the same inputs.
        backbones: equal networks.
        tensors: the weights of all of them.
    """

    members: list[list[int]]
    backbones: list[list[nn.Module]]
    tensors: list[torch.Tensor]

    def state(self) -> list[tuple[int, int]]:
        """Changes when a weight of a twin is moved or changed in place."""
        return [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in self.tensors]

    @contextmanager
    def asked_once(self) -> Iterator[None]:
        """Within, equal networks that are asked about equal tensors compute the answer once."""
        replaced: list[tuple[nn.Module, Callable | None]] = []
        try:
            for same in self.backbones:
                answers: list[tuple[torch.Tensor, torch.Tensor]] = []
                for module in same:
                    replaced.append((module, module.__dict__.get("forward")))
                    module.forward = _remembering(module.forward, answers)
            yield
        finally:
            for module, forward in replaced:
                if forward is None:
                    del module.forward
                else:
                    module.forward = forward


def find_twins(members: Sequence[PreTrainedModel], groups: Sequence[int]) -> Twins:
    """Members that are equal and read the same group of inputs, and equal backbones among the others."""

    def same_member(i: int, j: int) -> bool:
        return (
            groups[i] == groups[j] and _descriptions_equal(members[i], members[j]) and _equal(members[i], members[j])
        )

    def same_backbone(one: tuple[str, nn.Module], other: tuple[str, nn.Module]) -> bool:
        return one[0] == other[0] and _equal(one[1], other[1])

    whole = _alike(range(len(members)), same_member)
    copies = {i for same in whole for i in same[1:]}
    candidates = [
        (member.config.backbone, part)
        for i, member in enumerate(members)
        if i not in copies and hasattr(member.config, "backbone")
        for name, part in member.named_children()
        if name.endswith("backbone")
    ]
    backbones = [[part for _, part in same] for same in _alike(candidates, same_backbone)]
    modules = [members[i] for same in whole for i in same] + [module for same in backbones for module in same]
    return Twins(whole, backbones, [tensor for module in modules for tensor in _tensors(module).values()])


def _alike(things: Iterable[Thing], same: Callable[[Thing, Thing], bool]) -> list[list[Thing]]:
    """The things in lists of those that are the same, without those that are like no other."""
    lists: list[list[Thing]] = []
    for thing in things:
        home = next((some for some in lists if same(some[0], thing)), None)
        if home is None:
            lists.append([thing])
        else:
            home.append(thing)
    return [some for some in lists if len(some) > 1]


def _descriptions_equal(a: PreTrainedModel, b: PreTrainedModel) -> bool:
    ours, theirs = ({**member.config.to_dict(), **UNHEEDED} for member in (a, b))
    return type(a) is type(b) and ours == theirs


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


def _remembering(forward: Callable, answers: list[tuple[torch.Tensor, torch.Tensor]]) -> Callable:
    def remembered(x: torch.Tensor) -> torch.Tensor:
        for asked, answer in answers:
            if asked is x or (asked.dtype == x.dtype and asked.device == x.device and torch.equal(asked, x)):
                return answer
        answers.append((x, forward(x)))
        return answers[-1][1]

    return remembered


def _by_group(inputs: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """`group_0.pixel_values` -> {0: {"pixel_values": ...}}; TypeError for a name of another kind."""
    groups: dict[int, dict[str, Any]] = {}
    for key, value in inputs.items():
        group, dot, name = key.partition(".")
        if not (dot and group.startswith("group_") and group[6:].isdigit()):
            raise TypeError(f"forward() got an unexpected keyword argument {key!r}: inputs are called group_i.NAME")
        groups.setdefault(int(group[6:]), {})[name] = value
    return groups


def _load_processor(name: str, revision: str | None) -> BaseImageProcessor:
    processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False, revision=revision or "main")
    if not hasattr(processor, "row_columns"):
        raise ValueError(f"{name} has a {type(processor).__name__}, not this package's: it cannot be a member")
    return processor
