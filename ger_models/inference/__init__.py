"""Checkpoints and rows -> logits -> the predictions table; the parts of scripts/predict.py."""
