"""The transition as a distribution: its samples and its density."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from world_models.checks.outcome import Skipped, expect
from world_models.checks.subject import Subject
from world_models.distributions import SideBySide

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
    with torch.no_grad():
        drawn = distribution.sample(torch.Size((_count(given.latent),)))
        _same_mean(distribution, drawn, "transition(...).sample")


def _count(latent: Tensor) -> int:
    """Samples of each of these latents that fit in memory."""
    return max(64, min(MOST_SAMPLES, MOST_NUMBERS // latent.numel()))


def _same_mean(distribution: Distribution, drawn: Tensor, method: str) -> None:
    """That samples ``[samples, ...]`` have the distribution's mean, within their noise."""
    mean, count = distribution.mean, len(drawn)
    error = (drawn.mean(0) - mean).abs()
    excess = error - SIGMAS * deviation(distribution, drawn) / count**0.5 - 1e-4 * (1 + mean.abs())
    worst = excess.argmax()
    expect(
        bool((excess <= 0).all()),
        f"{method}: samples with the mean of the distribution, here {float(mean.flatten()[worst]):.4g}",
        f"{count} samples with mean {float(drawn.mean(0).flatten()[worst]):.4g}",
        f"transition(...).mean and {method}",
    )


def deviation(distribution: Distribution, drawn: Tensor) -> Tensor:
    """Standard deviation of each dimension: the distribution's own word where it has one, else that of samples."""
    try:
        return distribution.variance.sqrt()
    except NotImplementedError:
        return drawn.std(0)


@torch.no_grad()
def dreams(subject: Subject) -> None:
    """imagine draws next latents from transition, and tells reward and termination as the model's methods do."""
    model = subject.model
    given = subject.transitions(model, 4)
    count = _count(given.latent)
    latent = given.latent.expand(count, *given.latent.shape)
    action = given.action.expand(count, *given.action.shape)
    step = model.imagine(latent, action)
    _same_mean(model.transition(given.latent, given.action), step.next_latent, "imagine(...).next_latent")
    _equal("reward", step.reward, model.reward(latent, action))
    _equal("termination", step.termination, model.termination(latent, action, step.next_latent))
    doubt = step.uncertainty
    expect(
        bool((doubt >= 0).all() if model.tells_uncertainty else (doubt == 0).all()),
        f"imagine(...).uncertainty: {'at least 0' if model.tells_uncertainty else '0, as tells_uncertainty is False'}",
        f"values from {float(doubt.min()):.3g} to {float(doubt.max()):.3g}",
        "imagine; tells_uncertainty",
    )


def _equal(name: str, dreamt: Tensor, own: Tensor) -> None:
    difference = float((dreamt - own).abs().max())
    expect(
        difference <= 1e-4 * (1 + float(own.abs().max())),
        f"imagine(...).{name}: that of the model's {name}, which certificates and reports speak of",
        f"values that differ by up to {difference:.3g}",
        f"imagine, or {name}",
    )


def densities(subject: Subject) -> None:
    """Where the transition has a density of each dimension or variable, it sums or integrates to one."""
    model = subject.model
    with torch.no_grad():
        given = subject.transitions(model, 1)
        total = torch.cat(_totals(model.transition(given.latent, given.action)))
    worst = total.flatten()[(total - 1).abs().argmax()]
    expect(
        abs(float(worst) - 1) < 0.02,
        "transition(...).log_prob: a density that integrates to 1 (probabilities that sum to 1)",
        f"{float(worst):.4g}",
        "transition(...).log_prob: its normalization",
    )


def _totals(distribution: Distribution) -> list[Tensor]:
    """The masses of all dimensions and variables; of parts side by side, of those that have a density."""
    base = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    if not isinstance(base, SideBySide):
        return [_total(base).flatten()]
    found: list[Tensor] = []
    for part in base.parts:
        try:
            found += _totals(part)
        except Skipped as reason:
            skipped = reason
    if not found:
        raise skipped
    return found


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
