"""docs/extending.md as written: its package is built and installed in a folder outside, its commands are run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dreamspi.cli import main
from tests.support import ROOT, blocks, forget_options
from world_models import checks

PAGE = "docs/extending.md"
TINY = ["total_steps=2048", "num_envs=32", "num_steps=8", "logger=none", "threads=1"]


def files() -> dict[str, str]:
    """The page's files: each block begins with its name."""
    texts = [text.partition("\n") for text in blocks("(?:python|yaml|toml)", PAGE)]
    return {name.lstrip("# "): content for name, _, content in texts}


def run(words: list[str], folder: Path) -> str:
    places = [str(folder / "site"), str(ROOT)]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=folder / "elsewhere", env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's package, installed in ``site``."""
    folder = tmp_path_factory.mktemp("extending")
    (folder / "elsewhere").mkdir()
    for name, content in (files() | {"my_package/__init__.py": ""}).items():
        (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "project" / name).write_text(content)
    # Offline, and without touching the environment that runs the tests.
    how = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    run(["pip", "install", *how, "--target", str(folder / "site"), str(folder / "project")], folder)
    return folder


COMMANDS = [line for text in blocks("sh", PAGE) for line in text.splitlines()]


def test_the_page_installs_the_package() -> None:
    assert COMMANDS[0] == "pip install -e ." and len(COMMANDS) >= 8
    assert all(line.startswith("dreamspi ") for line in COMMANDS[1:])


@pytest.mark.parametrize("line", COMMANDS[1:])
def test_every_command(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, as if the package were installed: importing torch anew takes longer than the command."""
    monkeypatch.chdir(folder / "elsewhere")
    monkeypatch.syspath_prepend(folder / "site")
    forget_options()
    words = line.split()[1:]
    name = f"run{COMMANDS.index(line)}"
    code = main([*words, *TINY, f"run_dir={name}"] if words[0] == "train" else words)
    forget_options()
    told = capsys.readouterr()
    assert code == 0, told.out + told.err
    if words[0] == "train":
        summary = json.loads(Path(name, "summary.json").read_text())
        assert summary["world_model"] in ("steps", "my_package.model.Steps")


def test_the_list_shows_all_three(folder: Path) -> None:
    text = run(["dreamspi", "list"], folder)
    for shown in ("world_model=steps ", "planner=doubting ", "env=walk "):
        assert shown in text
    assert text.count("(package my-package)") == 3 and "warning" not in text


def test_its_own_tests_pass(folder: Path) -> None:
    told = run(["pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(folder / "project" / "tests")], folder)
    assert re.search(r"^\d\d passed, \d+ skipped in", told, re.M), told


#: Mistakes in the model: what is written, what in its place, which check finds it, and what it tells.
MISTAKES = [
    (
        "Unbounded((latent,))",
        "Unbounded((latent + 1,))",
        "shapes",
        ["encode: a finite tensor [33]", "latent_spec says"],
    ),
    (
        '"termination": F.binary',
        '"ended": F.binary',
        "shapes",
        ["the keys transition, reward, term", "keys ended, rew"],
    ),
    ('terminated.float(), reduction="none")', "terminated.float())", "shapes", ["local_losses", "Nothing is averaged"]),
    (
        "F.smooth_l1_loss(self.reward(latent, action), reward",
        "F.smooth_l1_loss(self.reward(latent, action).detach(), reward",
        "gradients_arrive",
        ['local_losses["reward"] with a gradient', "no_grad() or .detach()"],
    ),
    (".squeeze(-1).sigmoid()", ".squeeze(-1)", "probabilities", ["probabilities in [0, 1]", "end with .sigmoid()"]),
    (
        "    def encode(self",
        "    transition_lipschitz = 1.0\n\n    def encode(self",
        "lipschitz",
        ["transition_lipschitz=1 claims", "a pair with", "None claims nothing"],
    ),
    ("latent + change,", "latent + change + np.random.rand(),", "seeds", ["imagine", "torch's generator only"]),
    (
        "return self.encoder(observation)",
        "return self.encoder(observation) + self.step[0].bias[:32]",
        "gradients_stop",
        ["encode: a gradient to the encoder's", "one to step.0.bias", "belongs into self.encoder"],
    ),
]


@pytest.mark.parametrize(("written", "instead", "check", "parts"), MISTAKES)
def test_a_mistake(written, instead, check, parts, tmp_path, monkeypatch, capsys) -> None:
    """The command names the check that fails, and says what to do."""
    assert files()["my_package/model.py"].count(written) == 1
    text = files()["my_package/model.py"].replace(written, instead)
    (tmp_path / "mistaken.py").write_text(f"import numpy as np\n{text}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mistaken", raising=False)
    monkeypatch.setattr("dreamspi.check.CHECKS", [check for check in checks.CHECKS if check not in checks.ONCE])
    assert main(["check", "mistaken.Steps", "env=maze"]) == 1
    told = capsys.readouterr().out
    told = told[told.index(f"  FAILED   {check} ") :]
    for part in parts:
        assert part in "\n".join(told.splitlines()[:4])
