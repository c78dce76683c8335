"""What is kept of past experience, and which of it has to go.

TorchRL's storages are not used for it: they come back from a checkpoint on the CPU, write the room that is still empty,
and leave it open which rows a full buffer keeps, but for the newest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from planners.experience import take


class Buffer(ABC):
    """Rows of experience, kept where the first of them are.

    Args:
        capacity: rows kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.seen = 0
        self.kept: TensorDict | None = None

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    @abstractmethod
    def slots(self, ordinal: Tensor) -> Tensor:
        """Where the rows with these numbers ``[M]``, counted from the first one ever seen, are put: ``[M]``, from 0;
        those at ``capacity`` or beyond are not kept. The first ``capacity`` of all go to the slots of their numbers."""

    @torch.no_grad()
    def extend(self, rows: TensorDictBase) -> None:
        """Offers rows ``[M]``."""
        device = rows["action"].device
        kept = _room_for(rows, self.capacity) if self.kept is None else self.kept
        self.kept = kept.to(device)  # says where it is from the first on: a compiled loss would be compiled again
        slot = self.slots(torch.arange(self.seen, self.seen + len(rows)))
        self.seen += len(rows)
        taken = slot < self.capacity
        last = torch.full((self.capacity,), -1)  # of several that take one slot, the last stays
        last.scatter_reduce_(0, slot[taken], torch.arange(len(slot))[taken], "amax")
        slots = (last >= 0).nonzero().squeeze(-1)
        self.kept[slots.to(device)] = take(rows, last[slots])

    def sample(self, count: int) -> TensorDict:
        """``count`` rows, drawn with replacement. At least one must have been seen."""
        assert self.kept is not None
        return take(self.kept, torch.randint(len(self), (count,)))

    def state_dict(self) -> dict[str, Any]:
        """What is kept, by name, and how many were seen."""
        # Cloned: of a view all of the room would be written.
        kept = {} if self.kept is None else self.kept[: len(self)].clone().flatten_keys().to_dict()
        return {"seen": self.seen, "kept": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores ``state_dict``."""
        self.seen, self.kept = state["seen"], None
        if self.seen:
            kept = TensorDict(state["kept"], len(self)).unflatten_keys()
            self.kept = _room_for(kept, self.capacity)
            self.kept[: len(self)] = kept


class Reservoir(Buffer):
    """A uniform sample, without replacement, of all rows seen (Vitter 1985, Algorithm R): the i-th one is kept with
    probability ``capacity / i``."""

    def slots(self, ordinal: Tensor) -> Tensor:
        """See ``Buffer``."""
        return torch.where(ordinal < self.capacity, ordinal, (torch.rand(len(ordinal)) * (ordinal + 1)).long())


class Newest(Buffer):
    """The newest rows."""

    def slots(self, ordinal: Tensor) -> Tensor:
        """See ``Buffer``."""
        return ordinal % self.capacity


def _room_for(rows: TensorDictBase, capacity: int) -> TensorDict:
    entries = rows.flatten_keys().items()
    room = {name: value.new_zeros(capacity, *value.shape[1:]) for name, value in entries}
    return TensorDict(room, capacity).unflatten_keys()
