"""The wheel holds all it needs, and finds it wherever it is started from."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.runner.support import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = target.glob("*.whl")
    return found


def test_everything_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
    assert {"dreamspi/configs/config.yaml", "planners/__init__.py", "world_models/__init__.py"} <= members
    for package in ("dreamspi", "planners", "world_models"):
        assert {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")} <= members
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "dreamspi").rglob("data/*.csv")}
    assert data and data <= members
    assert {f"dreamspi/reports/page/page.{ending}" for ending in ("html", "css", "js")} <= members
    configs = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"dreamspi/{path}" for path in configs} <= members
    tops = {member.partition("/")[0] for member in members if ".dist-info" not in member}
    assert tops == {"dreamspi", "planners", "world_models"}, "no test and no benchmark is installed"


def test_it_runs_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Unzipped as pip would, before this checkout in the path, started from another directory."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = os.environ | {"PYTHONPATH": str(site)}

    def answer(*words: str) -> str:
        command = [sys.executable, "-m", "dreamspi", *words]
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    listed = answer("list")
    assert "planner=dreamspi" in listed and "world_model=mixture" in listed and "env=maze" in listed
    assert str(site / "dreamspi" / "configs") in answer("train", "--help")
    assert "hidden: 77" in answer("train", "--cfg", "job", "planner.hidden=77")
    assert list(elsewhere.iterdir()) == []
