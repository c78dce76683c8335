"""The comparison with peers: ratios of made-up iterations, words refused, a small race of those that run here."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benchmarks" / "peers"


@pytest.fixture
def module(monkeypatch):
    """Imports a module as the scripts do, which find each other by their directory."""
    for directory in (PEERS.parent, PEERS):
        monkeypatch.syspath_prepend(str(directory))
    return importlib.import_module


def test_words_are_read_and_written_alike(module):
    protocol = module("protocol")
    work = protocol.parse(["game=atari/SpaceInvaders", "envs=16", "turns=true"])
    assert (work.rom, work.batch, work.minibatch, work.turns) == ("space_invaders", 128, 32, True)
    assert protocol.parse(work.words()) == work
    roms = {"UpNDown": "up_n_down", "TicTacToe3D": "tic_tac_toe_3d", "Pong": "pong", "MsPacman": "ms_pacman"}
    assert {name: protocol.Work(game=f"atari/{name}").rom for name in roms} == roms
    for word in ("envs=many", "enfs=3", "envs"):
        with pytest.raises(SystemExit):
            protocol.parse([word])


def test_ratios_are_taken_repeat_by_repeat(module):
    tables, contenders, protocol = (module(name) for name in ("tables", "contenders", "protocol"))
    seconds = {"dreamspi": [1, 1, 2, 2], "sb3": [2, 2, 2, 2], "torchrl": [4, 4, 4, 4]}
    found = {
        name: {
            "parameters": 1,
            "start_seconds": 0.0,
            "warm_up_seconds": 0.0,
            "rows": [{"steps": 8, "seconds": s, "cpu_seconds": 4} for s in mine],
        }
        for name, mine in seconds.items()
    }
    lines = tables.table(found, [], contenders.ENTRIES["ppo"], protocol.Work(iterations=2), "env steps")
    assert [line[:3] for line in lines[1:]] == [
        ["dreamspi", "6 (4 - 8)", "1.50 (1.00 - 2.00)"],
        ["sb3", "4 (4 - 4)", "1.00 (1.00 - 1.00)"],
        ["torchrl", "2 (2 - 2)", "0.50 (0.50 - 0.50)"],
    ]
    assert len(tables.markdown(lines).splitlines()) == 5


@pytest.mark.parametrize("phase", ["imagine", "whole"])
def test_our_own_dreams_run(module, phase):
    """The dream phase by itself, outside of a training, as the race has it."""
    work = module("protocol").Work(game="minatar/breakout", envs=8, horizon=2, phase=phase)
    contender = module("dreamspi_dreams").build(work)
    contender.iterate()
    assert contender.steps == 8 * work.steps * 2


@pytest.mark.slow
def test_a_race_of_those_that_need_no_other_environment(tmp_path):
    options = (
        "race=ppo contenders=dreamspi,cleanrl-style,torchrl,sb3 envs=8 epochs=1 minibatches=2 iterations=1 repeats=2"
    )
    command = [sys.executable, str(PEERS / "compare.py"), *options.split(), f"peers={sys.executable}"]
    done = subprocess.run([*command, f"results={tmp_path}"], capture_output=True, text=True, cwd=ROOT)
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_text())
    assert {mine["parameters"] for mine in found["contenders"].values()} == {1_687_719}
    assert all(row["steps"] == 64 for mine in found["contenders"].values() for row in mine["rows"])
    assert all(len(mine["rows"]) == 2 for mine in found["contenders"].values())
    try:
        importlib.import_module("stable_baselines3")
    except ModuleNotFoundError:  # a contender that can't run is left out, and says why
        assert done.returncode == 1
        assert "stable_baselines3" in found["failed"]["sb3"]
    else:
        assert done.returncode == 0, done.stderr
    assert "cleanrl-style" in done.stdout
