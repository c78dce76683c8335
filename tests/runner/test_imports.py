"""Help, lists and refusals answer at once: nothing heavy is imported for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dreamspi.cli import COMMANDS

HEAVY = {"torch", "torchrl", "tensordict", "gymnasium", "matplotlib", "tensorboard", "scipy", "ale_py", "minatar"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["list"], 0),
        *(([command, "--help"], 0) for command in COMMANDS),
        (["study", "name=x", "env=maze", "dry=true"], 0),
        (["trian"], 2),
        (["train", "env=minatar/breakuot"], 2),
        (["train", "planner.C=3"], 2),
        (["train", "resume=nowhere"], 2),
    ],
)
def test_answers_without_torch(words: list[str], code: int) -> None:
    program = (
        "import sys; from dreamspi.cli import main;"
        f"code = main({words!r}); loaded = {HEAVY!r} & set(sys.modules);"
        f"assert code == {code}, code; assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_packages_must_be_ours() -> None:
    """Another package is called ``world_models`` too: whoever has it before ours is told so."""
    program = (
        "import sys, pathlib; pathlib.Path('world_models').mkdir(); pathlib.Path('world_models/__init__.py').touch();"
        "sys.path.insert(0, '.'); from dreamspi.cli import main; sys.exit(main(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "another package named world_models" in done.stderr and "torchwm" in done.stderr
