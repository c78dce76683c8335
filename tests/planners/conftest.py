"""Fixtures of the planners' tests."""

from __future__ import annotations

import pytest
import torch

from planners.agent import Agent
from tests.planners.linear_model import LinearModel


@pytest.fixture
def agent() -> Agent:
    """An agent on the linear model, the same for every test."""
    torch.manual_seed(0)
    return Agent(LinearModel(), hidden=8)
