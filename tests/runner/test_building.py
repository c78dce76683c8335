"""Every planner trains with every world model, whatever these are called: a new file is tested by existing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from dreamspi.catalogue import options
from dreamspi.errors import UserError
from dreamspi.misfits import refuse_misfits
from dreamspi.training import Training
from tests.runner.support import configured
from tests.support import dreams

#: A small picture, a vector, and a picture whose latent is a feature map.
OBSERVATIONS = (
    ["env=maze", "env.max_steps=6"],
    ["env=gym/CartPole-v1"],
    ["env=maze", "env.max_steps=6", "env.picture=84", "env.encoder=nature_cnn"],
)


@pytest.mark.parametrize("world_model", options("world_model"))
@pytest.mark.parametrize("planner", options("planner"))
def test_every_planner_with_every_model(planner: str, world_model: str, tmp_path: Path) -> None:
    """On one kind of observation each, in turn, so that a model meets all that it takes with one planner or another."""
    turn = options("planner").index(planner) + options("world_model").index(world_model)
    shown = OBSERVATIONS[0 if world_model == "tabular" else turn % 3]
    words = [*shown, f"planner={planner}", f"world_model={world_model}", "log_every=1"]
    training = Training(configured(tmp_path, *words))
    training.start()
    before = {name: p.clone() for name, p in training.planner.agent.named_parameters()}
    metrics = [training.iterate() for _ in range(2)]
    assert training.finished
    for row in metrics:
        assert all(math.isfinite(value) for value in row.values())
        assert row["neighborhood/d_inf"] <= 1 <= row["neighborhood/d_sup"]
        assert ("dream/loss_objective" in row) == dreams(planner)
    moved = {name for name, p in training.planner.agent.named_parameters() if not torch.equal(p, before[name])}
    assert any("encoder" in name for name in moved) and any(name.startswith("heads.actor") for name in moved)
    assert training.dream_steps == (2 * 32 * 2 if dreams(planner) else 0)
    training.close()


class Old:
    """A parent."""

    def __init__(
        self, size: int, rate: float | None = None, names: Mapping[str, float | None] = MappingProxyType({})
    ) -> None:
        pass


class Young(Old):
    def __init__(self, size=None, either: int | str | None = 3, anything: Any = 3, least: int = None) -> None:
        pass


@pytest.mark.parametrize(
    ("target", "name", "refused"),
    [
        ("tests.runner.test_building.Old", "size", True),
        ("tests.runner.test_building.Old", "rate", False),
        ("tests.runner.test_building.Old", "names", True),
        ("tests.runner.test_building.Old", "unknown", False),
        ("tests.runner.test_building.Young", "size", False),
        ("tests.runner.test_building.Young", "names", True),
        ("tests.runner.test_building.Young", "either", False),
        ("tests.runner.test_building.Young", "anything", False),
        ("tests.runner.test_building.Young", "least", False),
        ("torch.tanh", "input", False),
        ("nowhere.at.all", "size", False),
    ],
)
def test_a_null_is_refused_where_it_can_not_be_meant(target: str, name: str, refused: bool) -> None:
    section: dict[str, Any] = {"part": {"_target_": target, name: None}}
    if refused:
        with pytest.raises(UserError, match=f"world_model.parts.{name}=null"):
            refuse_misfits("world_model", {"parts": [section["part"]]})
        with pytest.raises(UserError, match=f"world_model.part.{name}=null: {target} can't do without it"):
            refuse_misfits("world_model", section)
    else:
        refuse_misfits("world_model", section)


class Whole:
    def __init__(
        self, part: Callable[..., Old], other: Callable[..., Old] | None, word: Callable[..., Old] | Sequence[Old]
    ) -> None:
        pass


@pytest.mark.parametrize("value", [[1], 3, "abc", True])
@pytest.mark.parametrize(("name", "told"), [("part", "=..."), ("other", "=..., or null"), ("word", None)])
def test_a_single_value_is_refused_where_a_part_is_built(name: str, told: str | None, value: object) -> None:
    section = {"_target_": "tests.runner.test_building.Whole", name: value}
    if told is None:
        refuse_misfits("planner", section)
    else:
        message = f"planner.{name}={value}: is built by a class: write planner.{name}._target_{told}."
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            refuse_misfits("planner", section)
