"""How a check ends: it returns, or it raises ``CheckFailed`` or ``Skipped``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class CheckFailed(AssertionError):
    """What the contract asks for, what came in its place, and where the author of the model should look."""

    def __init__(self, expected: str, got: str, look_at: str) -> None:
        super().__init__(f"expected: {expected}\n     got: {got}\n look at: {look_at}")
        self.expected, self.got, self.look_at = expected, got, look_at


class Skipped(Exception):
    """The check does not apply, or can't be made here; the message says why."""


def expect(condition: object, expected: str, got: object, look_at: str) -> None:
    """Raises ``CheckFailed`` unless ``condition`` holds."""
    if not condition:
        raise CheckFailed(expected, str(got), look_at)


def expect_tensor(value: Any, shape: Sequence[int], dtype: torch.dtype | None, method: str, look_at: str = "") -> None:
    """Raises ``CheckFailed`` unless ``value`` is a finite tensor of this shape and, if given, dtype."""
    wanted = f"{method}: a finite tensor {list(shape)}" + (f" of {dtype}" if dtype else "")
    where = f"{method}. {look_at}".rstrip(" .")
    if not isinstance(value, Tensor):
        raise CheckFailed(wanted, f"a {type(value).__name__}", where)
    right = value.shape == torch.Size(shape) and dtype in (None, value.dtype)
    expect(right, wanted, f"{list(value.shape)} of {value.dtype}", where)
    expect(value.isfinite().all(), wanted, "values that are not finite", where)


def is_torch_s(file: str) -> bool:
    """Whether a file is torch's own, where nobody is to look."""
    return file.startswith(str(Path(torch.__file__).parent))
