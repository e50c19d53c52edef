"""Encoders: photos or faces -> vectors, each with its own preprocessing. `ENCODERS` is the table of their kinds."""

from .encoders import ENCODERS, make_encoder

__all__ = ["ENCODERS", "make_encoder"]
