"""Who races, how each is started, and what is and is not alike between them."""

from __future__ import annotations

from typing import NamedTuple

from protocol import Work


class Entry(NamedTuple):
    """How to start a contender."""

    script: str
    words: dict[str, str] = {}
    ours: bool = False


ENTRIES = {
    "ppo": {
        "dreamspi": Entry("dreamspi_planner", ours=True),
        "sb3": Entry("sb3_ppo"),
        "torchrl": Entry("torchrl_ppo"),
        "cleanrl-style": Entry("cleanrl_style_ppo"),
        "cleanrl-style-envpool": Entry("cleanrl_style_ppo", {"emulator": "envpool"}),
        "dreamspi-bf16": Entry("dreamspi_planner", {"precision": "bf16"}, ours=True),
        "dreamspi-deepspi": Entry("dreamspi_planner", {"planner": "deepspi"}, ours=True),
        "dreamspi-dreamspi": Entry("dreamspi_planner", {"planner": "dreamspi"}, ours=True),
        "dreamspi-hybrid": Entry("dreamspi_planner", {"planner": "hybrid"}, ours=True),
    },
    "dreams": {
        "dreamspi": Entry("dreamspi_dreams", ours=True),
        "sheeprl": Entry("sheeprl_dreams"),
        "torchrl": Entry("torchrl_dreams"),
    },
}
ENTRIES["imagine"] = {name: entry._replace(words={"phase": "imagine"}) for name, entry in ENTRIES["dreams"].items()}
SETTINGS = (
    "Not alike: DreamSPI keeps freed memory, and on processors that Intel did not make lets oneDNN do torch's matrix "
    "products (`dreamspi/machine.py`), as `dreamspi train` does; the peers run as their libraries leave torch, with "
    "MKL's products everywhere."
)
ATARI = [
    "Alike: game, copies, steps, epochs, minibatches, threads, fp32 (but for dreamspi-bf16), Nature CNN with one dense "
    "layer of 512 under actor and critic (parameters are counted), Adam with its rate and epsilon, clip, weights of "
    "entropy and value, gradient norm; nothing is compiled.",
    "Alike: ALE's vector environment, 84 x 84 grey, 4 frames, frame skip 4, up to 30 no-ops, fire at the start, "
    "rewards clipped, a lost life ends an episode; EnvPool is an emulator of its own with the same options.",
    "Not alike: the peers let ALE clip rewards and begin new games in C++; DreamSPI does both in Python, and keeps raw "
    "scores and the true last observation.",
    "Not alike: DreamSPI measures the policy's ratio over all actions after each update, one more forward pass over "
    "the batch, and writes a row of metrics every 4 iterations; Stable-Baselines3 and TorchRL compute diagnostics of "
    "their own, the CleanRL-style loop computes none.",
    "Not alike: TorchRL's estimator of advantages computes the values of the batch anew; the others keep those that "
    "acting gave.",
    "Not alike: minibatches are made of whole segments of 8 steps in DreamSPI, of single steps elsewhere.",
    "Not alike: deepspi, dreamspi and hybrid, where they race, have DreamSPI's default encoder, which ends in a dense "
    "layer of 128; ppo has the peers'.",
    "Not alike: DreamSPI's Adam is fused and its convolutions are channels-last; the peers' are as their libraries "
    "have them.",
    SETTINGS,
]
MINATAR = [
    "Alike: game, sticky actions, copies, steps, epochs, minibatches, threads, fp32, 16 filters of 3 x 3, dense 128, "
    "dense 512 under actor and critic (parameters are counted), Adam with its rate and epsilon, clip, weights of "
    "entropy and value, gradient norm; nothing is compiled.",
    "Not alike: DreamSPI steps MinAtar in one batched environment, the others step one Gymnasium environment each, the "
    "usual way: Stable-Baselines3 in its DummyVecEnv, the CleanRL-style loop in Gymnasium's SyncVectorEnv.",
    "Not alike: DreamSPI measures the policy's ratio over all actions after each update and writes a row of metrics "
    "every 4 iterations; Stable-Baselines3 computes diagnostics of its own.",
    SETTINGS,
]
DREAMS = [
    "Alike: starts, horizon, memory 256, 16 one-hots of 16 classes, hidden 256, a reward head of 127 bins and a head "
    "of ends with two layers of 128 each, fp32, threads; nothing is compiled.",
    "Nearly alike: parameters, counted over all that a step of the dream evaluates; a contender with fewer has less to "
    "compute, so read a ratio beside the ratio of the counts.",
    "Not alike: the recurrence works in 8 blocks in DreamSPI and TorchRL, and is one dense GRU in SheepRL, which has "
    "more weights.",
    "Not alike: DreamSPI's actor and critic share one layer of 512 and its critic is a number; the peers' have one "
    "layer of 256 each, and their critic has 127 bins. DreamSPI's head of ends also sees the state and the action "
    "before.",
    "Not alike: DreamSPI starts from encoded states of the game, the peers from random latents; no shape and no count "
    "of steps depends on it.",
]
IMAGINE = [
    "One iteration is the dream without learning: actions, next latents, rewards, ends, values and returns. TorchRL's "
    "is the forward pass of its actor loss, which has the policy once more over all states; DreamSPI's also has the "
    "policy that gathered the data over them.",
]
WHOLE = [
    "One iteration is the dream and the learning from it. Not alike: DreamSPI takes one epoch of PPO in 8 minibatches "
    "on actor and critic together; DreamerV3 takes one step of REINFORCE for the actor and one for the critic, which "
    "a slow critic regularizes.",
]


def default(race: str, work: Work) -> list[str]:
    """Who races unless it is said otherwise: one of ours and every peer that plays the game."""
    if race == "ppo" and work.family != "atari":
        return ["dreamspi", "sb3", "cleanrl-style"]
    return [name for name, entry in ENTRIES.get(race, {}).items() if name == "dreamspi" or not entry.ours]


def alike(race: str, work: Work) -> list[str]:
    """What is the same, and what is not, one sentence each."""
    if race == "ppo":
        return ATARI if work.family == "atari" else MINATAR
    return DREAMS + (WHOLE if race == "dreams" else IMAGINE)
