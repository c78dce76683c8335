"""Every planner trains with every world model, whatever these are called: a new file is tested by existing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dreamspi.catalogue import options
from dreamspi.training import Training
from tests.runner.support import configured, dreams


@pytest.mark.parametrize("world_model", options("world_model"))
@pytest.mark.parametrize("planner", options("planner"))
def test_every_planner_with_every_model(planner: str, world_model: str, tmp_path: Path) -> None:
    words = [f"planner={planner}", f"world_model={world_model}", "env.max_steps=6", "log_every=1"]
    training = Training(configured(tmp_path, *words))
    training.start()
    before = {name: p.clone() for name, p in training.planner.agent.named_parameters()}
    metrics = [training.iterate() for _ in range(2)]
    assert training.finished
    for row in metrics:
        assert all(math.isfinite(value) for value in row.values())
        assert row["neighborhood/d_inf"] <= 1 <= row["neighborhood/d_sup"]
        assert ("dream/loss_objective" in row) == dreams(planner)
    moved = {name for name, p in training.planner.agent.named_parameters() if not torch.equal(p, before[name])}
    assert any("encoder" in name for name in moved) and any(name.startswith("heads.actor") for name in moved)
    assert training.dream_steps == (2 * 32 * 2 if dreams(planner) else 0)
    training.close()
