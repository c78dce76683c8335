"""The README's extension example, as written, in a copy of the project: a new user's first afternoon."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TINY = ["total_steps=2048", "num_envs=32", "num_steps=8", "logger=none", "threads=1"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_the_environment_of_the_readme_trains(tmp_path: Path) -> None:
    for folder in ("dreamspi", "planners", "world_models", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for text in blocks("python") + blocks("yaml"):
        name = text.splitlines()[0].lstrip("# ")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.partition("\n")[2])
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def dreamspi(*words: str) -> str:
        command = [sys.executable, "-m", "dreamspi", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Walkers on a line" in dreamspi("list", "envs")
    dreamspi("train", "env=walk", "env.length=3", "run_dir=run", *TINY)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["env"] == "walk" and summary["return_last"] > 0


def test_every_command_of_the_readme_composes() -> None:
    from dreamspi.config import compose

    commands = [
        line.partition("#")[0].split()[2:]
        for text in blocks("sh")
        for line in text.splitlines()
        if line.startswith("dreamspi train") and "--help" not in line and "resume" not in line
    ]
    assert len(commands) >= 6
    for words in commands:
        if "-m" not in words:
            compose(words)
