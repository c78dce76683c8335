"""What a machine could do at best: the arithmetic that is counted, the emulators, and words refused."""

from __future__ import annotations

import pytest

from benchmarks.limits import emulator_of, limits, main


@pytest.mark.parametrize(
    ("env", "layers"),
    [
        ("atari/Pong", [2 * 400 * 32 * 4 * 64, 2 * 81 * 64 * 32 * 16, 2 * 49 * 64 * 64 * 9, 2 * 512 * 64 * 49]),
        ("minatar/breakout", [2 * 64 * 16 * 4 * 9, 2 * 128 * 1024, 2 * 512 * 128]),
    ],
)
def test_each_product_is_counted_once_to_act_and_thrice_to_learn_the_first_twice(env, layers):
    found = limits(emulator_of(env, 4, 1), envs=4, steps=2, epochs=3, minibatches=2)
    assert [layer.flops for layer in found.forward.values()] == [4 * flops for flops in layers]
    learnt = [4 * flops * (3 if index else 2) for index, flops in enumerate(layers)]
    assert [layer.flops for layer in found.backward.values()] == learnt
    assert found.flops == 3 * 4 * sum(layers) + 3 * 2 * sum(learnt)
    assert found.emulator > 0.0 and found.seconds > found.emulator + found.update
    assert found.emulator_steps_per_second > 100.0  # a hundredth of what a quiet core plays


def test_the_command(capsys):
    sizes = ["num_envs=4", "num_steps=1", "planner.ground.epochs=1", "planner.ground.minibatches=1", "threads=1"]
    assert main(["env=minatar/breakout", *sizes]) == 0
    told = capsys.readouterr().out
    assert "dense 128" in told and "forward on 4," in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["env=minatar/breakou"], "breakout"),
        (["env=atari/pong"], "Did you mean atari/Pong"),
        (["env=minatar/breakout", "env.name=brekout"], "env.name=brekout: no such name. Did you mean breakout"),
        (["experiment=maze_collapse"], "env=maze: its emulator"),
        (["planner=deepspi"], "planner: not here"),
        (["env=maze"], "Allowed: atari/<name>, minatar/<name>"),
        (["num_env=4"], "num_envs"),
        (["num_envs=four"], "num_envs=four"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
