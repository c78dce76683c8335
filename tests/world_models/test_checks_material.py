"""What checks are made of: observations and pairs of latents that are drawn, and an exact distance."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torchrl.data import Bounded

from tests.world_models.support import observation_spec, unseeded
from world_models.checks import Subject
from world_models.checks.distances import _to_two_outcomes
from world_models.checks.lipschitz import _pairs
from world_models.checks.observations import draw


@pytest.mark.parametrize("shape", [(1, 84, 84), (3, 40, 61), (4, 35, 84), (2, 24, 24)])
def test_large_pictures_are_of_squares(shape):
    pictures = draw(Bounded(0, 255, shape, dtype=torch.uint8), 50)
    assert pictures.shape == (50, *shape) and len(pictures.unique(dim=0)) > 6
    square = pictures[..., :12, 12:24].flatten(-2)
    assert bool((square == square[..., :1]).all()) == (min(shape[1:]) >= 36)
    assert (pictures[:, 0] != pictures[:, -1]).any() or shape[0] == 1


def test_observations_without_bounds_are_of_usual_size():
    for low, high in ((-3.4e38, 3.4e38), (0.0, 3.4e38), (-1.0, 1.0)):
        spec = Bounded(low, high, (4,), dtype=torch.float32)
        drawn = draw(spec, 100)
        assert drawn.shape == (100, 4) and drawn.abs().max() < 10 and drawn.std() > 0.1
        assert spec.is_in(drawn[0])


@pytest.mark.parametrize("name", ["categorical", "tabular", "normal"])
def test_pairs_of_latents_are_two_and_live_where_the_model_does(name):
    """The device "meta" stands for any that is not the CPU."""
    given = Subject(partial(unseeded, name), observation_spec("number"))
    first, second = _pairs(given.model, 24, given)
    assert first.shape == second.shape == (24, *given.model.latent_spec.shape)
    if name == "categorical":
        changed = (first != second).any(-1).sum(1)
        assert changed[:8].float().mean() < 4 and changed[-4:].float().mean() > 15
        assert given.model.latent_spec.is_in(second[0]) and torch.equal(second.sum(-1), torch.ones(24, 32))
    given.device = torch.device("meta")
    assert {end.device.type for end in _pairs(given.model, 24, given)} == {"meta"}


def test_the_exact_distance_to_two_outcomes_is_the_transport_problem_s():
    torch.manual_seed(0)
    drawn, outcomes = torch.randn(8, 3), torch.randn(2, 3)
    plan = np.zeros((10, 2, 8))  # what leaves each outcome, and what arrives at each sample
    plan[0, 0], plan[1, 1] = 1, 1
    plan[range(2, 10), :, range(8)] = 1
    cost = torch.cdist(outcomes, drawn, p=1.0).double().flatten().numpy()
    best = linprog(cost, A_eq=plan.reshape(10, 16), b_eq=[0.5] * 2 + [0.125] * 8).fun
    assert _to_two_outcomes(drawn, outcomes) == pytest.approx(best, rel=1e-5)
