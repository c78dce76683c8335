"""A design's cells: each a training whose name says what it is, and another where it computes another thing."""

from __future__ import annotations

import re

import pytest

from dreamspi.config import compose
from dreamspi.errors import UserError
from dreamspi.studies.design import Arm, Design, cells, digest, last_wins

PPO, DEEPSPI = Arm("ppo", ("planner=ppo",)), Arm("deepspi", ("planner=deepspi",))
MAZE = {"maze": ()}


def ids(design: Design) -> set[str]:
    return {cell.id for cell in cells(design)}


def test_every_combination_once_and_seed_by_seed() -> None:
    found = cells(Design({"maze": (), "minatar/breakout": ()}, (PPO, DEEPSPI), (1, 2)))
    assert [(cell.seed, cell.env, cell.arm) for cell in found[:4]] == [
        (1, "maze", "ppo"),
        (1, "maze", "deepspi"),
        (1, "minatar/breakout", "ppo"),
        (1, "minatar/breakout", "deepspi"),
    ]
    assert len(found) == 8 == len({cell.id for cell in found})
    assert all(re.fullmatch(r"[\w.=+-]+", cell.id) for cell in found)  # a directory's name, and Hydra's


def test_a_cells_words_make_its_configuration() -> None:
    (cell,) = cells(Design({"maze": ("total_steps=9216",)}, (DEEPSPI,), (4,), ("gamma=0.9", "threads=1")))
    config = compose(cell.overrides)
    assert (config.seed, config.gamma, config.total_steps, config.choices.planner) == (4, 0.9, 9216, "deepspi")
    assert (cell.steps, cell.threads) == (9216, 1) and cell.id.endswith(digest(config))


def test_the_more_special_word_wins() -> None:
    arm = Arm("short", ("planner=ppo", "total_steps=2048"))
    (cell,) = cells(
        Design({"maze": ("total_steps=4096", "gamma=0.8")}, (arm,), (1,), ("total_steps=8192", "gamma=0.9"))
    )
    assert cell.steps == 2048 and compose(cell.overrides).gamma == 0.8


def test_what_was_typed_wins_over_all() -> None:
    (cell,) = cells(Design({"maze": ("gamma=0.8",)}, (PPO,), (1,), ("gamma=0.9",), ("gamma=0.7",)))
    assert compose(cell.overrides).gamma == 0.7


def test_a_later_part_is_not_undone_by_an_earlier_whole() -> None:
    words = ["world_model.network.hidden=8", "world_model.network={hidden: 16}", "world_model.network.hidden=32"]
    assert last_wins(words) == ("world_model.network={hidden: 16}", "world_model.network.hidden=32")


def test_a_whole_number_is_a_number() -> None:
    assert ids(Design(MAZE, (PPO,), (1,), ("gamma=1",))) == ids(Design(MAZE, (PPO,), (1,), ("gamma=1.0",)))


def test_a_long_name_is_still_a_files() -> None:
    (cell,) = cells(Design(MAZE, (Arm("ü" * 300, ("planner=ppo",)),), (1,)))
    assert len(cell.id.encode()) < 180 and cell.id.endswith(cell.digest)


def test_seeds_share_a_digest_and_the_environment_is_what_was_chosen() -> None:
    found = cells(Design({"": ("env=minatar", "env.name=asterix")}, (PPO,), (1, 2)))
    assert {cell.env for cell in found} == {"minatar/asterix"} and len({cell.digest for cell in found}) == 1


def test_adding_leaves_the_others_names() -> None:
    small = Design(MAZE, (PPO,), (1, 2))
    assert ids(small) < ids(Design({**MAZE, "minatar/breakout": ()}, (PPO, DEEPSPI), (1, 2, 3)))


@pytest.mark.parametrize("word", ["gamma=0.9", "planner.C=1.2", "log_every=8", "env.slip=0.1"])
def test_what_computes_something_else_is_another_cell(word: str) -> None:
    assert ids(Design(MAZE, (PPO,), (1,))).isdisjoint(ids(Design(MAZE, (PPO,), (1,), (word,))))


@pytest.mark.parametrize("word", ["logger=none", "checkpoint.keep=5", "threads=2", "env.slip=0.20"])
def test_what_computes_the_same_is_the_same_cell(word: str) -> None:
    assert ids(Design(MAZE, (PPO,), (1,))) == ids(Design(MAZE, (PPO,), (1,), (word,)))


def test_an_error_names_its_combination() -> None:
    arm = Arm("odd", ("planner=ppo", "planner.dream.horizon=3"))
    with pytest.raises(UserError, match=r"env=maze, arm odd: planner.dream.horizon: no such key"):
        cells(Design(MAZE, (PPO, arm), (1,)))
