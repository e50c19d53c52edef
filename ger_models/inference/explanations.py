"""A model that looks at the whole photo -> heat maps of what drove its decisions; of a fusion model, its scene branch.

Convolutional networks of timm: Grad-CAM on the last feature map (Selvaraju et al. 2017, arXiv 1610.02391). Other
networks, such as vision transformers: integrated gradients of the pixels (Sundararajan et al. 2017, arXiv 1703.01365)
from a photo of the mean colour, averaged over neighbouring pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ger_datasets.support.errors import UserError

from ..backbones import VisionTower
from ..modeling_fusion import GerFusionForImageClassification
from ..modeling_scene import GerSceneForImageClassification
from ..processing_ensemble import GerEnsembleProcessor
from ..processing_ger import GerProcessor
from ..processing_pixels import Preprocessing

SceneModel = GerSceneForImageClassification | GerFusionForImageClassification
STEPS = 16  # of the integral, by the midpoint rule
NEIGHBOURHOOD = 14  # the gradients are averaged over squares of the photo's side divided by this, as a ViT's patches
STRONGEST = 0.7  # opacity of the hottest pixel
DIMMED = 0.45  # brightness of what the model does not see
# colours from cold to hot; their brightness rises, so that they can be told apart without seeing hues
COLOURS = np.array([(40, 11, 84), (159, 42, 99), (229, 92, 48), (252, 165, 10), (252, 255, 164)], np.float64)
NOTE = "the colours show what raised the probability of the predicted class"


def heat_maps(
    model: SceneModel,
    pixel_values: torch.Tensor,
    classes: Sequence[int] | None = None,
    others: Mapping[str, torch.Tensor] | None = None,
) -> np.ndarray:
    """What raised the log-odds of a class: (photos, height, width) float32, from 0 to 1, the hottest pixel 1.

    A map is 0 everywhere where nothing in the photo raised them.

    Args:
        model: in evaluation mode.
        pixel_values: (photos, 3, height, width), as the processor makes them, on the model's device.
        classes: (photos,) whose log-odds are explained; None: the predicted ones.
        others: a fusion model's other inputs, such as its faces, which stay as they are.
    """

    def ask(**inputs: torch.Tensor) -> Any:
        return model(**inputs, **(others or {}))

    if classes is None:
        with torch.no_grad():
            classes = ask(pixel_values=pixel_values).logits.argmax(1).tolist()
    chosen = torch.as_tensor(classes, device=pixel_values.device)
    heat = _grad_cam(_backbone(model), ask, pixel_values, chosen)
    if heat is None:
        heat = _integrated_gradients(ask, pixel_values, chosen)
    heat = heat.clamp(min=0)
    heat = heat / heat.amax((1, 2), keepdim=True).clamp(min=torch.finfo(heat.dtype).tiny)
    return heat.float().cpu().numpy()


def _backbone(model: SceneModel) -> nn.Module:
    return model.scene_backbone if isinstance(model, GerFusionForImageClassification) else model.backbone


def _log_odds(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """(photos,): log of the class's probability over that of all others. Its gradient doesn't vanish where the model
    is certain."""
    own = logits.gather(1, classes[:, None])
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return own[:, 0] - others.logsumexp(1)


def _grad_cam(
    backbone: nn.Module, ask: Callable[..., Any], pixel_values: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor | None:
    """(photos, height, width); None if the backbone does not give a feature map with height and width."""
    if isinstance(backbone, VisionTower):
        return None
    with torch.no_grad():
        maps = backbone.forward_features(pixel_values)  # type: ignore[operator]
    width = backbone.num_features
    if maps.ndim != 4 or width not in (maps.shape[1], maps.shape[3]):
        return None
    axes = (2, 3) if maps.shape[1] == width else (1, 2)  # some networks have the channels last
    maps = maps.detach().requires_grad_()
    with torch.enable_grad():
        logits = ask(image_features=backbone.forward_head(maps)).logits  # type: ignore[operator]
        (gradients,) = torch.autograd.grad(_log_odds(logits, classes).sum(), maps)
    channel = 1 if axes == (2, 3) else 3
    heat = (gradients.mean(axes, keepdim=True) * maps.detach()).sum(channel)  # (photos, rows, columns)
    size = pixel_values.shape[2:]
    return F.interpolate(heat.clamp(min=0)[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _integrated_gradients(ask: Callable[..., Any], pixel_values: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """(photos, height, width): the share of each pixel in the difference to a photo of the mean colour."""
    total = torch.zeros_like(pixel_values)
    for step in range(STEPS):
        mixed = (pixel_values * ((step + 0.5) / STEPS)).requires_grad_()  # 0 is the mean colour
        with torch.enable_grad():
            odds = _log_odds(ask(pixel_values=mixed).logits, classes).sum()
        total += torch.autograd.grad(odds, mixed)[0]
    shares = (total * pixel_values).sum(1, keepdim=True) / STEPS
    side = max(1, min(pixel_values.shape[2:]) // NEIGHBOURHOOD) | 1  # odd, so that a pixel has a middle
    for _ in range(2):
        shares = F.avg_pool2d(shares, side, stride=1, padding=side // 2, count_include_pad=False)
    return shares[:, 0]


class Explainer:
    """Rows -> their photos with a heat map of what drove the model's decision.

    Args:
        name: of the checkpoint, for messages.
        model: a scene model, or a fusion model that looks at the photo: its scene branch is explained.
        processor: its processor.
        device: where the model runs.

    Attributes:
        columns: what a row must have.

    Raises:
        UserError: another kind of model, or one that does not look at the photo.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        processor: GerProcessor | GerEnsembleProcessor,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(model, SceneModel) or not isinstance(processor, GerProcessor):
            raise UserError(
                f"heat maps are for scene models and fusion models, and {name} is a {model.config.model_type}: name "
                "another"
            )
        if "image" not in processor.columns:
            raise UserError(
                f"heat maps are for models that look at the photo, and {name} reads {', '.join(processor.row_columns)}"
            )
        self.model, self.processor, self.device = model.eval().to(device), processor, device
        self.columns = processor.row_columns

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[Image.Image]:
        """The RGB photos, each with the heat map of its predicted class; what the model does not see is dark.

        Raises:
            UserError: the rows lack a column that the model reads.
        """
        try:
            inputs = dict(self.processor(rows).to(self.device))
        except ValueError as error:
            raise UserError(str(error)) from error
        photos = [row["image"] for row in rows]
        maps = heat_maps(self.model, inputs.pop("pixel_values"), others=inputs)
        boxes = [seen_box(self.processor, photo.width, photo.height) for photo in photos]
        return [overlay(photo, heat, box) for photo, heat, box in zip(photos, maps, boxes, strict=True)]


