"""What a run counts, and what it does when: scores of whole games, progress, certificates, barriers."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from dreamspi.collection import barrier_seeds
from dreamspi.collectors.local import Direct
from dreamspi.training import Scores, Training
from planners.planner import Planner
from tests.runner.support import configured, rows, trained


def played(*returns: float, over: list[int] | None = None) -> TensorDict:
    """A batch of one copy whose every step ends an episode, pays 1, and has a raw return and twice that for a length.
    In the steps ``over``, by default all, a game ends, too; in the others a life."""
    steps = len(returns)
    ends = torch.tensor([over is None or step in over for step in range(steps)])
    raw = torch.tensor(returns)
    after = {"reward": torch.ones(steps), "done": torch.ones(steps, dtype=torch.bool), "game_over": ends}
    after |= {"episode_return": raw, "episode_length": 2 * raw.long()}
    return TensorDict({"next": {key: value.view(1, steps, 1) for key, value in after.items()}}, [1, steps])


def test_scores_are_raw_returns_of_whole_games() -> None:
    scores = Scores()
    scores.add(played(5.0, 7.0, 8.0, over=[]))
    assert scores.recent() is None and scores.metrics() == {"train/games": 0}
    scores.add(played(9.0, 3.0, 40.0, over=[0, 2]))
    assert scores.metrics() == {"train/games": 2, "train/return": 24.5, "train/length": 49.0}
    assert scores.recent() == 24.5


def test_the_last_hundred_games_are_told_apart_from_all(tmp_path: Path) -> None:
    """In the log, in the summary, and after a resume, which goes on from a state."""
    with closing(Training(configured(tmp_path / "run"))) as training:
        for first in (0, 60, 120):
            training.scores.add(played(*map(float, range(first, first + 60))))
        summary = training.summary()
    scores = training.scores
    assert scores.metrics() == {"train/games": 180, "train/return": 129.5, "train/length": 259.0}
    assert (summary["games"], summary["return_mean"], summary["return_last"]) == (180, 89.5, 129.5)
    again = Scores()
    again.restore(scores.state())
    for each in (scores, again):
        each.add(played(1000.0))
    assert again.state() == scores.state() and again.recent() == (129.5 * 100 - 80 + 1000) / 100


def test_the_planner_is_told_how_much_of_the_training_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    improve = Planner.improve

    def watched(planner: Planner, batch: Any, progress: float, **keys: Any) -> dict[str, float]:
        seen.append(progress)
        return improve(planner, batch, progress, **keys)

    monkeypatch.setattr(Planner, "improve", watched)
    trained(tmp_path / "run", iterations=4)
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_rows_and_certificates_come_at_their_periods_and_at_the_end(tmp_path: Path) -> None:
    words = ["planner=deepspi", "log_every=2", "certify_every=4"]
    told = rows(trained(tmp_path / "run", *words, iterations=11))
    found = {int(row["env_steps"]) // 32: bool(row["certificate/D_sup"]) for row in told}
    assert found == {2: False, 4: True, 6: False, 8: True, 10: False, 11: True}


def test_every_barrier_of_every_seed_has_seeds_of_its_own() -> None:
    found = [word for seed in range(20) for iteration in range(20) for word in barrier_seeds(seed, iteration)]
    assert len(set(found)) == len(found) and all(0 <= word < 2**31 for word in found)
    assert barrier_seeds(2, 3) == barrier_seeds(2, 3)


def test_games_begin_anew_with_the_seeds_of_each_barrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is crossed at the end, where no game follows."""
    built: list[tuple[int, int]] = []
    build = Direct.build

    def watched(source: Direct, games: int, rest: int) -> None:
        built.append((games, rest))
        build(source, games, rest)

    monkeypatch.setattr(Direct, "build", watched)
    trained(tmp_path / "run", "seed=5", iterations=6, barrier=2)
    assert built == [barrier_seeds(5, iteration) for iteration in (0, 2, 4)]
