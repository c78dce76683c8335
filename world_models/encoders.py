"""Encoders ``phi: S -> Z``: one class per kind of observation, one function that chooses.

An encoder takes observations ``[..., *observation_shape]`` in their raw dtype (uint8 pictures stay
uint8 until here) and returns float32 latents ``[..., *latent_shape]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchrl.data import Categorical, OneHot, TensorSpec

from world_models.names import Unsuited, no_such
from world_models.precision import Mixed, widened
from world_models.shapes import fold_batch

NATURE_MIN = 36  # the three strided convolutions need at least this many pixels a side
SMALL_MAX = 35
MLP_MAX = 4096


def _orthogonal(layer: nn.Module, gain: float = math.sqrt(2)) -> nn.Module:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def observation_scale(spec: TensorSpec) -> float:
    """The largest value of an integer observation, by which it is divided: 255 for pictures, 1 for
    flags and for everything that is already a float."""
    if spec.dtype.is_floating_point or spec.dtype == torch.bool:
        return 1.0
    space = spec.space
    high = space.n - 1 if getattr(space, "n", None) is not None else space.high.max()
    return max(float(high), 1.0)


class Encoder(Mixed):
    """Scales the raw observation, folds the batch, runs ``body``, unfolds.

    Attributes:
        latent_shape: shape of one latent.
        observation_shape: shape of one observation.
        needs: what observations it takes, in words.
    """

    latent_shape: tuple[int, ...]
    body: nn.Module
    needs = "an observation"

    def __init__(self, observation_spec: TensorSpec) -> None:
        super().__init__()
        self.observation_shape = tuple(observation_spec.shape)
        self._event_dims = len(observation_spec.shape)
        self._scale = observation_scale(observation_spec)

    @staticmethod
    def takes(shape: Sequence[int]) -> bool:
        """Whether it takes observations of a shape."""
        return True

    @property
    def prepared_shape(self) -> tuple[int, ...]:
        """Shape of one prepared observation."""
        return self.observation_shape

    def prepare(self, observation: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Folded observation ``[B, *observation_shape]`` as floats of a type, integers scaled to [0, 1]."""
        # Only integers have a scale, so what is divided in place is a copy.
        return observation.to(dtype) if self._scale == 1.0 else observation.to(dtype).div_(self._scale)

    def restore(self, prepared: Tensor) -> Tensor:
        """The inverse of ``prepare``, for predictions, which need not be exact: ``[B, *observation_shape]``, float."""
        return prepared if self._scale == 1.0 else prepared.clamp(0.0, 1.0) * self._scale

    def forward(self, observation: Tensor) -> Tensor:
        """Latents ``[..., *latent_shape]``."""
        folded, batch = fold_batch(observation, self._event_dims)
        with self.arithmetic(folded.device):
            latent = self.body(self.prepare(folded, self.compute_dtype))
        return widened(latent).reshape(*batch, *self.latent_shape)


