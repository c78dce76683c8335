"""The helpers that all kinds of tests share explain what they assert."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

pytest.register_assert_rewrite("tests.support")


@pytest.fixture(autouse=True)
def _subnormals() -> Iterator[None]:
    """A training in this process takes subnormal numbers for zero, and Hypothesis draws no floats where that is so."""
    yield
    torch.set_flush_denormal(False)
