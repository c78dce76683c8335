"""TorchRL's DreamerV3: its actor and value losses over its imagination environment, at the sizes of our ``rssm``."""

from __future__ import annotations

import torch
from protocol import Contender, Work, count, serve
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torchrl.data import Composite, OneHot, Unbounded
from torchrl.envs import DreamerEnv
from torchrl.modules import DreamerV3DiscreteActor, DreamerV3MLP, SymExpTwoHot, WorldModelWrapper
from torchrl.modules.models.model_based import RSSMPriorV3
from torchrl.objectives import DreamerV3ActorLoss, DreamerV3ValueLoss, SoftUpdate
from torchrl.objectives.utils import ValueEstimators

VARIABLES, CLASSES, MEMORY, HIDDEN = 16, 16, 256, 256
HEAD, BINS = 128, 127
#: Actions of Pong, as DreamSPI has them.
ACTIONS = 6


class TwoHot(nn.Module):
    """A two-hot head: its value and its logits."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.logits = DreamerV3MLP(VARIABLES * CLASSES + MEMORY, BINS, depth=depth, num_cells=width, outscale=0.0)
        self.decode = SymExpTwoHot(BINS)

    def forward(self, state: Tensor, belief: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(state, belief)
        return self.decode(logits), logits


class Continuation(nn.Module):
    """Probability that an episode goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = DreamerV3MLP(VARIABLES * CLASSES + MEMORY, 1, depth=2, num_cells=HEAD)

    def forward(self, state: Tensor, belief: Tensor) -> Tensor:
        return self.logit(state, belief).sigmoid()


class Imagination(DreamerEnv):
    """TorchRL's imagination environment, told its specs, as there is no real one to take them from."""

    def __init__(self, model: nn.Module, starts: int) -> None:
        super().__init__(
            model, torch.Size([VARIABLES * CLASSES]), torch.Size([MEMORY]), batch_size=torch.Size([starts])
        )
        state, belief = Unbounded((starts, VARIABLES * CLASSES)), Unbounded((starts, MEMORY))
        self.observation_spec = Composite(state=state, belief=belief, shape=(starts,))
        self.state_spec = self.observation_spec.clone()
        self.action_spec = OneHot(ACTIONS, shape=(starts, ACTIONS), dtype=torch.float32)
        self.reward_spec = Unbounded((starts, 1))


def build(work: Work) -> Contender:
    """Its modules and losses, and one behaviour learning as a function."""
    latent = ["state", "belief"]
    prior = RSSMPriorV3(
        action_shape=(ACTIONS,),
        hidden_dim=HIDDEN,
        rnn_hidden_dim=MEMORY,
        num_categoricals=VARIABLES,
        num_classes=CLASSES,
        action_dim=ACTIONS,
        recurrent_model="block_gru",
        prior_num_layers=1,
        unimix=0.01,
    )
    transition = TensorDictModule(prior, [*latent, "action"], ["_", *latent])
    reward = TensorDictModule(TwoHot(2, HEAD), latent, ["reward", "reward_logits"])
    going_on = TensorDictModule(Continuation(), latent, ["continuation"])
    actor = DreamerV3DiscreteActor(VARIABLES * CLASSES + MEMORY, ACTIONS, depth=1, num_cells=HIDDEN)
    critic = TensorDictModule(TwoHot(1, HIDDEN), latent, ["state_value", "state_value_logits"])
    games = Imagination(WorldModelWrapper(TensorDictSequential(transition), reward), work.batch)
    actor_loss = DreamerV3ActorLoss(
        actor, critic, games, continuation_model=going_on, imagination_horizon=work.horizon, use_reinforce=True
    )
    actor_loss.make_value_estimator(ValueEstimators.TDLambda, gamma=0.997, lmbda=0.95)
    critic_loss = DreamerV3ValueLoss(
        critic, value_loss="two_hot", num_value_bins=BINS, actor_loss=actor_loss, slow_critic_regularization=1.0
    )
    slow_critic = SoftUpdate(critic_loss, tau=0.02)
    trained = [list(actor.parameters()), [p for p in critic_loss.parameters() if p.requires_grad]]
    optimizers = [torch.optim.Adam(parameters, lr=3e-5, eps=1e-5, fused=True) for parameters in trained]
    one_hots = torch.eye(CLASSES)[torch.randint(CLASSES, (work.batch, VARIABLES))].flatten(1)
    start = TensorDict({"state": one_hots, "belief": torch.randn(work.batch, MEMORY).tanh()}, [work.batch])

    def step(losses: TensorDict, key: str, which: int) -> None:
        optimizers[which].zero_grad()
        losses[key].backward()
        nn.utils.clip_grad_norm_(trained[which], 100.0)
        optimizers[which].step()

    def whole() -> None:
        losses, dream = actor_loss(start)
        step(losses, "loss_actor", 0)
        step(critic_loss(dream)[0], "loss_value", 1)
        slow_critic.step()

    @torch.no_grad()
    def imagine() -> None:
        actor_loss(start)

    evaluated = (prior, reward, going_on, actor, critic)
    parameters = count(p for part in evaluated for p in part.parameters())
    iterate = {"whole": whole, "imagine": imagine}[work.phase]
    return Contender(iterate, work.batch * work.horizon, parameters, ("torchrl", "tensordict"))


if __name__ == "__main__":
    serve(build)
