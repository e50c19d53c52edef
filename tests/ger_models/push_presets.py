"""Pushes every preset at a tiny size to the Hub that the environment names, loads it back and compares the logits.

Prints one line of JSON: preset -> whether the logits are equal.
"""

import json

import torch
from test_presets import PRESETS, rows, tiny
from transformers import AutoImageProcessor, AutoModelForImageClassification

photos, equal = rows([2, 0, 3]), {}
for name in PRESETS:
    model, processor = tiny(name)
    model.eval().push_to_hub(f"me/{name}", private=True)
    processor.push_to_hub(f"me/{name}", private=True)
    again = AutoModelForImageClassification.from_pretrained(f"me/{name}").eval()
    inputs = AutoImageProcessor.from_pretrained(f"me/{name}")(photos)
    with torch.no_grad():
        equal[name] = torch.equal(again(**inputs).logits, model(**processor(photos)).logits)
print(json.dumps(equal))
