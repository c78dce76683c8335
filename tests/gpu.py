"""A GPU that is not there: its tensors compute on the CPU, and refuse to be mixed with those of the CPU.

It shows where tensors are, not how fast or exactly a GPU computes. Refused is an operation on tensors of both, but for
copies, indices and scalars where a GPU takes these, and NumPy. Random numbers come from the CPU's generator, so that a
training gives the same numbers as without; a checkpoint holds tensors of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = "cuda:0"
_aten = torch.ops.aten
_COPIES = {_aten.copy_.default, _aten._to_copy.default}
_INDEXED = {_aten.index.Tensor, _aten.index_put_.default, _aten._index_put_impl_.default}
#: Take no scalar of the CPU among tensors of the GPU.
_STRICT = {_aten.cat.default, _aten.stack.default, _aten.index_select.default}


class OnGPU(Tensor):
    """What a tensor on the GPU looks like; ``inner`` is what it is. To torch's own code it is one without numbers."""

    inner: Tensor
    device = property(lambda self: torch.device(GPU))  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = is_meta = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnGPU:
        shown: OnGPU = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device="meta",
        )
        shown.inner = inner
        return shown

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})

    def tolist(self) -> Any:
        """Waits for the GPU."""
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> NoReturn:
        """As torch refuses it."""
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnGPU:
        copied = OnGPU(self.inner.clone()).requires_grad_(self.requires_grad)
        copied.__dict__ |= {"_is_param": True} if isinstance(self, torch.nn.Parameter) else {}
        return copied


def _check(function: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Raises for what a GPU refuses of an operation with a tensor of its own."""
    if function in _COPIES:
        return
    indexed = function in _INDEXED
    owned = indexed or function._schema.is_mutable  # the first tensor says where the result is
    for place, x in enumerate(tree_leaves(((args[0], *args[2:]) if indexed else args, kwargs))):
        stray = isinstance(x, Tensor) and not isinstance(x, OnGPU)
        if stray and (x.ndim or function in _STRICT or (owned and place == 0)):
            raise RuntimeError(f"{function}: expected all tensors to be on the same device, but {x} is on the CPU")


def _computed(function: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    there = any(isinstance(x, OnGPU) for x in tree_leaves((args, kwargs)))
    if there:
        _check(function, args, kwargs)
    on_gpu = there
    if kwargs.get("device") is not None:
        on_gpu = torch.device(kwargs["device"]).type != "cpu"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inside = tree_map_only(OnGPU, lambda x: x.inner, (args, kwargs))
    result = function(*inside[0], **inside[1])
    if function is _aten.copy_.default:
        return args[0]
    if not on_gpu:
        return result
    result = tree_map_only(Tensor, OnGPU, result)
    return return_and_correct_aliasing(function, args, dict(kwargs), result) if there else result


class _Factories(TorchDispatchMode):
    """Makes tensors there where they are asked for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


@contextmanager
def present() -> Iterator[None]:
    """Within, ``device=cuda:0`` works; torch still says that it has no GPU."""
    with pytest.MonkeyPatch.context() as patch, _Factories():
        patch.setattr("dreamspi.building.check_device", lambda name: None)
        patch.setattr("dreamspi.trial.check_device", lambda name: None)
        patch.setattr("dreamspi.check.check_device", lambda name: None)
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "get_rng_state", lambda device: torch.zeros(0))
        patch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
        patch.setattr(Tensor, "pin_memory", lambda self: self)
        yield
