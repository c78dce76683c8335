"""What the files of presets and loggers set is what is meant, and can be built."""

from __future__ import annotations

import inspect
from contextlib import closing
from typing import Any

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from dreamspi.catalogue import options
from dreamspi.config import compose
from dreamspi.training import Training

#: The settings of the Deep SPI paper: of all its planners, of those with a model, of those that dream.
PAPER: dict[str, Any] = {
    "choices.world_model": "mixture_paper",
    "num_envs": 128,
    "num_steps": 8,
    "gamma": 0.99,
    "planner.C": 1.1,
    "planner.neighborhood": "clip",
    "planner.lmbda": 0.95,
    "planner.hidden": 512,
    "planner.heads._target_": "planners.heads.Heads",
    "planner.value_scale._target_": "planners.value_scale.Reward",
    "planner.ground.epochs": 4,
    "planner.ground.minibatches": 4,
    "planner.ground.value": 0.5,
    "planner.ground.entropy": 0.01,
    "planner.ground.clone": 0.0,
    "planner.ground.rehearsal": None,
    "planner.ground.optimizers.policy.lr": 2.5e-4,
    "planner.ground.optimizers.policy.eps": 1e-5,
    "planner.ground.optimizers.policy.max_grad_norm": 0.5,
    "planner.ground.optimizers.policy.final_lr": 0.0,
}
MODEL = PAPER | {
    "planner.ground.utility._target_": "planners.utility.Unified",
    "planner.ground.utility.alpha_R": 0.01,
    "planner.ground.utility.alpha_P": 5e-4,
    "planner.ground.optimizers.policy.roles": ["encoder", "heads", "model"],
    "planner.ground.optimizers.model": None,
}
DREAM = MODEL | {
    "planner.dream.horizon": 8,
    "planner.dream.ends": "sampled",
    "planner.dream.repeats": 1,
    "planner.dream.epochs": 1,
    "planner.dream.minibatches": 32,
    "planner.dream.bound": "dreamer",
    "planner.dream.pessimism": 0.0,
    "planner.dream.trust._target_": "planners.trust.Full",
    "planner.dream.veto": False,
    "planner.dream.value": 0.5,
    "planner.dream.real_value": 0.0,
    "planner.dream.entropy": 0.01,
    "planner.dream.optimizers.heads.lr": 2.75e-5,
    "planner.dream.optimizers.heads.eps": 1e-5,
    "planner.dream.optimizers.heads.max_grad_norm": 0.5,
    "planner.dream.optimizers.heads.final_lr": 0.0,
}
SETTINGS = {
    "ppo": PAPER | {"planner.ground.optimizers.policy.roles": ["encoder", "heads"], "planner.dream": None},
    "deepmdp": MODEL | {"planner.ground.utility._target_": "planners.utility.Auxiliary", "planner.dream": None},
    "deepspi": MODEL | {"planner.dream": None},
    "deepspi_replay": MODEL | {"planner.dream": None, "planner.ground._target_": "planners.replay.ReplayGround"},
    "dreamspi": DREAM
    | {
        "planner.ground.optimizers.policy.roles": ["encoder", "model"],
        "planner.ground.optimizers.policy.lr": 2e-4,
    },
    "hybrid": DREAM,
}


@pytest.mark.parametrize("preset", options("experiment"))
def test_every_preset_can_be_built(preset: str) -> None:
    with closing(Training(compose([f"experiment={preset}"]))) as training:
        assert training.cfg.choices.experiment == preset


@pytest.mark.parametrize("planner", options("planner"))
@pytest.mark.parametrize("env", ["maze", "atari/Pong"])
def test_the_papers_settings(planner: str, env: str) -> None:
    """Whatever an environment suggests."""
    config = compose([f"experiment=paper_{planner}", f"env={env}"])
    assert config.choices.planner == planner
    assert {key: OmegaConf.select(config, key) for key in SETTINGS[planner]} == SETTINGS[planner]


@pytest.mark.parametrize("logger", [name for name in options("logger") if name != "none"])
def test_every_key_of_a_logger_is_an_argument_of_it(logger: str) -> None:
    """Not one of those that it would pass on to a package, which may be installed nowhere here."""
    keys = compose([f"logger={logger}"]).logger
    assert set(keys) - {"_target_"} <= set(inspect.signature(get_class(keys["_target_"]).__init__).parameters)