def seen_box(processor: GerProcessor, width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a photo of this size that the model sees in evaluation: x1 y1 x2 y2 in pixels."""
    if processor.preprocessing is not None:
        own = Preprocessing.from_dict(processor.preprocessing)
        whole, share = not own.shorter, own.height / max(own.shorter, 1)
    else:
        whole, share = not processor.keep_aspect, processor.crop_size / processor.resize_shorter
    if whole:
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) * share
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def overlay(photo: Image.Image, heat: np.ndarray, box_xyxy: tuple[float, float, float, float]) -> Image.Image:
    """The photo with a heat map over a part of it and the rest dark.

    Args:
        photo: RGB.
        heat: (rows, columns), from 0 to 1.
        box_xyxy: the part, in pixels of the photo.
    """
    left, top, right, bottom = (round(edge) for edge in box_xyxy)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    pixels = np.asarray(photo.convert("RGB"), np.float64) * DIMMED
    box = (max(left, 0), max(top, 0), min(right, photo.width), min(bottom, photo.height))
    part = photo.convert("RGB").crop(box)
    shown = np.asarray(
        Image.fromarray(heat.astype(np.float32))
        .resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        .crop((box[0] - left, box[1] - top, box[2] - left, box[3] - top)),
        np.float64,
    ).clip(0, 1)  # (rows, columns) of the part
    stops = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(shown, stops, COLOURS[:, channel]) for channel in range(3)], -1)
    opacity = STRONGEST * shown[..., None]
    pixels[box[1] : box[3], box[0] : box[2]] = np.asarray(part, np.float64) * (1 - opacity) + colours * opacity
    return Image.fromarray(pixels.round().astype(np.uint8))
