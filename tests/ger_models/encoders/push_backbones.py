"""Pushes a scene model with each kind of backbone to the Hub that the environment names, and loads it back.

Prints one line of JSON: backbone -> whether logits and all buffers, those that no checkpoint holds included, are the
same after saving and loading, and after pushing and loading; and whether logits from an encoder's vectors are too.
"""

import json
from pathlib import Path

import torch
from test_encoders import FAMILIES, photos
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ger_models import GerProcessor, GerSceneConfig, GerSceneForImageClassification
from ger_models.backbones import VisionTower, data_settings, load_tower
from ger_models.encoders import make_encoder

TIMM = ("test_vit", "test_resnet", "test_vit_relpos", "test_maxvit", "eva02_tiny_patch14_224")
LABELS = {0: "Negative", 1: "Neutral", 2: "Positive"}
images = photos((300, 200), (180, 400))


def of_transformers(family: str) -> tuple[GerSceneForImageClassification, GerProcessor]:
    model, processor = FAMILIES[family]()
    Path(family).mkdir()
    model.save_pretrained(family)
    processor.save_pretrained(family)
    tower, preprocessing, _ = load_tower(family)
    config = GerSceneConfig(backbone=f"hf:{family}", backbone_config=tower.fields, id2label=LABELS)
    scene = GerSceneForImageClassification(config)
    scene.backbone.load_state_dict(tower.state_dict())
    return scene, GerProcessor(preprocessing=preprocessing.to_dict())


def of_timm(name: str) -> tuple[GerSceneForImageClassification, GerProcessor]:
    scene = GerSceneForImageClassification(GerSceneConfig(backbone=name, id2label=LABELS))
    return scene, GerProcessor(**data_settings(scene.backbone))


@torch.no_grad()
def same(model: torch.nn.Module, processor: GerProcessor, place: str) -> bool:
    again = AutoModelForImageClassification.from_pretrained(place).eval()
    inputs = AutoImageProcessor.from_pretrained(place)(images)
    buffers = dict(again.named_buffers())
    whole = all(torch.equal(buffers[name], buffer) for name, buffer in model.named_buffers())
    return whole and torch.allclose(again(**inputs).logits, model(**processor(images)).logits, atol=1e-5)


found = {}
for name in (*FAMILIES, *TIMM):
    torch.manual_seed(0)
    model, processor = of_transformers(name) if name in FAMILIES else of_timm(name)
    torch.nn.init.normal_(model.head.weight)
    model.eval().save_pretrained(f"saved/{name}")
    processor.save_pretrained(f"saved/{name}")
    checks = [same(model, processor, f"saved/{name}")]
    loaded = AutoModelForImageClassification.from_pretrained(f"saved/{name}").eval()
    loaded.push_to_hub(f"me/{name}", private=True)
    processor.push_to_hub(f"me/{name}", private=True)
    checks.append(same(model, processor, f"me/{name}"))
    vectors = torch.from_numpy(make_encoder(f"me/{name}").encode(images))
    with torch.no_grad():
        from_vectors, from_photos = model(image_features=vectors).logits, model(**processor(images)).logits
    checks.append(torch.allclose(from_vectors, from_photos, atol=1e-4))
    checks.append(isinstance(loaded.backbone, VisionTower) == (name in FAMILIES))
    checks.append(from_photos.std(0).max().item() > 1e-4)  # the photos differ
    found[name] = checks

print(json.dumps(found))
