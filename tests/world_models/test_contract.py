"""Every world model in ``configs/world_model`` passes the contract's checks, on every kind of observation."""

from __future__ import annotations

from functools import partial

import pytest

from tests.world_models.support import NAMES, unseeded
from world_models.checks import Subject, first_suited
from world_models.checks.observations import KINDS
from world_models.costs import stratified
from world_models.testing import cases, verify


@pytest.mark.parametrize(
    ("check", "subjects"), [case for name in NAMES for case in cases(partial(unseeded, name), name=name)]
)
def test_contract(check, subjects):
    verify(check, subjects)


@pytest.mark.parametrize("batch", [(), (3,), (2, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_costs_can_sample_every_transition(name, batch):
    subject = first_suited([Subject(partial(unseeded, name), spec) for spec in KINDS.values()])
    latent, action, *_ = subject.transitions(subject.model, *batch)
    samples, weights = stratified(subject.model.transition(latent, action))
    assert samples.shape == (*weights.shape, *subject.model.latent_spec.shape)
    assert weights.shape[:-1] == batch and samples.requires_grad
