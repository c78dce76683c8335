"""Updates wait for no GPU: shown on torch's device without numbers, where whoever asks for one gets an error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dreamspi import building
from dreamspi.catalogue import options
from dreamspi.training import Training
from planners.experience import add_advantages
from planners.optimization import Mean, Optimizers
from planners.planner import Planner
from planners.real_returns import real_returns
from tests.runner.support import configured

#: Looks into each state to number it; its use is exactness in small worlds.
TABLES = {"tabular"}


class Crossings(TorchDispatchMode):
    """Counts operations that read or write both the CPU and another device, by what crossed; scalars may, uncopied."""

    def __init__(self) -> None:
        super().__init__()
        self.crossed: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        copies = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor) and (x.ndim or copies)]
        if len({x.device.type for x in tensors}) > 1:
            here = next(x for x in tensors if x.device.type == "cpu")
            self.crossed[f"{function} of {here.ndim}-dimensional {here.dtype}"] += 1
        return result


def absent(run_dir: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Planner, Any]:
    """A planner and a batch with advantages, both on the device without numbers."""
    config = configured(run_dir, *words)
    training = Training(config)
    training.start()
    batch = add_advantages(training.collection.next(), training.planner.agent.value, 0.99, 0.95)
    training.close()
    config.device = "meta"
    monkeypatch.setattr(building, "check_device", lambda name: None)
    planner = building.make_planner(config, training.probe)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)  # torch has none there
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # which what waits may ask
    for owner, method in ((Optimizers, "check"), (Mean, "result")):  # waiting once, at a phase's end
        monkeypatch.setattr(owner, method, lambda self, *_: {})
    return planner, batch.to("meta")


@pytest.mark.parametrize("model", sorted(set(options("world_model")) - TABLES))
def test_an_update_waits_for_nothing_and_sends_nothing_but_indices(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of minibatches, and of what is learnt beside them; as compiled code, and without a guard, which measures."""
    planner, batch = absent(tmp_path, monkeypatch, "planner=dreamspi", f"world_model={model}")
    ground, dream = planner.ground, planner.dream
    assert dream is not None and ground.rehearsal is not None
    with Crossings() as crossings:
        ground.run(batch, 0.0)
        latent = planner.agent.world_model.latents(batch).flatten(0, 1).detach()
        dreamt = dream.dream(latent, planner.behavior_heads)
        real = real_returns(latent, latent, batch, 0.99)
        for losses in dream.losses(dreamt.select(*dream.loss.in_keys), real):
            dream.optimizers.step(losses)
    updates = 2 * (ground.epochs * ground.minibatches + dream.epochs * dream.minibatches)
    stored = 2  # what is newly kept for rehearsal, and where
    assert crossings.crossed == {"aten._to_copy.default of 1-dimensional torch.int64": updates + stored}


def test_a_gpu_dreams_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces fit a processor's cache; and the next replay of a CUDA graph overwrites what the one before gave."""
    planner, batch = absent(tmp_path, monkeypatch, "planner=dreamspi")
    dream, latent = planner.dream, planner.agent.world_model.latents(batch).flatten(0, 1).detach()
    assert dream is not None
    monkeypatch.setattr("planners.dream.CHUNK", 2 * math.prod(latent.shape[1:]))
    pieces: list[int] = []
    walk = dream.imagine

    def counted(*args: Any, latent: Tensor, **keys: Any) -> Any:
        pieces.append(len(latent))
        return walk(*args, latent=latent, **keys)

    dream.imagine = counted
    dream.dream(latent, None)
    assert pieces == [len(latent)]
