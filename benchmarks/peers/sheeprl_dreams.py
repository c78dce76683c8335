"""SheepRL's DreamerV3: its behaviour learning, on a model of the sizes of DreamSPI's ``rssm`` (its XS, smaller)."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import sheeprl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.fabric import Fabric
from omegaconf import OmegaConf
from protocol import Contender, Work, count, serve
from sheeprl.algos.dreamer_v3.agent import build_agent
from sheeprl.algos.dreamer_v3.dreamer_v3 import behaviour_learning, imagine
from sheeprl.algos.dreamer_v3.utils import Moments
from sheeprl.utils.utils import dotdict

#: DreamSPI's sizes; the two-hot bins of reward and critic are counted alike.
SIZES = [
    "algo=dreamer_v3_XS",
    "algo.dense_units=256",
    "algo.mlp_layers=1",
    "algo.world_model.discrete_size=16",
    "algo.world_model.stochastic_size=16",
    "algo.world_model.recurrent_model.recurrent_state_size=256",
    "algo.world_model.recurrent_model.dense_units=256",
    "algo.world_model.transition_model.hidden_size=256",
    "algo.world_model.reward_model.dense_units=128",
    "algo.world_model.reward_model.mlp_layers=2",
    "algo.world_model.reward_model.bins=127",
    "algo.world_model.discount_model.dense_units=128",
    "algo.world_model.discount_model.mlp_layers=2",
    "algo.critic.bins=127",
]
#: Actions of Pong, as DreamSPI has them.
ACTIONS = 6


def build(work: Work) -> Contender:
    """Its agent, set up with its Fabric, and one behaviour learning as a function."""
    with initialize_config_dir(str(Path(sheeprl.__file__).parent / "configs"), version_base="1.3"):
        composed = compose(
            "config",
            ["exp=dreamer_v3", *SIZES, f"algo.horizon={work.horizon}", "env.num_envs=1", "env.screen_size=64"],
        )
    cfg = dotdict({"algo": resolved(composed, "algo"), "distribution": resolved(composed, "distribution")})
    cfg["env"] = dotdict({"num_envs": 1, "screen_size": 64})
    fabric = Fabric(accelerator="cpu", devices=1)
    pictures = gymnasium.spaces.Dict({"rgb": gymnasium.spaces.Box(0, 255, (1, 64, 64), dtype=np.uint8)})
    model, actor, critic, slow_critic, _ = build_agent(fabric, (ACTIONS,), False, cfg, pictures)
    optimizers = [
        fabric.setup_optimizers(instantiate(part.optimizer, params=module.parameters(), _convert_="all"))
        for part, module in ((cfg.algo.actor, actor), (cfg.algo.critic, critic))
    ]
    settings = cfg.algo.actor.moments
    moments = Moments(settings.decay, settings.max, settings.percentile.low, settings.percentile.high)
    torch.set_num_threads(work.threads)
    sizes = cfg.algo.world_model
    stochastic = torch.eye(sizes.discrete_size)[
        torch.randint(sizes.discrete_size, (work.steps, work.envs, sizes.stochastic_size))
    ]
    memory = torch.randn(work.steps, work.envs, sizes.recurrent_model.recurrent_state_size).tanh()
    terminated = torch.zeros(work.steps, work.envs, 1)

    def whole() -> None:
        behaviour_learning(
            fabric,
            cfg,
            model,
            actor,
            critic,
            slow_critic,
            *optimizers,
            moments,
            stochastic,
            memory,
            terminated,
            False,
            (ACTIONS,),
        )

    @torch.no_grad()
    def imagination() -> None:
        imagine(
            model,
            actor,
            critic,
            stochastic,
            memory,
            terminated,
            horizon=work.horizon,
            gamma=cfg.algo.gamma,
            lmbda=cfg.algo.lmbda,
        )

    evaluated = (
        model.rssm.recurrent_model,
        model.rssm.transition_model,
        model.reward_model,
        model.continue_model,
        actor,
        critic,
    )
    parameters = count(p for part in evaluated for p in part.parameters())
    iterate = {"whole": whole, "imagine": imagination}[work.phase]
    return Contender(iterate, work.batch * work.horizon, parameters, ("sheeprl", "lightning"))


def resolved(composed: OmegaConf, key: str) -> dotdict:
    """A section of its configuration, in the form that its functions take."""
    return dotdict(OmegaConf.to_container(composed[key], resolve=True))


if __name__ == "__main__":
    serve(build)
