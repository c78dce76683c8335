"""What a recurrent policy carries from step to step, kept where TorchRL keeps such things: in the environment."""

from __future__ import annotations

from torchrl.data import TensorSpec
from torchrl.envs import EnvBase, TensorDictPrimer, TransformedEnv


def carrying(env: EnvBase, memory: TensorSpec | None) -> EnvBase:
    """The environment, with an entry ``memory`` that a policy writes for the next step, and zeros at an episode's
    beginning; the environment itself where there is no memory to carry, or it carries one already.

    Args:
        env: a batch of N copies; one in a transform is taken to carry it already.
        memory: spec of one memory, without batch dimensions.
    """
    if memory is None or isinstance(env, TransformedEnv):
        return env
    return TransformedEnv(env, TensorDictPrimer({"memory": memory}, default_value=0.0, expand_specs=True))
