"""Base class of the models, and networks from pixels to features: timm's, and two for faces."""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
import transformers
from huggingface_hub import CommitOperationAdd, create_commit, hf_hub_download
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.utils import CONFIG_NAME

from .configuration_ger import FACE_HEIGHT, FACE_WIDTH, NO_LABEL
from .processing_pixels import Preprocessing

# where the example of a model card says which checkpoint is loaded
LOADING = re.compile(r'(from_pretrained\(|pipeline\("group-emotion", model=)"[^"]*"')
EMBEDDING = 512  # SphereFace-20's width

# SphereFace-20's stages -> residual pairs; each stage begins with a convolution of stride 2 and doubles the channels
SPHEREFACE_STAGES = {1: 1, 2: 2, 3: 4, 4: 1}


def loading_from(repository: str, card: str) -> str:
    """The text of a model card, whose example loads the checkpoint from `repository`.

    >>> loading_from("team/model", 'answer = pipeline("group-emotion", model=".")')
    'answer = pipeline("group-emotion", model="team/model")'
    """
    return LOADING.sub(lambda found: f'{found[1]}"{repository}"', card)


def create_backbone(name: str, pretrained: bool = False) -> nn.Module:
    """The timm model `name` without its classifier: photos (batch, 3, height, width) -> features (batch, width).

    Args:
        name: a timm model's name.
        pretrained: load timm's ImageNet weights, from the local cache or from the Hub. For training only: a
            checkpoint brings its own weights.

    Raises:
        ValueError: timm knows no such model; the message names similar ones.
        OSError: the ImageNet weights are not in the cache and cannot be downloaded.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.4)
        raise ValueError(f"timm has no model {name!r}; near it are {', '.join(near) or 'none'}")
    return timm.create_model(name, pretrained=pretrained, num_classes=0)


def data_settings(backbone: nn.Module) -> dict[str, Any]:
    """How photos are made for a timm backbone's published weights, as settings of GerProcessor.

    Raises:
        ValueError: it takes photos that are not square, or in a way that cannot be repeated.
    """
    own = Preprocessing.of_timm(timm.data.resolve_data_config(pretrained_cfg=backbone.pretrained_cfg))
    if own.height != own.width:
        raise ValueError(
            f"the backbone takes photos of {own.width} x {own.height} pixels; only squares are made for a backbone"
        )
    return {"preprocessing": own.to_dict()}


def feature_width(backbone: nn.Module) -> int:
    """The width of what `create_backbone`'s models return."""
    return backbone.head_hidden_size  # type: ignore[return-value]  # timm's models all have it


def checkpoint_gradients(backbone: nn.Module) -> None:
    """Have a backbone compute its activations again in the backward pass, which saves memory.

    Raises:
        ValueError: a backbone that cannot.
    """
    try:
        if isinstance(backbone, VisionTower):
            backbone.model.gradient_checkpointing_enable()
        else:
            backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError, ValueError) as error:
        raise ValueError(f"this backbone does not support gradient checkpointing: {error}") from error


def keep_own_weights(module: nn.Module) -> None:
    """Mark `module` as initialised, so that `post_init` does not re-initialise it.

    Without this, transformers would silently overwrite a backbone's own initialisation or its ImageNet weights with
    N(0, 0.02) on direct construction.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        return  # from_pretrained builds on the meta device and fills in the checkpoint's weights
    for part in module.modules():
        part._is_hf_initialized = True  # type: ignore[assignment]  # a flag of transformers'


class GerPreTrainedModel(PreTrainedModel):
    """The base class of this package's models.

    `forward` raises a TypeError for unknown inputs. With the decorator `can_return_tuple`, it returns a tuple if
    `return_dict=False`.

    Attributes:
        has_face_outputs: whether `forward` has `output_faces`, which adds outputs for each face.
    """

    input_modalities = ("image",)
    has_face_outputs = False

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        recompute = getattr(module, "init_non_persistent_buffers", None)
        if callable(recompute):  # buffers of timm's layers that no checkpoint holds
            recompute()

    def push_to_hub(
        self, repo_id: str, *, token: bool | str | None = None, revision: str | None = None, **options: Any
    ) -> Any:
        """As transformers' method; the card and the `.eval_results` of the folder that the model was loaded from are
        pushed too, if there are any, with the repository's name in the card's example."""
        pushed = super().push_to_hub(repo_id, token=token, revision=revision, **options)
        card = Path(self.name_or_path) / "README.md"
        if self.name_or_path and card.is_file():
            repository = pushed.repo_url.repo_id
            text = loading_from(repository, card.read_text(encoding="utf-8"))
            figures = sorted((card.parent / ".eval_results").glob("*.yaml"))
            create_commit(
                repository,
                operations=[
                    CommitOperationAdd("README.md", text.encode()),
                    *(CommitOperationAdd(f".eval_results/{path.name}", path) for path in figures),
                ],
                token=token,
                revision=pushed.pr_revision or revision,
                commit_message="Upload model card",
            )
        return pushed

    @staticmethod
    def classification_loss(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor | None:
        """Cross-entropy of logits (photos, classes) and labels (photos,), -1 for none; None without labels."""
        return None if labels is None else F.cross_entropy(logits, labels, ignore_index=NO_LABEL)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a number from 0 to 1 that depends on all channels' means (Hu et al. 2018)."""

    def __init__(self, width: int, reduction: int = 8) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width // reduction, 1)
        self.up = nn.Conv2d(width // reduction, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(faces, width, height, width of the map) -> the same shape."""
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm and a shortcut (He et al. 2016), which downsamples by averaging (He et al.
    2019, ResNet-D)."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.excitation = SqueezeExcitation(wide)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or narrow != wide:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide)
            )
        nn.init.zeros_(self.norm2.weight)  # each block begins as its shortcut (Goyal et al. 2017)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(faces, narrow, side, side) -> (faces, wide, side / stride, side / stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.excitation(self.norm2(self.conv2(y)))
        return F.relu(y + self.shortcut(x))


