"""Checkpoints and rows -> logits -> the predictions table; the parts of scripts/predict.py."""

from ger_datasets.moved_modules import keep_old_imports

keep_old_imports(__name__)
