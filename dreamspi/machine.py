"""How a training uses its machine. Results depend on it by rounding alone, and not from run to run."""

from __future__ import annotations

import ctypes
import platform
import re
from pathlib import Path

import torch

#: Parameters of glibc's mallopt: where the top of the heap is given back, and how many blocks may lie outside it.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
#: torch's own choice of threads.
_THREADS = torch.get_num_threads()


def prepare(threads: int | None) -> None:
    """Called once, before torch computes anything: threads that it has begun keep their arithmetic.

    Args:
        threads: threads that torch may use; ``None`` for torch's own choice, whatever was set before.
    """
    _without_subnormals()
    torch.set_num_threads(threads or _THREADS)
    torch.backends.cudnn.allow_tf32 = False  # precision=fp32 is what it says; bf16 is there for speed
    _products_by_onednn()
    _keep_memory()


def _without_subnormals() -> None:
    """Takes numbers below the smallest normal one, 1.2e-38 in single precision, for zero.

    The gradients of a model whose heads are sure of themselves are full of them, and some processors take many times
    longer for each: on Atari, where rewards are rare, `dreamspi` took twice its time. The setting is this thread's and
    that of the threads that it begins, so it comes before any work is shared out.
    """
    torch.set_flush_denormal(True)


def _products_by_onednn() -> None:
    """Lets oneDNN, which convolves anyway, do the matrix products too, where MKL is slow.

    On processors of other makers than its own, MKL keeps to AVX2, half of what AVX-512 can do; on its own it is the
    faster of the two where matrices are small, and level elsewhere. torch asks oneDNN for single-precision products
    only where it may round to bfloat16. Where it does round, as with AMX, the permission is taken back: it is to change
    who computes, not how exactly.
    """
    if torch.cpu._is_avx512_supported() and processor("vendor_id") != "GenuineIntel":
        before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
        if not products_are_single():
            torch.backends.mkldnn.matmul.fp32_precision = before  # type: ignore[attr-defined]


def processor(fact: str) -> str:
    """What Linux says of this processor, ``vendor_id`` or ``model name``; empty where it does not."""
    cpu = Path("/proc/cpuinfo")
    found = re.search(rf"{fact}\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    return found[1] if found else ""


def products_are_single(size: int = 256) -> bool:
    """Whether matrix products keep the 24 bits of a single-precision number; bfloat16 has 8."""
    exact = torch.linspace(1, 2, size * size).reshape(size, size)
    return torch.equal(exact @ torch.eye(size), exact)


def emulates_bfloat16(device: str) -> bool:
    """Whether a device has no arithmetic for bfloat16, so that it converts before and after each product."""
    if device != "cpu":
        return False
    if platform.machine() == "x86_64":  # where torch's own answer is whether there is AVX-512
        return not torch.cpu._is_avx512_bf16_supported()
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _keep_memory() -> None:
    """Keeps freed memory for what comes next.

    glibc gives large blocks back to the system at once, and every minibatch takes them again page by page: in Atari,
    whose pictures are large, that is a seventh of the time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
