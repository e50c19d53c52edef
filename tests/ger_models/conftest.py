"""What the tests of the models share: a garbage collector that does not look at the imported libraries again."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> None:
    """Each training ends with a full collection, which takes half a second with all that the tests have imported."""
    gc.collect()
    gc.freeze()