class NatureCNN(Encoder):
    """The convolutions of Mnih et al. (2015): 32 8x8/4, 64 4x4/2, 64 3x3/1, ReLU, orthogonal.

    The latent is the feature map, ``[64, 7, 7]`` for 84x84 pictures.
    """

    needs = f"a picture [channels, height, width] of at least {NATURE_MIN}x{NATURE_MIN}"

    @staticmethod
    def takes(shape: Sequence[int]) -> bool:
        """Whether it takes observations of a shape."""
        return len(shape) == 3 and min(shape[1:]) >= NATURE_MIN

    def __init__(self, observation_spec: TensorSpec) -> None:
        super().__init__(observation_spec)
        channels, height, width = observation_spec.shape
        self.body = nn.Sequential(
            _orthogonal(nn.Conv2d(channels, 32, 8, 4)),
            nn.ReLU(inplace=True),
            _orthogonal(nn.Conv2d(32, 64, 4, 2)),
            nn.ReLU(inplace=True),
            _orthogonal(nn.Conv2d(64, 64, 3, 1)),
            nn.ReLU(inplace=True),
        )
        sides = ((((side - 8) // 4 + 1) - 4) // 2 + 1 - 2 for side in (height, width))
        self.latent_shape = (64, *sides)

    def prepare(self, observation: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """As above, and in the form that ``body`` takes."""
        # Channels last, rearranged while a number is still one byte, and plane by plane, which is faster than at once.
        return super().prepare(torch.stack(observation.unbind(1), -1).movedim(-1, 1), dtype)


class DenseCNN(NatureCNN):
    """The same convolutions, then a dense layer: latent ``[128]``, normalized as the MLP's.

    For models that dream: what moves far between two frames is out of a convolutional transition's sight, and a
    dense one sees it; and a normalized latent can't shrink, though all may come to point one way (watch
    ``model/latent_spread``). At a fraction of the map's cost, too.
    """

    def __init__(self, observation_spec: TensorSpec, latent: int = 128) -> None:
        super().__init__(observation_spec)
        self.body = nn.Sequential(
            self.body,
            nn.Flatten(),
            _orthogonal(nn.Linear(math.prod(self.latent_shape), latent), gain=1.0),
            nn.LayerNorm(latent, elementwise_affine=False),
        )
        self.latent_shape = (latent,)


class SmallCNN(Encoder):
    """For small multi-channel pictures (MinAtar): 16 3x3 filters, dense 128, ReLU. Latent ``[128]``."""

    needs = f"a picture [channels, height, width] of 3x3 to {SMALL_MAX}x{SMALL_MAX}"

    @staticmethod
    def takes(shape: Sequence[int]) -> bool:
        """Whether it takes observations of a shape."""
        return len(shape) == 3 and min(shape[1:]) >= 3 and max(shape[1:]) <= SMALL_MAX

    def __init__(self, observation_spec: TensorSpec, width: int = 128) -> None:
        super().__init__(observation_spec)
        channels, height, columns = observation_spec.shape
        self.body = nn.Sequential(
            _orthogonal(nn.Conv2d(channels, 16, 3)),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            _orthogonal(nn.Linear(16 * (height - 2) * (columns - 2), width)),
            nn.ReLU(inplace=True),
        )
        self.latent_shape = (width,)


class MLP(Encoder):
    """For vectors, tiny pictures and single integers: two tanh layers of 128, latent ``[64]``.

    The latent is normalized (zero mean, unit variance over its units, no learnt scale): whatever
    the transition loss asks for, latents cannot shrink towards a point by losing their length, which
    is the cheapest way to merge states. Float inputs, which may be unbounded, pass through symlog.
    """

    exact = True  # small, and of states that are near to one another
    needs = f"an observation of at most {MLP_MAX} numbers"

    @staticmethod
    def takes(shape: Sequence[int]) -> bool:
        """Whether it takes observations of a shape."""
        return 0 < math.prod(shape) <= MLP_MAX

    def __init__(self, observation_spec: TensorSpec, hidden: int = 128, latent: int = 64) -> None:
        super().__init__(observation_spec)
        self._classes = _classes(observation_spec)
        self._symlog = observation_spec.dtype.is_floating_point
        features = self._classes or math.prod(observation_spec.shape)
        self.body = nn.Sequential(
            nn.Flatten(),
            _orthogonal(nn.Linear(features, hidden)),
            nn.Tanh(),
            _orthogonal(nn.Linear(hidden, hidden)),
            nn.Tanh(),
            _orthogonal(nn.Linear(hidden, latent), gain=1.0),
            nn.LayerNorm(latent, elementwise_affine=False),
        )
        self.latent_shape = (latent,)

    def prepare(self, observation: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """As above, and in the form that ``body`` takes."""
        if self._classes:
            return F.one_hot(observation.long(), self._classes).to(dtype)
        observation = super().prepare(observation, dtype)
        return observation.sign() * observation.abs().log1p() if self._symlog else observation

    @property
    def prepared_shape(self) -> tuple[int, ...]:
        """Shape of one prepared observation."""
        return (self._classes,) if self._classes else self.observation_shape

    def restore(self, prepared: Tensor) -> Tensor:
        """As above; of classes the likeliest."""
        if self._classes:
            return prepared.argmax(-1).float().reshape(-1, *self.observation_shape)
        prepared = super().restore(prepared)
        return prepared.sign() * prepared.abs().expm1() if self._symlog else prepared


def _classes(spec: TensorSpec) -> int:
    """Number of values of a single integer observation, 0 for everything else."""
    single = isinstance(spec, Categorical) and not isinstance(spec, OneHot) and math.prod(spec.shape) == 1
    return int(spec.space.n) if single else 0


ENCODERS: dict[str, type[Encoder]] = {
    "nature_cnn": NatureCNN,
    "dense_cnn": DenseCNN,
    "small_cnn": SmallCNN,
    "mlp": MLP,
}


def suggest_encoder(spec: TensorSpec) -> str | None:
    """Name of the encoder that suits an observation, or at least takes it; ``None`` where none does."""
    shape = tuple(spec.shape)
    channels = len(shape) == 3 and shape[0] > 1 and not spec.dtype.is_floating_point
    best_first = ("dense_cnn", "small_cnn", "mlp") if channels else ("dense_cnn", "mlp", "small_cnn")
    return next((name for name in best_first if ENCODERS[name].takes(shape)), None)


def suggest_feature_map(spec: TensorSpec) -> str | None:
    """The paper's encoder, the Nature CNN, where a picture is large enough for it; what suits where not."""
    return "nature_cnn" if NatureCNN.takes(spec.shape) else suggest_encoder(spec)


#: Names that let the observation decide.
SUGGESTIONS = {"auto": suggest_encoder, "feature_map": suggest_feature_map}
#: An encoder's name, or what builds one from the spec of an observation: a class, in YAML a ``_partial_`` of it.
Choice = str | Callable[[TensorSpec], Encoder]


def build_encoder(name: Choice, observation_spec: TensorSpec) -> Encoder:
    """Builds an encoder.

    Args:
        name: ``nature_cnn``, ``dense_cnn``, ``small_cnn``, ``mlp``; ``auto`` or ``feature_map``, which let the
            observation decide; or what builds it.
        observation_spec: spec of one observation, without batch dimensions.

    Raises:
        ValueError: unknown name, or an encoder of one's own that is not what it says.
        Unsuited: an observation that the encoder cannot take.
    """
    if callable(name):
        return _tried(name(observation_spec), observation_spec)
    allowed = (*SUGGESTIONS, *ENCODERS)
    shape = tuple(observation_spec.shape)
    if name not in allowed:
        shown = f"the observation has shape {list(shape)}"
        raise no_such("encoder", "world_model.encoder", name, allowed, shown)
    suited = suggest_encoder(observation_spec)
    chosen = SUGGESTIONS[name](observation_spec) if name in SUGGESTIONS else name
    if chosen is None or not ENCODERS[chosen].takes(shape):
        needs = ", ".join(f"{each} needs {ENCODERS[each].needs}" for each in (ENCODERS if chosen is None else [chosen]))
        raise Unsuited(
            f"world_model.encoder={name}: {needs}, but the observation has shape {list(shape)} "
            f"({observation_spec.dtype}). For this observation: {suited or 'a class of your own'}. "
            f"Allowed: {', '.join(allowed)}."
        )
    return ENCODERS[chosen](observation_spec)


def _tried(encoder: Encoder, observation_spec: TensorSpec) -> Encoder:
    """An encoder that nobody here knows, if it can take an observation."""
    shape, key = list(observation_spec.shape), f"world_model.encoder={type(encoder).__name__}"
    if not hasattr(encoder, "latent_shape"):
        raise ValueError(f"{key}: needs a latent_shape, the shape of one latent, e.g. (64,).")
    try:
        found = list(encoder(observation_spec.zero()).shape)
    except (RuntimeError, IndexError, TypeError) as error:
        raise Unsuited(
            f"{key}: can't take an observation of shape {shape} ({observation_spec.dtype}): {error}"
        ) from error
    if found != list(encoder.latent_shape):
        raise ValueError(
            f"{key}: makes latents of shape {found}, but its latent_shape is {list(encoder.latent_shape)}."
        )
    return encoder
