"""The dream as a TorchRL environment: its contract, and that it is the walk of the direct loop."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torchrl.envs.utils import check_env_specs

from planners.agent import Agent
from planners.dream_env import DreamEnv
from planners.imagination import imagine
from tests.planners.dream_phase import starts
from tests.planners.linear_model import LinearModel


def test_the_loop_is_the_torchrl_environment() -> None:
    """Up to each dream's end: then the loop is absorbed, and the environment starts that dream again."""
    torch.manual_seed(0)
    agent = Agent(LinearModel(ends=0.4), hidden=8)
    start, policy = starts(agent), agent.policy()[1]

    def act(tensordict: TensorDict) -> TensorDict:
        tensordict["logits"] = agent.heads(tensordict["latent"]).logits
        return policy(tensordict)

    env = DreamEnv(agent.world_model, start)
    torch.manual_seed(11)
    with torch.no_grad():
        rollout = env.rollout(4, act, break_when_any_done=False)
    torch.manual_seed(11)
    dream = imagine(agent.world_model, agent.heads, start, 4)
    alive = dream["alive"].bool()
    assert not alive.all()
    for key in ("latent", "action", ("next", "latent"), ("next", "reward"), ("next", "terminated")):
        torch.testing.assert_close(rollout[key][alive], dream[key][alive])
    after = rollout["next"]
    assert torch.equal(after["done"], after["terminated"])
    expected = torch.where(after["terminated"], start.unsqueeze(1), after["latent"])
    torch.testing.assert_close(rollout["latent"][:, 1:], expected[:, :-1])


def test_only_the_dreams_that_are_reset_start_again(agent: Agent) -> None:
    env = DreamEnv(agent.world_model, starts(agent))
    latent, ended = torch.randn_like(env.start), (torch.arange(len(env.start)) % 3 == 0).unsqueeze(-1)
    state = {"latent": latent, "done": ended, "terminated": ended, "_reset": ended}
    reset = env.reset(TensorDict(state, len(latent)))
    assert torch.equal(reset["latent"], torch.where(ended, env.start, latent))
    assert not reset["done"].any() and not reset["terminated"].any()


def test_the_environment_keeps_torchrls_contract(agent: Agent) -> None:
    check_env_specs(DreamEnv(agent.world_model, starts(agent)))
