"""What the world model tests share: every YAML, every kind of observation, and how to build."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from torchrl.data import Bounded, OneHot, TensorSpec

from world_models.checks.observations import KINDS, draw
from world_models.contract import WorldModel

CONFIGS = Path(__file__).parents[2] / "configs" / "world_model"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
ACTIONS = 3
observations = draw


def observation_spec(kind: str) -> TensorSpec:
    """Spec of one observation of a kind: one of ``KINDS``, ``cells`` or ``one_hot``."""
    more = {"cells": Bounded(0, 255, (1, 5, 8), dtype=torch.uint8), "one_hot": OneHot(4, dtype=torch.float32)}
    return (KINDS | more)[kind]


@cache
def _composed(*words: str) -> DictConfig:
    with hydra.initialize_config_dir(str(CONFIGS.parent), version_base=None):
        return hydra.compose("config", list(words))


def unseeded(
    name: str, spec: TensorSpec, num_actions: int = ACTIONS, words: Sequence[str] = (), **overrides: Any
) -> WorldModel:
    """The world model of ``configs/world_model/<name>.yaml``, as the command line would build it with more words."""
    composed = _composed(f"world_model={name}", *words)
    # Of the two latents that a large picture may have, the map is the harder one for what comes after.
    tree = OmegaConf.create({"env": {"encoder": "feature_map"}, "world_model": composed.world_model})
    OmegaConf.set_struct(tree, False)
    tree = OmegaConf.merge(tree, {"world_model": overrides})
    # A spec is a dataclass, which Hydra would take for configuration: hence the partial.
    return hydra.utils.instantiate(tree.world_model, _partial_=True)(observation_spec=spec, num_actions=num_actions)


def build(name: str, spec: TensorSpec, seed: int = 0, **overrides: Any) -> WorldModel:
    """``unseeded`` after a seed."""
    torch.manual_seed(seed)
    return unseeded(name, spec, **overrides)
