"""The helpers that all kinds of tests share explain what they assert."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

pytest.register_assert_rewrite("tests.support")


@pytest.fixture(autouse=True)
def _subnormals() -> Iterator[None]:
    """A training in this process took subnormal numbers for zero; Hypothesis refuses to draw floats where that is so."""
    yield
    torch.set_flush_denormal(False)
