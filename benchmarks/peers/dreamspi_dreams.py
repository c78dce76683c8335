"""DreamSPI's dream phase on its ``rssm``: imagined steps from one batch of encoded real states, and PPO on them."""

from protocol import Contender, Work, count, serve

from dreamspi.config import compose
from dreamspi.machine import prepare
from dreamspi.training import Training
from planners.dream import Behavior
from planners.experience import add_advantages

#: Width of the layer that actor and critic share: as wide as the peers' two layers together, for equally many weights.
HEADS = 512


def build(work: Work) -> Contender:
    """The dream phase of a planner ``dreamspi`` that has seen one batch."""
    prepare(work.threads)  # as the command does
    training = Training(
        compose(
            [
                f"env={work.game}",
                "planner=dreamspi",
                "world_model=rssm",
                f"num_envs={work.envs}",
                f"num_steps={work.steps}",
                f"threads={work.threads}",
                *([f"env.num_threads={work.threads}"] if work.family == "atari" else []),
                f"planner.hidden={HEADS}",
                f"planner.dream.horizon={work.horizon}",
                "planner.dream.epochs=1",
                "planner.ground.rehearsal=null",
                "planner.dream.real_value=0",
            ]
        )
    )
    training.start()
    planner, model = training.planner, training.planner.agent.world_model
    batch = add_advantages(training.collection.next(), planner.agent.value, planner.gamma, planner.lmbda)
    start = model.latents(batch).flatten(0, 1).detach()
    behavior = Behavior(planner.behavior_heads, batch["logits"].flatten(0, 1), moved=False)
    training.close()

    def whole() -> None:
        planner.behavior_heads.load_state_dict(planner.agent.heads.state_dict())  # as at the start of an iteration
        planner.dream.run(start, batch, behavior, 0.0)

    def imagine() -> None:
        planner.dream.dream(start, None)

    evaluated = (model.encoder.cell, model.network, model.reward_head, model.termination_head, planner.agent.heads)
    parameters = count(p for part in evaluated for p in part.parameters())
    iterate = {"whole": whole, "imagine": imagine}[work.phase]
    return Contender(iterate, work.batch * work.horizon, parameters, ("dreamspi", "torchrl"))


if __name__ == "__main__":
    serve(build)
