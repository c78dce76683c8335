"""The generators of a process: seeded at once, and restored on a machine with other devices."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from dreamspi.generators import Generators, seed_everything


def draws() -> tuple[float, ...]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_one_seed_for_all_of_them() -> None:
    seed_everything(3)
    first = draws()
    assert draws() != first
    seed_everything(3)
    assert draws() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


@pytest.mark.parametrize("gpus", [1, 8])
def test_a_run_goes_on_where_there_are_fewer_gpus(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of a GPU that is not here is left out; that of one that is, is restored."""
    state = Generators().state_dict() | {"torch_cuda": [torch.full((4,), i, dtype=torch.uint8) for i in range(gpus)]}
    expected = draws()
    Generators().load_state_dict(state)  # this machine has none, or TorchRL would ask for all of them
    assert draws() == expected
    assert len(state["torch_cuda"]) == gpus
    restored: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    Generators().load_state_dict(state)
    assert [int(each[0]) for each in restored] == list(range(min(gpus, 2)))
    assert draws() == expected
