"""How good a world model's dreams are, in numbers, from open-loop dreams beside what happened (``open_loop.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from tensordict import TensorDictBase
from torch import Tensor

from planners.open_loop import window_returns
from world_models.diagnostics import reward_error_on_largest

#: Bins of equal width in which predicted probabilities are compared with frequencies.
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Steps whose predicted probability of an end lies in one interval: how many, its mean, how often it came true."""

    count: int
    predicted: float
    frequency: float


@dataclass(frozen=True)
class Calibration:
    """Whether what is predicted with probability p happens in a share p of the cases.

    Attributes:
        error: expected calibration error, the mean over cases of ``|predicted - frequency|`` of their bin.
        brier: mean squared difference of the probability and what happened, 0 or 1.
        predicted, frequency: over all cases together.
        bins: those of ``BINS`` that are not empty, by rising probability.
    """

    error: float
    brier: float
    predicted: float
    frequency: float
    bins: list[Bin]


@dataclass(frozen=True)
class Agreement:
    """Whether one estimate of a return agrees with another.

    Attributes:
        correlation: Pearson's; NaN where one of them is constant.
        error: mean absolute difference.
        bias: mean of the first less the second.
        count: pairs.
    """

    correlation: float
    error: float
    bias: float
    count: int


@dataclass(frozen=True)
class DreamQuality:
    """Errors of dreams; lists have one entry for each step ``h = 1..H``. NaN is what no data tell.

    Attributes:
        counted: dreams whose episode was still going on before the step.
        latent_error: mean L1 distance between the dreamt latent and the real one.
        latent_error_relative: the same over the mean distance of two random states of the data: 1 is a dream that has
            nothing to do any more with what happens. Comparable between models, whatever their latents.
        still_error_relative: the same of a dream in which nothing moves, for comparison.
        reward_error: mean absolute error of the dreamt reward.
        reward_error_on_largest: the same over the 1% of steps with the largest absolute reward.
        value_error: mean absolute difference between the critic on the dreamt latent and on the real one, where the
            episode goes on.
        termination_first: calibration of the termination probability at the first step.
        termination: over all steps.
        returns: discounted dreamt reward of H steps against the real one.
    """

    counted: list[int]
    latent_error: list[float]
    latent_error_relative: list[float]
    still_error_relative: list[float]
    reward_error: list[float]
    reward_error_on_largest: list[float]
    value_error: list[float]
    termination_first: Calibration
    termination: Calibration
    returns: Agreement


@torch.no_grad()
def judge(walk: TensorDictBase, distance: float, gamma: float) -> DreamQuality:
    """The quality of open-loop dreams.

    Args:
        walk: dreams ``[W, H]`` beside what happened, as ``open_loop`` returns them.
        distance: mean distance of two random states, as ``typical_distance`` returns it.
        gamma: discount.
    """
    counted, ended = walk["counted"], walk["terminated"]
    reward_error = (walk["reward"] - walk["real_reward"]).abs()
    value_error = (walk["value"] - walk["real_value"]).abs()
    latent_error = per_step(walk["latent_error"], counted)
    first = counted[:, 0]
    return DreamQuality(
        counted=counted.sum(0).tolist(),
        latent_error=latent_error,
        latent_error_relative=[share(error, distance) for error in latent_error],
        still_error_relative=[share(error, distance) for error in per_step(walk["still_error"], counted)],
        reward_error=per_step(reward_error, counted),
        reward_error_on_largest=[
            float(reward_error_on_largest(step["reward"][own], step["real_reward"][own])) if own.any() else math.nan
            for step, own in zip(walk.unbind(1), counted.unbind(1), strict=True)
        ],
        value_error=per_step(value_error, counted & ~ended),
        termination_first=calibrate(walk["termination"][first, 0], ended[first, 0]),
        termination=calibrate(walk["termination"][counted], ended[counted]),
        returns=agree(*window_returns(walk, gamma)),
    )


def per_step(values: Tensor, counted: Tensor) -> list[float]:
    """Mean of ``values`` ``[W, H]`` over the windows that count at each step; NaN where none does."""
    return (torch.where(counted, values, 0.0).sum(0) / counted.sum(0)).tolist()


def share(error: float, distance: float) -> float:
    """``error / distance``; NaN where all latents are one."""
    return error / distance if distance > 0.0 else math.nan


def typical_distance(latent: Tensor) -> float:
    """Mean L1 distance of two random states with latents ``[M, *latent_shape]``: each is compared with one other."""
    shuffled = latent[torch.randperm(len(latent), device=latent.device)].flatten(1)
    return float((shuffled - shuffled.roll(1, 0)).abs().sum(1).mean())


def calibrate(predicted: Tensor, happened: Tensor) -> Calibration:
    """Calibration of probabilities ``[M]`` against what happened ``[M]``, in ``BINS`` bins of equal width."""
    predicted, happened = predicted.double(), happened.double()
    place = (predicted * BINS).long().clamp(0, BINS - 1)  # below 0 is no number, of a dream that has blown up
    count = torch.bincount(place, minlength=BINS)
    mean, frequency = (torch.bincount(place, values, minlength=BINS) / count for values in (predicted, happened))
    full = count > 0
    gap = (count * (mean - frequency).abs())[full].sum() / count.sum()
    rows = zip(count[full].tolist(), mean[full].tolist(), frequency[full].tolist(), strict=True)
    return Calibration(
        error=float(gap),
        brier=float((predicted - happened).square().mean()),
        predicted=float(predicted.mean()),
        frequency=float(happened.mean()),
        bins=[Bin(*row) for row in rows],
    )


def agree(first: Tensor, second: Tensor) -> Agreement:
    """How well two estimates ``[M]`` of the same returns agree."""
    first, second = first.double(), second.double()
    difference = first - second
    constant = len(first) < 2 or bool((first == first[0]).all() | (second == second[0]).all())
    return Agreement(
        correlation=math.nan if constant else float(torch.corrcoef(torch.stack((first, second)))[0, 1]),
        error=float(difference.abs().mean()),
        bias=float(difference.mean()),
        count=len(first),
    )
