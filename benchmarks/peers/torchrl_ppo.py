"""TorchRL's PPO from its own pieces: ``Collector``, ``GAE``, ``ClipPPOLoss``, on an environment of ALE's vector one.

TorchRL's wrapper for Gymnasium halves the emulator's rate, so the environment is written as its documentation teaches.
Actor and critic share their features: the critic is the value head on the features that the actor has just computed,
the quicker of the two ways that TorchRL offers.
"""

from __future__ import annotations

from typing import Any

import torch
from games import atari
from protocol import (
    ADAM_EPS,
    CLIP,
    DENSE,
    ENTROPY,
    GAMMA,
    LAMBDA,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    VALUE,
    Contender,
    Work,
    count,
    serve,
)
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from tensordict.nn import TensorDictSequential as Sequence
from torch import Tensor, nn
from torch.distributions import Categorical as CategoricalDistribution
from torchrl.collectors import Collector
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase, ExplorationType
from torchrl.modules import ConvNet
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE


class Games(EnvBase):
    """ALE's vector environment as one batched TorchRL environment; ALE itself begins new games."""

    def __init__(self, games: Any) -> None:
        copies = games.num_envs
        super().__init__(device=torch.device("cpu"), batch_size=torch.Size([copies]))
        self.games, self.present = games, torch.zeros(0)
        self.observation_spec = Composite(
            pixels=Bounded(0, 255, shape=(copies, 4, 84, 84), dtype=torch.uint8), shape=(copies,)
        )
        self.action_spec = Categorical(int(games.single_action_space.n), shape=(copies,), dtype=torch.int64)
        self.reward_spec = Unbounded((copies, 1))
        flags = {key: Binary(shape=(copies, 1), dtype=torch.bool) for key in ("done", "terminated", "truncated")}
        self.done_spec = Composite(**flags, shape=(copies,))

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        if tensordict is None or "_reset" not in tensordict.keys():
            self.present = torch.from_numpy(self.games.reset(seed=0)[0])
        return TensorDict({"pixels": self.present}, self.batch_size)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        observed, reward, terminated, truncated, _ = self.games.step(tensordict["action"].numpy())
        self.present = torch.from_numpy(observed)
        terminated, truncated = (torch.from_numpy(flag).unsqueeze(-1) for flag in (terminated, truncated))
        return TensorDict(
            {
                "pixels": self.present,
                "reward": torch.from_numpy(reward).float().unsqueeze(-1),
                "terminated": terminated,
                "truncated": truncated,
                "done": terminated | truncated,
            },
            self.batch_size,
        )

    def _set_seed(self, seed: int | None) -> None:
        del seed


class Features(nn.Module):
    """Nature CNN and a dense layer, of TorchRL's ``ConvNet``, on bytes ``[B, 4, 84, 84]``."""

    def __init__(self, dense: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNet(
                in_features=4,
                num_cells=[32, 64, 64],
                kernel_sizes=[8, 4, 3],
                strides=[4, 2, 1],
                activation_class=nn.ReLU,
            ),
            nn.Linear(64 * 7 * 7, dense),
            nn.ReLU(),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        return self.body(pixels / 255.0)


def build(work: Work) -> Contender:
    """Collector, loss, optimizer, and one iteration as a function."""
    games, dense = Games(atari(work)), DENSE[work.family]
    features = TensorDictModule(Features(dense), ["pixels"], ["features"])
    logits = TensorDictModule(nn.Linear(dense, int(games.action_spec.space.n)), ["features"], ["logits"])
    value_head = TensorDictModule(nn.Linear(dense, 1), ["features"], ["state_value"])
    sampling = ProbabilisticTensorDictModule(
        ["logits"], ["action"], distribution_class=CategoricalDistribution, return_log_prob=True
    )
    actor = ProbabilisticTensorDictSequential(features, logits, sampling)
    critic = Sequence(features, value_head)
    loss = ClipPPOLoss(
        actor,
        value_head,
        clip_epsilon=CLIP,
        entropy_coeff=ENTROPY,
        critic_coeff=VALUE,
        loss_critic_type="l2",
        normalize_advantage=True,
    )
    advantage = GAE(gamma=GAMMA, lmbda=LAMBDA, value_network=critic, shifted=True)
    # The value head lies outside the actor: the loss owns every parameter once.
    parameters = [p for p in loss.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, eps=ADAM_EPS)
    collector = Collector(
        games,
        actor,
        frames_per_batch=work.batch,
        total_frames=-1,
        exploration_type=ExplorationType.RANDOM,
        track_traj_ids=False,
        auto_register_policy_transforms=False,
    )
    batches = iter(collector)

    def iterate() -> None:
        batch = next(batches)
        with torch.no_grad():
            batch = advantage(batch)
        flat = batch.reshape(-1).select(
            "pixels", "action", "action_log_prob", "advantage", "value_target", "state_value", strict=False
        )
        for _ in range(work.epochs):
            for chosen in torch.randperm(work.batch).split(work.minibatch):
                losses = loss(flat[chosen])
                optimizer.zero_grad()
                (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
                nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
                optimizer.step()

    return Contender(iterate, work.batch, count(parameters), ("torchrl", "tensordict", "ale-py"))


if __name__ == "__main__":
    serve(build)
