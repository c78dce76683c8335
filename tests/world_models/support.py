"""What the world model tests share: every YAML, every kind of observation, and how to build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from torchrl.data import Binary, Bounded, Categorical, OneHot, TensorSpec, Unbounded

from world_models.contract import Unsuited, WorldModel

CONFIGS = Path(__file__).parents[2] / "configs" / "world_model"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
ACTIONS = 3
#: Kinds of observation that every model is tried on; it may refuse some (``Unsuited``), not all.
KINDS = ("image", "minatar", "flat", "number")
#: Distinct observations that are drawn from, where they are not floats: worlds repeat themselves, tables end.
DISTINCT = 12


def observation_spec(kind: str) -> TensorSpec:
    """Spec of one observation of a kind: one of ``KINDS``, ``cells`` or ``one_hot``."""
    return {
        "image": Bounded(0, 255, (1, 84, 84), dtype=torch.uint8),
        "minatar": Binary(shape=(4, 10, 10), dtype=torch.uint8),
        "flat": Unbounded((4,)),
        "number": Categorical(DISTINCT, shape=()),
        "cells": Bounded(0, 255, (1, 5, 8), dtype=torch.uint8),
        "one_hot": OneHot(4, dtype=torch.float32),
    }[kind]


def observations(spec: TensorSpec, *batch: int) -> torch.Tensor:
    """Random observations ``[*batch, *shape]``."""
    if spec.dtype.is_floating_point:
        return spec.expand(*batch, *spec.shape).rand()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pool = spec.expand(DISTINCT, *spec.shape).rand()
    return pool[torch.randint(DISTINCT, batch)]


def build(name: str, spec: TensorSpec, seed: int = 0, **overrides: Any) -> WorldModel:
    """The world model of ``configs/world_model/<name>.yaml``, as the command line would build it."""
    torch.manual_seed(seed)
    tree = OmegaConf.create({"env": {"encoder": "auto"}, "world_model": OmegaConf.load(CONFIGS / f"{name}.yaml")})
    tree = OmegaConf.merge(tree, {"world_model": overrides})
    # A spec is a dataclass, which Hydra would take for configuration: hence the partial.
    return hydra.utils.instantiate(tree.world_model, _partial_=True)(observation_spec=spec, num_actions=ACTIONS)


def build_or_skip(name: str, spec: TensorSpec, seed: int = 0) -> WorldModel:
    """``build``, or a skipped test where the model can't take such observations."""
    try:
        return build(name, spec, seed)
    except Unsuited as error:
        pytest.skip(f"{name} {error}")


def build_for_any(name: str, *kinds: str) -> WorldModel:
    """The model for the first of these kinds that it takes."""
    for kind in kinds[:-1]:
        try:
            return build(name, observation_spec(kind))
        except Unsuited:
            pass
    return build(name, observation_spec(kinds[-1]))
