"""``compile=true``: the same training, as torch.compile makes it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamspi.training import Training
from tests.runner.support import RSSM, configured


def metrics(directory: Path, *words: str) -> tuple[dict[str, float], list[torch.Tensor]]:
    """What two iterations report, and the parameters after them."""
    training = Training(configured(directory, "planner=dreamspi", "planner.dream.horizon=2", *words))
    training.start()
    training.iterate()
    found = training.iterate()
    training.close()
    named = {key: value for key, value in found.items() if not key.startswith("time/")}
    return named, [p.detach().clone() for p in training.planner.agent.parameters()]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        pytest.param("aot_eager", (), id="graphs"),
        pytest.param("aot_eager", ("world_model.penalty.weight=0.1",), id="graphs-penalty", marks=SLOW),
        pytest.param("inductor", (), id="code", marks=SLOW),
        pytest.param("inductor", RSSM, id="code-rssm", marks=SLOW),
    ],
)
def test_it_learns_the_same(
    backend: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All graphs and gradients are torch.compile's; machine code, which takes long to make, only in the slow ones."""
    from torch._inductor import config

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled: list[Any] = []
    real = partial(torch.compile, backend=backend)
    monkeypatch.setattr(torch, "compile", lambda *args, **keys: compiled.append(args[0]) or real(*args, **keys))
    plain, parameters = metrics(tmp_path / "plain", *words)
    assert not compiled
    with config.patch(fallback_random=True):  # draws as uncompiled code does
        fast, others = metrics(tmp_path / "fast", "compile=true", *words)
    assert len(compiled) == 4, "the ground phase's loss, the dream, its loss, and that of real returns"
    breaks = dict(torch._dynamo.utils.counters["graph_break"])
    assert bool(breaks) == ("penalty" in " ".join(words)), (
        f"only a gradient that is taken within the loss breaks a graph: {breaks}"
    )
    assert fast == pytest.approx(plain, rel=1e-3, abs=1e-4)
    for mine, other in zip(parameters, others, strict=True):
        torch.testing.assert_close(other, mine, rtol=1e-3, atol=1e-4)
