"""One training on several machines: ``collector.backend=ray`` on a real cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamspi.cli import main
from dreamspi.collection import Collection
from dreamspi.errors import UserError
from dreamspi.training import Training
from tests.runner.support import configured, resume, rows
from tests.support import tiny

SMALL = ["world_model=rssm", "world_model.deterministic=16", "world_model.hidden=32", "env.max_steps=5"]


def on(cluster: Any, *more: str) -> list[str]:
    return ["collector.backend=ray", f"collector.address={cluster.address}", *more]


@pytest.fixture(autouse=True)
def disconnected() -> Any:
    """A test that has joined the cluster leaves it."""
    yield
    import ray

    ray.shutdown()


def test_batches_are_by_the_current_policy_and_carry_its_memory(cluster: Any, tmp_path: Path) -> None:
    """Two batches and, between them, what was learnt: the second one's latents are those of the policy of now."""
    training = Training(configured(tmp_path / "run", "planner=deepspi", *SMALL, *on(cluster)))
    training.start()
    first = training.collection.next().clone()
    training.planner.improve(first, 0.0, diagnose=False, certify=False)
    second = training.collection.next().clone()
    training.close()
    assert first.shape == second.shape == (8, 4)
    walk = torch.cat((first, second), 1)
    carried = torch.where(walk["next", "done"], 0.0, walk["next", "memory"])[:, :-1]
    torch.testing.assert_close(walk["memory"][:, 1:], carried)
    assert walk["next", "memory"].abs().sum() > 0 and (walk["memory"][:, 0] == 0).all()
    with torch.no_grad():
        torch.testing.assert_close(training.planner.agent.world_model.latents(second), second["latent"])
    assert len(first["action"].unique(dim=0)) > 1, "each copy draws its own actions"


@pytest.mark.slow
def test_a_training_goes_on_without_the_worker_that_died_and_is_resumed(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the same run is the same run; then one with a worker killed, stopped, and resumed."""
    paces = {"iterations": 60, "checkpoint": 20}
    words = tiny(*on(cluster), "num_envs=16", **paces)
    assert main(["train", *words, "run_dir=whole"]) == 0
    original, calls = Collection.next, 0

    def killing(self: Collection) -> Any:
        nonlocal calls
        calls += 1
        if calls == 20:
            source: Any = self.source
            worker = source.collector.remote_collectors[0]
            os.kill(source.ray.get(worker.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
        if calls == 30:
            signal.raise_signal(signal.SIGTERM)
        return original(self)

    monkeypatch.setattr(Collection, "next", killing)
    with pytest.warns(UserWarning, match="a Ray worker was lost .*; the workers and their games begin anew"):
        assert main(["train", *words, "run_dir=broken"]) == 143
    assert resume(Path("broken")) == 0
    assert calls == 60
    assert [row["env_steps"] for row in rows(Path("broken"))] == [row["env_steps"] for row in rows(Path("whole"))]
    assert rows(Path("broken"))[:9] == rows(Path("whole"))[:9], "until then the same seed gave the same games"


def test_no_room(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = tiny(*on(cluster, "collector.workers=8", "collector.patience=1"))
    assert main(["train", *words, "run_dir=run"]) == 2
    told = "collector.workers=8: the Ray cluster had no room for as many workers of collector.cpus=1 within "
    assert f"dreamspi: {told}collector.patience=1 seconds; " in capsys.readouterr().err


def test_shares_must_be_equal(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"collector.workers=3: must divide num_envs=8"):
        Training(configured(tmp_path / "run", *on(cluster, "collector.workers=3")))
