"""Confidence limits cover what they say, in simulation, also for means over episodes of unequal length."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planners.certificates.confidence import hoeffding_radius, mean, mean_over_steps


def test_hoeffdings_radius_covers() -> None:
    """The upper limit is below the truth in at most a share p of samples, and not in vain: 10 times p = 0.05."""
    generator, p, covered, runs = np.random.default_rng(0), 0.05, 0, 4000
    for _ in range(runs):
        sample = generator.random(30) < 0.3
        covered += sample.mean() + hoeffding_radius(1.0, 30, p) >= 0.3
    assert covered / runs >= 1 - p
    assert hoeffding_radius(2.0, 30, p) == pytest.approx(2.0 * math.sqrt(math.log(20) / 60))


@pytest.mark.parametrize(("width", "samples", "p"), [(1.0, 0, 0.1), (-1.0, 5, 0.1), (1.0, 5, 0.0), (1.0, 5, 1.0)])
def test_no_radius_without_samples(width: float, samples: int, p: float) -> None:
    with pytest.raises(ValueError, match="samples="):
        hoeffding_radius(width, samples, p)


@pytest.mark.parametrize(("share", "long"), [(0.02, 500), (0.2, 50), (0.5, 3)])
def test_a_mean_over_steps_covers(share: float, long: int) -> None:
    """Few long episodes of loss 1 among many short ones of loss 0. The plain radius of 200 samples, on the mean over
    all steps, misses the first far more often than p."""
    generator, p, n, runs = np.random.default_rng(0), 0.05, 200, 2000
    truth = share * long / (share * long + 1 - share)
    missed, missed_plainly = 0, 0
    for count in generator.binomial(n, share, size=runs).tolist():
        losses, lengths = [float(long)] * count + [0.0] * (n - count), [long] * count + [1] * (n - count)
        found = mean_over_steps(losses, lengths, 1.0 if count else 0.0, p)
        missed += found.upper < truth
        missed_plainly += found.mean + hoeffding_radius(1.0, n, p) < truth
    assert missed / runs <= p
    if share == 0.02:
        assert missed_plainly / runs > 1.5 * p


def test_a_mean_over_steps_by_hand() -> None:
    found = mean_over_steps([1.0, 2.0] * 50, [2, 4] * 50, 1.0, 0.1)
    assert found.mean == pytest.approx(0.5)
    assert found.radius == pytest.approx(4 / 3 * math.sqrt(math.log(10) / 200)), "wider by the longest over the mean"
    equal = mean_over_steps([1.0] * 50, [5] * 50, 2.0, 0.1)
    assert equal.radius == pytest.approx(hoeffding_radius(2.0, 50, 0.1)), "units of one length: the plain radius"
    assert mean_over_steps([1.0], [1], 1.0, 0.1).upper == 1.0, "never above the largest"


def test_a_mean_of_units() -> None:
    found = mean([1.0, 3.0], 0.1)
    assert (found.mean, found.largest) == (2.0, 3.0)
    assert found.radius == pytest.approx(hoeffding_radius(3.0, 2, 0.1)) and found.upper == found.mean + found.radius
