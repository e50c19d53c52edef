"""What a user's mistake must lead to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from ger_datasets.support.errors import UserError


@contextmanager
def refused(words: Sequence[str]) -> Iterator[None]:
    """Within, a UserError is raised, of one line, with all of `words` in it."""
    with pytest.raises(UserError) as error:
        yield
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
