"""DreamSPI: the objects of ``dreamspi train`` themselves, iteration by iteration, with its default logging."""

from protocol import DENSE, Contender, Work, count, serve

from dreamspi.config import compose
from dreamspi.machine import prepare
from dreamspi.training import Training


def build(work: Work) -> Contender:
    """A training of ``work.planner``."""
    words = [
        f"env={work.game}",
        f"planner={work.planner}",
        f"num_envs={work.envs}",
        f"num_steps={work.steps}",
        f"planner.hidden={DENSE[work.family]}",
        f"planner.ground.epochs={work.epochs}",
        f"planner.ground.minibatches={work.minibatches}",
        f"threads={work.threads}",
        f"precision={work.precision}",
        "total_steps=10_000_000",
    ]
    if work.family == "atari":
        words.append(f"env.num_threads={work.threads}")
        words += ["env.encoder=nature_cnn"] if work.planner == "ppo" else []  # the peers' network, not our default
    prepare(work.threads)  # as the command does
    training = Training(compose(words))
    training.start()
    planner = training.planner
    phases = [planner.ground, *([] if planner.dream is None else [planner.dream])]
    trained = {p for phase in phases for role in phase.optimizers.roles for p in planner.agent.parameters_of(role)}
    return Contender(training.iterate, work.batch, count(trained), ("dreamspi", "torchrl", "ale-py"))


if __name__ == "__main__":
    serve(build)
