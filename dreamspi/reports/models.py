"""Whose world models' errors mean something, and which of them may be compared."""

from __future__ import annotations

from collections.abc import Sequence

from dreamspi.reports.results import Result, Results


def trains_model(results: Results, arm: str) -> bool:
    """Whether an arm trains its world model: ``ppo`` does not, so that its model's errors mean nothing."""
    trained = "ground/local_transition"
    return any(trained in run.curves and run.curves[trained].notna().any() for run in results.of(arm=arm))


def comparable(results: Results, loss: str, environments: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The arms that train a world model, in groups within which a local loss may be compared.

    ``L_R`` is in units of reward, the same everywhere: one group. ``L_P`` is a distance between latents, so only arms
    with the same settings of the world model are compared, in every environment that all were trained in. An arm whose
    own trainings differ in them is compared with no other.

    Args:
        results: of the study.
        loss: ``L_P`` or ``L_R``.
        environments: in which it is compared.
    """
    arms = [a for a in results.arms if trains_model(results, a) and any(results.of(env, a) for env in environments)]
    return results.alike(arms, environments, _model if loss == "L_P" else lambda _: None)


def _model(run: Result) -> frozenset[tuple[str, str]]:
    """The settings of its world model."""
    return frozenset(
        (key, repr(value))
        for key, value in run.settings.items()
        if key == "choices.world_model" or key.startswith("world_model.")
    )