class ExpressionNet(nn.Module):
    """Grey faces (faces, 1, 48, 48), scaled to -1 ... 1 -> embeddings (faces, last of `widths`).

    Args:
        widths: channels of each stage; every stage but the first halves the map.
        blocks: residual blocks of each stage; the first stage may have none, because full resolution is slow.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        layers: list[nn.Module] = []
        narrow = widths[0]
        for stage, (wide, count) in enumerate(zip(widths, blocks, strict=True)):
            for i in range(count):
                layers.append(ResidualBlock(narrow, wide, stride=2 if stage and not i else 1))
                narrow = wide
        self.body = nn.Sequential(*layers)
        self.width = narrow
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(faces, 1, 48, 48), scaled to -1 ... 1 -> (faces, width)."""
        maps = self.stem(faces)
        if maps.is_cuda:  # convolutions in half precision are faster there with the channels last
            maps = maps.contiguous(memory_format=torch.channels_last)
        return self.body(maps).mean((2, 3))


# vision towers of transformers: model_type -> (class, the output that is its vector for a whole photo)
VISION_TOWERS = {
    "clip_vision_model": ("CLIPVisionModelWithProjection", "image_embeds"),
    "siglip_vision_model": ("SiglipVisionModel", "pooler_output"),
    "dinov2": ("Dinov2Model", "pooler_output"),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", "pooler_output"),
    "dinov3_vit": ("DINOv3ViTModel", "pooler_output"),
    "dinov3_convnext": ("DINOv3ConvNextModel", "pooler_output"),
    "vit": ("ViTModel", "class token"),  # its pooler is not trained
    "convnext": ("ConvNextModel", "pooler_output"),
    "convnextv2": ("ConvNextV2Model", "pooler_output"),
    "swin": ("SwinModel", "pooler_output"),
    "swinv2": ("Swinv2Model", "pooler_output"),
}
# models that hold a vision tower beside a text model
WHOLE_MODELS = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}
CLASS_TOKEN = "class token"
# in a vision model's configuration, but no output depends on it
UNHEEDED = ("transformers_version", "architectures", "dtype", "_name_or_path", "id2label", "label2id")


def tower_class(model_type: str) -> type[PreTrainedModel]:
    """The class of transformers for a row of `VISION_TOWERS`.

    Raises:
        ValueError: no such row.
    """
    if model_type not in VISION_TOWERS:
        naflex = "; of SigLIP 2 use a checkpoint of fixed resolution" if model_type.startswith("siglip2") else ""
        raise ValueError(
            f"a model of the type {model_type!r} cannot be used as an encoder of photos: there are "
            f"{', '.join((*WHOLE_MODELS, *VISION_TOWERS))}{naflex}"
        )
    return getattr(transformers, VISION_TOWERS[model_type][0])


class VisionTower(nn.Module):
    """A vision model of transformers: photos (batch, 3, height, width) -> vectors (batch, width).

    Args:
        model: of a class in `VISION_TOWERS`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.output = VISION_TOWERS[model.config.model_type][1]
        config = model.config
        if self.output == "image_embeds":
            self.head_hidden_size = config.projection_dim
        else:
            widths = getattr(config, "hidden_sizes", None)
            self.head_hidden_size = widths[-1] if widths else config.hidden_size

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> VisionTower:
        """With random weights, from a configuration's fields, `model_type` among them.

        Raises:
            ValueError: a type that is not in `VISION_TOWERS`, or fields that it refuses.
        """
        model_type = str(fields.get("model_type"))
        made = tower_class(model_type)
        try:
            config = made.config_class(**{name: value for name, value in fields.items() if name != "model_type"})
            return cls(made(config, **without_pooler(model_type)))
        except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise ValueError(f"the configuration of the {model_type} encoder is invalid: {error}") from error

    @property
    def fields(self) -> dict[str, Any]:
        """What `from_fields` needs: the configuration, as JSON values."""
        config = self.model.config
        kept = {name: value for name, value in config.to_diff_dict().items() if name not in UNHEEDED}
        return {**kept, "model_type": config.model_type}

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width), as its preprocessing makes them -> (batch, width)."""
        outputs = self.model(pixel_values=pixel_values)
        return outputs.last_hidden_state[:, 0] if self.output == CLASS_TOKEN else outputs[self.output]


