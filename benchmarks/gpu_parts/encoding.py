"""A ViT-B/16 in transformers' format as encoder of photos, and the starter as encoder of faces, on one device."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from ger_models.encoders.encoders import make_encoder
from ger_models.encoders.vision import CHUNK, VisionEncoder
from ger_models.starter import STARTER_NAME

from .part import Part, speed

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def part_encode(part: Part) -> None:
    """Photos per second of an encoder, of its network alone on a batch on the device, and faces of the starter."""
    paths = sorted((part.work / "raw").rglob("*.jpg"))[: 128 if part.full else 4]
    images = [Image.open(path).convert("RGB") for path in paths]
    folder = part.own / "vit"
    ViTModel(ViTConfig(**({} if part.full else TINY)), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 224, "width": 224}).save_pretrained(folder)
    encoder = make_encoder(f"hf:{folder}", part.device)
    assert isinstance(encoder, VisionEncoder)
    whole = part.measure("encoder", lambda: speed(part.seconds(lambda: encoder.encode(images)), len(images)))
    bare = part.measure("network alone", network_alone, part, encoder)
    if whole and bare:
        part.put("to network alone", round(whole["images_per_second"] / bare["images_per_second"], 3))
    starter = make_encoder(STARTER_NAME, part.device)
    boxes = [[[0, 0, image.width // 2, image.height // 2]] * 8 for image in images]
    part.measure(
        "starter, faces", lambda: speed(part.seconds(lambda: starter.encode_faces(images, boxes)), 8 * len(images))
    )


@torch.inference_mode()
def network_alone(part: Part, encoder: VisionEncoder) -> dict[str, Any]:
    """The forward pass of a whole chunk of pixels that stay on the device, in the encoder's precision."""
    size = CHUNK if part.full else 2
    pixels = torch.zeros(size, 3, 224, 224, device=part.device)

    def forward() -> None:
        with torch.autocast(part.device, torch.bfloat16, enabled=part.device == "cuda"):
            encoder.network(pixels)

    return speed(part.seconds(forward), size)
