"""Numbers for observations: what a table is indexed by.

A numbering has no parameters and does not learn: it only tells observations apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchrl.data import Categorical, OneHot, TensorSpec

from world_models.names import Unsuited
from world_models.shapes import fold_batch

MAX_NUMBERS = 4096  # of one observation; more is a picture that hardly ever repeats itself
_EMPTY = torch.iinfo(torch.int64).max


class Numbering(nn.Module):
    """Observations ``[..., *observation_shape]`` to numbers ``[...]``, int64 in ``[0, capacity)``.

    Attributes:
        capacity: how many observations can be told apart.
    """

    capacity: int

    def forward(self, observation: Tensor) -> Tensor:
        """The number of each observation."""
        raise NotImplementedError


class Counted(Numbering):
    """For an integer in ``[0, n)``, or the one-hot of one: the number is the integer itself.

    Args:
        observation_spec: spec of one observation, as ``count`` takes it.
    """

    def __init__(self, observation_spec: TensorSpec) -> None:
        super().__init__()
        self.capacity = count(observation_spec) or 0
        self._one_hot = isinstance(observation_spec, OneHot)
        self._event_dims = len(observation_spec.shape)

    def forward(self, observation: Tensor) -> Tensor:
        """The integer of each observation."""
        folded, batch = fold_batch(observation, self._event_dims)
        number = folded.argmax(-1) if self._one_hot else folded.long()
        return number.reshape(batch)


class FirstSeen(Numbering):
    """For small pictures and other integers: by content, in the order in which observations are first seen.

    An observation is known by a 64-bit code, the sum of its entries times odd random factors: that two of 4096
    pictures share a code has a probability below 1e-9. The codes seen so far, and the factors, are saved with the
    model, so that numbers keep their meaning. Whoever shows an observation first gives it its number, an evaluation
    or a diagnosis too. Worker processes number side by side: what a state's first batch was gathered with may be
    the latent of another number, and a few observations may take two numbers, so leave room for them.

    Args:
        observation_spec: spec of one observation.
        capacity: how many observations can be told apart.
        key: the configuration's name for ``capacity``, for messages.
    """

    codes: Tensor
    factors: Tensor

    def __init__(self, observation_spec: TensorSpec, capacity: int, key: str) -> None:
        super().__init__()
        self.capacity, self.key = capacity, key
        self._event_dims = len(observation_spec.shape)
        generator = torch.Generator().manual_seed(0)
        size = (math.prod(observation_spec.shape),)
        factors = torch.randint(-(2**62), 2**62, size, generator=generator)
        self.register_buffer("factors", 2 * factors + 1)
        self.register_buffer("codes", torch.full((capacity,), _EMPTY))

    def forward(self, observation: Tensor) -> Tensor:
        """The number of each observation; those never seen before get the next free ones.

        Raises:
            Unsuited: more distinct observations than ``capacity``.
        """
        folded, batch = fold_batch(observation, self._event_dims)
        code = (folded.flatten(1).long() * self.factors).sum(1)
        number, known = self._look_up(code)
        if not known.all():
            self._add(code[~known])
            number, _ = self._look_up(code)
        return number.reshape(batch)

    def _look_up(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers ``[B]`` of codes ``[B]``, and whether they have one."""
        ordered, number = self.codes.sort(stable=True)
        place = torch.searchsorted(ordered, code).clamp_max(self.capacity - 1)
        return number[place], ordered[place] == code

    @torch.no_grad()
    def _add(self, code: Tensor) -> None:
        """Gives the next free numbers to unknown codes ``[U]``, in order of appearance."""
        distinct, which = code.unique(return_inverse=True)
        places = torch.arange(len(code), device=code.device)
        first = torch.full_like(distinct, len(code)).scatter_reduce_(0, which, places, "amin")
        used = int((self.codes != _EMPTY).sum())
        if used + len(distinct) > self.capacity:
            raise Unsuited(
                f"{self.key}={self.capacity}: the environment has shown {used + len(distinct)} distinct observations. "
                f"If it has few more, set {self.key} to their number; if it has many, take another world model, "
                "e.g. world_model=categorical."
            )
        # In place: worker processes may share this memory. What one of them overwrites is added again when next seen.
        self.codes[used : used + len(distinct)] = distinct[first.argsort()]


def count(spec: TensorSpec) -> int | None:
    """The number of values of a single integer, or of the one-hot of one; ``None`` for everything else."""
    if isinstance(spec, OneHot):
        return int(spec.space.n) if len(spec.shape) == 1 else None
    single = isinstance(spec, Categorical) and math.prod(spec.shape) == 1
    return int(spec.space.n) if single else None


def build_numbering(spec: TensorSpec, capacity: int, key: str) -> Numbering:
    """The numbering that suits an observation.

    Args:
        spec: spec of one observation, without batch dimensions.
        capacity: how many distinct observations the table has room for.
        key: the configuration's name for ``capacity``, for messages.

    Raises:
        Unsuited: for observations that no table can hold: floats, more than ``MAX_NUMBERS`` numbers, or more
            distinct ones than ``capacity``, where that is known beforehand.
    """
    values = count(spec)
    numbers = math.prod(spec.shape)
    if values is None and (spec.dtype.is_floating_point or not 0 < numbers <= MAX_NUMBERS):
        raise Unsuited(
            f"needs an observation that a table can hold: one integer, or up to {MAX_NUMBERS} integers or flags. "
            f"Here it has shape {list(spec.shape)} ({spec.dtype}). Take another world model, "
            "e.g. world_model=deterministic."
        )
    if values is None:
        return FirstSeen(spec, capacity, key)
    if values > capacity:
        raise Unsuited(
            f"{key}={capacity}: the environment has {values} distinct observations. Set world_model.classes={values}, "
            f"or world_model.observations={values} to let them share the classes."
        )
    return Counted(spec)
