"""What the world model tests share: every YAML, every kind of observation, and how to build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf
from torchrl.data import Binary, Bounded, TensorSpec, Unbounded

from world_models.contract import WorldModel

CONFIGS = Path(__file__).parents[2] / "configs" / "world_model"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
ACTIONS = 3


def observation_spec(kind: str) -> TensorSpec:
    """Spec of one observation of a kind: ``image``, ``minatar``, ``flat`` or ``cells``."""
    return {
        "image": Bounded(0, 255, (1, 84, 84), dtype=torch.uint8),
        "minatar": Binary(shape=(4, 10, 10), dtype=torch.uint8),
        "flat": Unbounded((4,)),
        "cells": Bounded(0, 255, (1, 5, 8), dtype=torch.uint8),
    }[kind]


def observations(spec: TensorSpec, *batch: int) -> torch.Tensor:
    """Random observations ``[*batch, *shape]``."""
    return spec.expand(*batch, *spec.shape).rand() if batch else spec.rand()


def build(name: str, spec: TensorSpec, seed: int = 0, **overrides: Any) -> WorldModel:
    """The world model of ``configs/world_model/<name>.yaml``, as the command line would build it."""
    torch.manual_seed(seed)
    tree = OmegaConf.create({"env": {"encoder": "auto"}, "world_model": OmegaConf.load(CONFIGS / f"{name}.yaml")})
    tree = OmegaConf.merge(tree, {"world_model": overrides})
    # A spec is a dataclass, which Hydra would take for configuration: hence the partial.
    return hydra.utils.instantiate(tree.world_model, _partial_=True)(observation_spec=spec, num_actions=ACTIONS)
