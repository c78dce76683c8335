"""How a training uses its machine. Results depend on it by rounding alone, and not from run to run."""

from __future__ import annotations

import torch


def prepare(threads: int | None) -> None:
    """Called once, before anything is computed.

    Args:
        threads: threads that torch may use; ``None`` leaves its own choice.
    """
    if threads:
        torch.set_num_threads(threads)
    _products_by_onednn()


def _products_by_onednn() -> None:
    """Lets oneDNN, which convolves anyway, do the matrix products too.

    On processors of other makers than its own, MKL keeps to AVX2, half of what AVX-512 can do. torch asks oneDNN for
    single-precision products only where it may round to bfloat16. On x86 it does that with AMX alone: without, the
    permission changes who computes and not how exactly, which a test checks.
    """
    if torch.cpu._is_avx512_supported() and not torch.cpu._is_amx_tile_supported():
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
