"""Tiny trainings that are watched from inside."""

from __future__ import annotations

from torch import Tensor

from dreamspi.config import compose
from dreamspi.training import Training
from tests.support import tiny


def started(*words: str) -> Training:
    """A tiny training of ten batches, before its first."""
    training = Training(compose(tiny(*words, iterations=10)))
    training.start()
    return training


def states(training: Training) -> dict[str, Tensor]:
    """The entries of the agent's state, buffers included."""
    return {name: value.clone() for name, value in training.planner.agent.state_dict().items()}
