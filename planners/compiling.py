"""What torch is told before it compiles; it holds for the whole process."""

from __future__ import annotations

from typing import Any

import torch
import torch._functorch.config
import torch.utils.deterministic


def prepare_compiler(device: torch.device) -> dict[str, Any]:
    """Called before the first loss or dream is compiled; returns the options that ``torch.compile`` is to have.

    For gradients no view is then kept but what it shows: a relu's output, and not beside it flags of its zeros, which
    compiled code for CPUs writes one by one. And on a CPU the same seed gives the same result, as uncompiled: several
    threads of compiled code add to one number, an embedding's gradient, in any order unless told not to.

    On a GPU what is compiled is recorded as CUDA graphs: many small kernels take longer to start than to run.
    """
    torch._functorch.config.recompute_views = True
    if device.type == "cpu":
        # None of the memory that this would fill is read.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(True, warn_only=True)
        return {}
    return {"mode": "reduce-overhead"}
