"""What a command takes: its time, its memory and nobody else's, and wrong input in one line."""

from __future__ import annotations

import json

import pytest

from benchmarks.startup import main, wait
from dreamspi.errors import UserError
from tests.support import refused, tiny

#: Makes an empty metrics.csv where ``train`` would, and then a row.
WRITES = """
import sys, time, pathlib
path = pathlib.Path(sys.argv[-1].partition("=")[2])
path.mkdir()
(path / "metrics.csv").touch()
time.sleep(0.6)
(path / "metrics.csv").write_text("env_steps")
time.sleep(0.4)
"""


def test_time_and_memory_are_the_command_s_own():
    """This process holds torch; a command that holds nothing is not charged with it."""
    nothing = wait(["-c", "import time; time.sleep(0.3)"])
    assert 0.3 <= nothing.end < 5 and nothing.update == nothing.end
    assert 1 < nothing.mebibytes < 40
    held = wait(["-c", "import time; x = b'x' * (200 << 20); del x; time.sleep(0.2)"])
    assert 190 < held.mebibytes - nothing.mebibytes < 210


def test_a_command_that_fails_is_named():
    with pytest.raises(UserError, match="raise SystemExit.*exit code 3"):
        wait(["-c", "raise SystemExit(3)"])


def test_a_run_of_it(tmp_path, capsys):
    file = tmp_path / "startup.json"
    words = tiny(without=["planner", "total_steps", "log_every"])
    assert main([*words, "planners=ppo", "iterations=2", "repeats=1", f"json={file}"]) == 0
    found = json.loads(file.read_text())["commands"]
    assert list(found) == ["train planner=ppo", "import dreamspi", "dreamspi --help", "dreamspi list"]
    train, light = found["train planner=ppo"], found["dreamspi --help"]
    assert 0 < train["update"]["median"] < train["end"]["median"]
    quick = wait(["-c", WRITES, "train"])
    assert 0.6 < quick.update < quick.end - 0.2, "an empty metrics.csv is no update"
    assert train["mebibytes"]["median"] > 100 > light["mebibytes"]["median"]
    assert "s to the first update" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["planners=ppo,deepspy"], "planners=deepspy: no such name. Did you mean deepspi"),
        (["repeats=0"], "repeats=0: must be a whole number"),
        (["num_env=3"], "num_env: no such key"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, message, capsys):
    assert message in refused(words, capsys, main)
