"""The transition as a distribution: its samples and its density."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from world_models.checks.outcome import Skipped, expect
from world_models.checks.subject import Subject

MOST_NUMBERS = 2_000_000
MOST_SAMPLES = 2000
SIGMAS = 6.0
#: A density is summed on this many points, over this many standard deviations to each side.
POINTS, REACH = 1001, 12.0


def samples(subject: Subject) -> None:
    """Samples have the mean that the distribution tells; where it has rsample, their gradient reaches the model."""
    model = subject.model
    given = subject.transitions(model, 4)
    distribution = model.transition(given.latent.detach(), given.action)
    look = "transition(...).rsample: loc + scale * noise, or straight-through; a has_rsample of one's own says which"
    if distribution.has_rsample:
        sample = distribution.rsample()
        parameters = list(model.model_parameters())
        found = (
            torch.autograd.grad((sample * torch.randn_like(sample)).sum(), parameters, allow_unused=True)
            if sample.requires_grad
            else []
        )
        arrived = any(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in found)
        expect(arrived, "rsample(), as has_rsample is true, with a gradient to the parameters", "none", look)
    _right_mean(distribution, max(64, min(MOST_SAMPLES, MOST_NUMBERS // given.latent.numel())))


@torch.no_grad()
def _right_mean(distribution: Distribution, count: int) -> None:
    drawn, mean = distribution.sample(torch.Size((count,))), distribution.mean
    error = (drawn.mean(0) - mean).abs()
    excess = error - SIGMAS * deviation(distribution, drawn) / count**0.5 - 1e-4 * (1 + mean.abs())
    worst = excess.argmax()
    expect(
        bool((excess <= 0).all()),
        f"samples with the mean of the distribution, here {float(mean.flatten()[worst]):.4g}",
        f"{count} samples with mean {float(drawn.mean(0).flatten()[worst]):.4g}",
        "transition(...).mean and .sample",
    )


def deviation(distribution: Distribution, drawn: Tensor) -> Tensor:
    """Standard deviation of each dimension: the distribution's own word where it has one, else that of samples."""
    try:
        return distribution.variance.sqrt()
    except NotImplementedError:
        return drawn.std(0)


def densities(subject: Subject) -> None:
    """Where the transition has a density of each dimension or variable, it sums or integrates to one."""
    model = subject.model
    with torch.no_grad():
        given = subject.transitions(model, 1)
        base = model.transition(given.latent, given.action)
        while isinstance(base, Independent):
            base = base.base_dist
        total = _total(base)
    worst = total.flatten()[(total - 1).abs().argmax()]
    expect(
        abs(float(worst) - 1) < 0.02,
        "transition(...).log_prob: a density that integrates to 1 (probabilities that sum to 1)",
        f"{float(worst):.4g}",
        "transition(...).log_prob: its normalization",
    )


def _total(base: Distribution) -> Tensor:
    """The mass of each independent dimension or variable."""
    try:
        at_sample = base.log_prob(base.sample())
    except NotImplementedError:
        raise Skipped("the transition has no log_prob") from None
    if bool((at_sample == torch.inf).any()):
        raise Skipped("the transition is a point, which has no density")
    if base.has_enumerate_support:
        return base.log_prob(base.enumerate_support()).exp().sum(0)
    if base.event_shape:
        raise Skipped("the transition has a joint density of several dimensions")
    width = base.stddev
    step = 2 * REACH / (POINTS - 1)
    grid = torch.linspace(-REACH, REACH, POINTS, device=width.device).reshape(-1, *[1] * width.ndim)
    points = base.mean + width * grid
    inside = _inside(base, points)
    density = base.log_prob(torch.where(inside, points, base.sample())).exp()
    return (torch.where(inside, density, 0.0) * width).sum(0) * step


def _inside(base: Distribution, points: Tensor) -> Tensor:
    """Which points lie in the support; all where the distribution does not tell it."""
    try:
        return base.support.check(points)  # type: ignore[union-attr]
    except (NotImplementedError, AttributeError):
        return torch.ones_like(points, dtype=torch.bool)
