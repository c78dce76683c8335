"""What is left out of the matrices, and that it is said."""

from __future__ import annotations

import numpy as np
import pytest

from dreamspi.reports.scores import measures, scores, suites
from tests.reports.synthetic import ARMS, OPTIMUM, STEPS, results, with_curve, with_settings

A, B = "minatar/asterix", "minatar/breakout"


def test_a_whole_study_gives_whole_matrices_and_nothing_to_say() -> None:
    found = scores(results(seeds=(3, 1, 2)), "minatar")
    assert found.environments == ("minatar/breakout", "minatar/space_invaders")
    assert found.messages == ()
    assert tuple(found.matrices) == ARMS
    for matrix in found.matrices.values():
        assert matrix.seeds == (1, 2, 3)
        assert matrix.scores.shape == (3, 2)
        assert [[run.cell.seed for run in row] for row in matrix.runs] == [[1, 1], [2, 2], [3, 3]]


def test_rows_are_seeds_and_columns_environments() -> None:
    values = {(env, "ppo", seed): 10.0 * column + seed for column, env in enumerate((A, B)) for seed in (1, 2)}
    matrix = scores(results(["ppo"], [A, B], [1, 2], scores=values), "minatar").matrices["ppo"]
    asterix, breakout = (lambda x: (x - 0.51) / (15 - 0.51)), (lambda x: (x - 0.38) / (28 - 0.38))
    expected = [[asterix(1), breakout(11)], [asterix(2), breakout(12)]]
    np.testing.assert_allclose(matrix.scores, expected)


def test_only_seeds_that_an_arm_has_everywhere_are_used() -> None:
    found = scores(results(["ppo", "deepspi"], [A, B], [1, 2, 3], missing=[(A, "ppo", 2)]), "minatar")
    assert found.matrices["ppo"].seeds == (1, 3)
    assert found.matrices["deepspi"].seeds == (1, 2, 3)
    assert found.messages == (f"{B}, ppo: seed 2 not used, it is missing in another environment.",)


def test_an_arm_without_a_common_seed_is_left_out() -> None:
    found = scores(results(["ppo", "deepspi"], [A, B], [1, 2], missing=[(A, "ppo", 1), (B, "ppo", 2)]), "minatar")
    assert tuple(found.matrices) == ("deepspi",)
    assert found.messages == ("ppo: left out, no seed of it has a score in every environment.",)


def test_all_arms_are_averaged_over_the_same_environments() -> None:
    missing = [(A, "ppo", seed) for seed in (1, 2)]
    found = scores(results(["ppo", "deepspi"], [A, B], [1, 2], missing=missing), "minatar")
    assert found.environments == (B,)
    assert {matrix.environments for matrix in found.matrices.values()} == {(B,)}
    assert found.messages[0] == f"{A}: left out, ppo has no score there."
    assert "only environment" in found.messages[1]


def test_a_training_in_which_no_game_ended_has_no_score() -> None:
    found = scores(results(["ppo"], [A, B], [1, 2], no_game=[(A, "ppo", 2)]), "minatar")
    assert found.matrices["ppo"].seeds == (1,)
    assert f"{A}, ppo, seed 2: no game ended in training, so it has no score." in found.messages
    assert np.isfinite(found.matrices["ppo"].scores).all()


def test_an_environment_without_a_reference_is_left_out_and_said_so() -> None:
    found = scores(results(["ppo"], [A, "minatar/seaquest"]), "minatar")
    assert found.environments == (A,)
    assert "minatar/seaquest: left out, no reference score is known for it." in found.messages
    gym = scores(results(["ppo"], ["gym/CartPole-v1", "gym/LunarLander-v3"]), "gym")
    assert gym.environments == ("gym/CartPole-v1",)
    assert "gym/LunarLander-v3: left out, no random score, or no reward threshold, is known for it." in gym.messages
    nothing = scores(results(["ppo"], ["theirs/game"]), "theirs")
    assert nothing.matrices == {}
    assert nothing.messages == ("theirs/game: left out, no reference score is known for it.",)


def test_an_arm_that_was_not_tried_in_a_suite() -> None:
    missing = [("maze", "ppo", seed) for seed in (1, 2, 3)]
    found = scores(results(["ppo", "deepspi"], missing=missing), "maze")
    assert tuple(found.matrices) == ("deepspi",)
    assert "ppo: left out, it has no score in maze." in found.messages
    assert found.matrices["deepspi"].scores.max() <= 1


def test_returns_have_no_optimum() -> None:
    found = scores(results(["ppo", "deepspi"], ["maze"], memory=["deepspi"]), "maze")
    assert found.matrices == {}
    assert found.messages == ("maze: left out, the optimum is an exact value, and not every training there has one.",)


def test_suites_are_never_mixed() -> None:
    found = results(["ppo"], ["maze", A, "atari/Pong", "atari_machado/Pong"])
    assert suites(found) == ("maze", "minatar", "atari", "atari_machado")
    assert all(len(scores(found, name).environments) == 1 for name in suites(found))
    assert scores(found, "maze").matrices["ppo"].runs[0][0].score == pytest.approx(
        scores(found, "maze").matrices["ppo"].scores[0, 0] * OPTIMUM
    )


@pytest.mark.parametrize(("copies", "told"), [(1, "24%"), (150, "36%"), (1000, "100%")])
def test_a_score_from_games_as_long_as_a_good_part_of_the_training_says_so(copies: int, told: str) -> None:
    made, key = results(["ppo"], [A], [1]), (A, "ppo", 1)
    lengths = [0.0024 * STEPS] * len(made.runs[0].curves)
    notes = measures(with_curve(with_settings(made, {key: {"num_envs": copies}}), "train/length", {key: lengths}))
    assert any(f"{A}: those games take up to {told} of a training" in note for note in notes) == (copies > 1)
