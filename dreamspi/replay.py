"""What was played since the last barrier, kept so that it can be played again: emulators can't be saved."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor


class Stopped(Exception):
    """A replay was broken off."""


class Recording:
    """What was played since the last barrier; a component of a checkpoint.

    Args:
        actions: ``[I, N, T]`` int16, of I batches.
        memory: ``[N, *memory_shape]``, what a recurrent policy wrote for the step after the last of them; ``None`` for
            any other.
    """

    def __init__(self, actions: Tensor, memory: Tensor | None = None) -> None:
        self.actions, self.memory = actions, memory

    def state_dict(self) -> dict[str, Tensor | None]:
        """Both by name."""
        return {"actions": self.actions, "memory": self.memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.actions, self.memory = state["actions"], state["memory"]


class Replayable(TensorDictModuleBase):
    """A policy that first plays back recorded actions, if there are any, and then acts by itself.

    A replay runs no network but once: of what else the policy would have written, only the last memory is of use.
    ``stop`` is asked before each of its steps whether to go on, as a batch of slow games can take seconds.
    """

    def __init__(self, policy: TensorDictModuleBase) -> None:
        super().__init__()
        self.policy = policy
        self.in_keys, self.out_keys = policy.in_keys, policy.out_keys
        self.recorded: deque[Tensor] = deque()
        self.memory: Tensor | None = None
        self.stop: Callable[[], bool] = lambda: False
        self._filling: TensorDictBase | None = None

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Observation to action; see ``Agent.policy`` for the keys."""
        if not self.recorded:
            self._filling = None
            return self.policy(tensordict)
        if self.stop():
            raise Stopped
        if self._filling is None:
            self._filling = self.policy(tensordict.copy()).select(*self.out_keys)
        tensordict.update(self._filling).set("action", self.recorded.popleft())
        if not self.recorded and self.memory is not None:
            tensordict["next", "memory"] = self.memory
        return tensordict
