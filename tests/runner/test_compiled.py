"""``compile=true``: the same training, as torch.compile makes it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from planners.optimization import NotFinite
from tests.runner.cuda_graphs import Graphs
from tests.runner.support import RSSM, configured, learnt

#: Of an iteration: two of the ground phase, two in the dream.
UPDATES = 4


def metrics(directory: Path, *words: str) -> tuple[dict[str, float], list[torch.Tensor]]:
    """What two iterations report, and the parameters after them."""
    return learnt(configured(directory, "planner=dreamspi", "planner.dream.horizon=2", *words))


SLOW = pytest.mark.slow
GRAPHS = Graphs()


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """What is set for compiled code holds for a process, and the tests share one."""
    from torch._functorch import config

    torch._dynamo.reset()
    threads = torch.get_num_threads()
    with config.patch(recompute_views=False):
        yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        pytest.param(GRAPHS.backend, (), id="graphs"),
        pytest.param(GRAPHS.backend, ("world_model.penalty.weight=0.1",), id="graphs-penalty", marks=SLOW),
        pytest.param(GRAPHS.backend, RSSM, id="graphs-rssm", marks=SLOW),
        pytest.param("inductor", (), id="code", marks=SLOW),
        pytest.param("inductor", RSSM, id="code-rssm", marks=SLOW),
    ],
)
def test_it_learns_the_same(
    backend: Any, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All graphs and gradients are torch.compile's, and what a graph gave is not read after the next replay; machine
    code, which takes long to make, only in the slow ones."""
    from torch._inductor import config

    torch._dynamo.utils.counters.clear()
    GRAPHS.replays = 0
    compiled: list[Any] = []
    real = partial(torch.compile, backend=backend)
    monkeypatch.setattr(torch, "compile", lambda *args, **keys: compiled.append(args[0]) or real(*args, **keys))
    plain, parameters = metrics(tmp_path / "plain", *words)
    assert not compiled
    with config.patch(fallback_random=True):  # draws as uncompiled code does
        fast, others = metrics(tmp_path / "fast", "compile=true", *words)
    assert len(compiled) == 4, "the ground phase's loss, the dream, its loss, and that of real returns"
    assert GRAPHS.replays >= (2 * UPDATES if backend == GRAPHS.backend else 0)
    breaks = dict(torch._dynamo.utils.counters["graph_break"])
    assert bool(breaks) == ("penalty" in " ".join(words)), (
        f"only a gradient that is taken within the loss breaks a graph: {breaks}"
    )
    assert fast == pytest.approx(plain, rel=1e-3, abs=1e-4)
    for mine, other in zip(parameters, others, strict=True):
        torch.testing.assert_close(other, mine, rtol=1e-3, atol=1e-4)


@SLOW
def test_a_dream_in_pieces_would_be_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is why there are none on a GPU; and why the test above can fail."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=Graphs().backend))
    monkeypatch.setattr("planners.dream.CHUNK", 1)
    with pytest.raises(NotFinite):
        metrics(tmp_path, "compile=true")


@SLOW
def test_the_same_seed_gives_the_same_result_on_two_threads(tmp_path: Path) -> None:
    """Which add an embedding's gradient up in any order where nothing forbids it."""
    torch.set_num_threads(2)
    words = ("compile=true", "num_envs=128", "num_steps=8", "threads=2")
    ends = [metrics(tmp_path / name, *words) for name in ("one", "another")]
    assert ends[0][0] == ends[1][0]
    assert all(map(torch.equal, ends[0][1], ends[1][1]))
