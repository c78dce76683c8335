"""The neighborhood: identities, exact values on small tables, and errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planners.neighborhood import Clip, Drift, interval, measure

ratios = st.floats(0.01, 5.0)
utilities = st.floats(-10.0, 10.0)
constants = st.floats(1.01, 1.99)


@given(ratios, utilities, constants)
def test_drift_with_kappa_one_is_the_clipped_objective(ratio: float, utility: float, c: float) -> None:
    lower, upper = interval(c)
    r, u = torch.tensor(ratio, dtype=torch.float64), torch.tensor(utility, dtype=torch.float64)
    torch.testing.assert_close(Drift(1.0)(r, u, lower, upper), Clip()(r, u, lower, upper))


@given(ratios, utilities, constants)
def test_clip_by_cases(ratio: float, utility: float, c: float) -> None:
    lower, upper = interval(c)
    expected = ratio * utility
    if utility > 0 and ratio > upper:
        expected = upper * utility
    if utility < 0 and ratio < lower:
        expected = lower * utility
    value = Clip()(torch.tensor(ratio, dtype=torch.float64), torch.tensor(utility, dtype=torch.float64), lower, upper)
    assert value.item() == pytest.approx(expected)


def test_drift_without_weight_is_the_plain_ratio() -> None:
    r, u = torch.tensor([0.1, 3.0]), torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(Drift(0.0)(r, u, 0.9, 1.1), r * u)


def test_clip_takes_an_interval_per_sample() -> None:
    value = Clip()(torch.tensor([2.0, 2.0]), torch.ones(2), torch.tensor([0.9, 1.8]), torch.tensor([1.1, 2.2]))
    torch.testing.assert_close(value, torch.tensor([1.1, 2.0]))


def test_measure_is_exact_over_all_actions() -> None:
    behavior = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]], dtype=torch.float64)
    policy = torch.tensor([[0.6, 0.2, 0.2], [0.2, 0.3, 0.5]], dtype=torch.float64)
    found = measure(behavior.log(), policy.log(), 1.1)
    assert found.d_inf == pytest.approx(0.8)
    assert found.d_sup == pytest.approx(1.2)
    assert found.outside == pytest.approx(0.5)
    kl = 0.5 * sum(p * math.log(p / q) for p, q in zip([0.5, 0.25, 0.25], [0.6, 0.2, 0.2], strict=True))
    assert found.kl == pytest.approx(kl)


def test_an_action_that_neither_can_take_does_not_count() -> None:
    behavior, policy = torch.tensor([[0.0, -200.0, -torch.inf]]), torch.tensor([[0.0, -90.0, -torch.inf]])
    found = measure(behavior, policy, 1.1)
    assert (found.d_inf, found.d_sup, found.outside, found.kl) == (1.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("unlikely", [-torch.inf, -200.0, -81.0])
def test_an_action_that_only_the_policy_can_take_is_far_outside(unlikely: float) -> None:
    behavior, policy = torch.tensor([[0.0, unlikely]]), torch.tensor([[0.5, 0.5]]).log()
    found = measure(behavior, policy, 1.1)
    assert found.d_sup == pytest.approx(0.5 * math.exp(-unlikely) if unlikely > -88 else math.inf, rel=1e-4)
    assert (found.d_inf, found.outside) == (0.5, 1.0) and math.isfinite(found.kl)


@pytest.mark.parametrize("c", [1.0, 2.0, 0.5, 3.0])
def test_constant_outside_its_range(c: float) -> None:
    with pytest.raises(ValueError, match=r"planner\.C=.*between 1 and 2"):
        interval(c)