def without_pooler(model_type: str) -> dict[str, bool]:
    """What leaves out a pooling layer that is not used."""
    return {"add_pooling_layer": False} if VISION_TOWERS[model_type][1] == CLASS_TOKEN else {}


def load_tower(repository: str, revision: str | None = None) -> tuple[VisionTower, Preprocessing, str]:
    """The vision tower with its weights, its preprocessing and the commit (empty for a folder).

    Raises:
        ValueError, OSError: as transformers raises them.
    """
    commit = ""
    if not Path(repository).is_dir():
        commit = Path(hf_hub_download(repository, CONFIG_NAME, revision=revision)).parent.name
    options: dict[str, Any] = {"revision": commit or "main", "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(repository, **options)
    model_type = WHOLE_MODELS.get(config.model_type, config.model_type)
    made = tower_class(model_type)
    vision = getattr(config, "vision_config", config)
    if model_type == "clip_vision_model":
        vision.projection_dim = config.projection_dim  # the vision part's own may be a default that is not used
    with _quiet():
        model, info = made.from_pretrained(
            repository,
            config=vision,
            use_safetensors=True,
            output_loading_info=True,
            **options,
            **without_pooler(model_type),
        )
    if info["missing_keys"]:
        raise ValueError(f"weights are missing: {', '.join(sorted(info['missing_keys'])[:3])}")
    processor = transformers.AutoImageProcessor.from_pretrained(repository, **options)
    return VisionTower(model.float()), Preprocessing.of_transformers(processor.to_dict()), commit


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' table of the text model's weights, which a vision tower does not need."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)


class SphereFace20(nn.Module):
    """SphereFace-20 (Liu et al. 2017, arXiv 1704.08063): aligned faces (faces, 3, 112, 96), scaled to
    (x - 127.5) / 128 -> embeddings (faces, 512).

    Layers are named as in the public `sphere20a` weights: conv1_1, relu1_1, ..., conv4_3, relu4_3, fc5.

    Args:
        channels: channels of the first stage; 64 is SphereFace-20. All stages scale with it.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        narrow, wide = 3, channels
        for stage, pairs in SPHEREFACE_STAGES.items():
            for i in range(1, 2 * pairs + 2):
                stride = 2 if i == 1 else 1
                convolution = nn.Conv2d(narrow, wide, 3, stride, 1)
                weight, bias = convolution.parameters()
                nn.init.zeros_(bias)  # as the public training recipe (sphereface_train/code/sphereface_model.prototxt)
                if i == 1:
                    nn.init.xavier_uniform_(weight)
                else:
                    nn.init.normal_(weight, std=0.01)
                self.add_module(f"conv{stage}_{i}", convolution)
                self.add_module(f"relu{stage}_{i}", nn.PReLU(wide))
                narrow = wide
            wide *= 2
        self.fc5 = nn.Linear(narrow * (FACE_HEIGHT // 16) * (FACE_WIDTH // 16), EMBEDDING)

    def _layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(f"relu{name}")(self.get_submodule(f"conv{name}")(x))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(faces, 3, 112, 96), scaled to (x - 127.5) / 128 -> (faces, 512)."""
        x = faces
        for stage, pairs in SPHEREFACE_STAGES.items():
            x = self._layer(f"{stage}_1", x)
            for pair in range(pairs):
                x = x + self._layer(f"{stage}_{2 * pair + 3}", self._layer(f"{stage}_{2 * pair + 2}", x))
        return self.fc5(x.flatten(1))


class LargeMarginLinear(nn.Linear):
    """L-Softmax (Liu et al. 2016, arXiv 1612.02295): in training, the true class needs an angular margin.

    The true class's logit |w||x| cos(t) becomes |w||x| psi(t), psi(t) = (-1)^k cos(m t) - 2k for t in
    [k pi / m, (k + 1) pi / m], blended with the plain logit by `plain_share` (lambda / (1 + lambda) of the paper) so
    that training starts. The original system also had this head, but returned the plain logits.
    """

    def __init__(self, width: int, classes: int, margin: int, plain_share: float = 5 / 6) -> None:
        super().__init__(width, classes, bias=False)
        self.margin, self.plain_share = margin, plain_share

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """x (rows, width), labels (rows,) int64 with -1 for none -> logits (rows, classes)."""
        logits = F.linear(x, self.weight)
        if labels is None or not self.training:
            return logits
        true = labels.clamp(min=0)[:, None]
        length = x.norm(dim=1, keepdim=True) * self.weight.norm(dim=1)[true]  # (rows, 1)
        cosine = (logits.gather(1, true) / length.clamp(min=1e-12)).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = cosine.acos()
        k = (self.margin * angle / math.pi).floor().detach()
        psi = (1 - 2 * (k % 2)) * (self.margin * angle).cos() - 2 * k
        hard = length * (self.plain_share * cosine + (1 - self.plain_share) * psi)
        return torch.where((labels >= 0)[:, None], logits.scatter(1, true, hard.to(logits.dtype)), logits)
