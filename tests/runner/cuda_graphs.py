"""A backend of torch.compile for the CPU with that rule of CUDA graphs that a program can break.

A graph is replayed in the same memory: what it gave before is gone. As torch has it, replays begin anew where a
compiled function is called from outside, unless a forward pass before it still waits for the first backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.mutation_guard import GenerationTracker
from torch.fx import GraphModule


class Graphs:
    """All of a process, as they share their memory.

    Attributes:
        replays: calls that began anew.
    """

    def __init__(self) -> None:
        self.given: list[Tensor] = []
        self.replays = 0
        self.pending = False
        self.call = 0
        self.backend = aot_autograd(
            fw_compiler=partial(self._recorded, pending=True),
            bw_compiler=partial(self._recorded, pending=False),
            inference_compiler=partial(self._recorded, pending=False),
        )

    def _recorded(self, graph: GraphModule, _: Sequence[Any], pending: bool) -> Callable[..., Any]:
        def replay(*inputs: Any) -> Any:
            if GenerationTracker.generation != self.call and not self.pending:
                self._overwrite()
            self.call = GenerationTracker.generation
            self.pending = pending
            results = graph(*inputs)
            kept = {x.untyped_storage().data_ptr() for x in inputs if isinstance(x, Tensor)}
            fresh = (x for x in results if isinstance(x, Tensor))
            self.given += [x.detach() for x in fresh if x.untyped_storage().data_ptr() not in kept]
            return results

        return replay

    def _overwrite(self) -> None:
        for tensor in self.given:
            tensor.fill_(torch.nan if tensor.is_floating_point() else 0)
        self.given.clear()
        self.replays += 1
