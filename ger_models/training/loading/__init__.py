"""Prepared datasets -> batches for training."""
