"""Speed is not bought with precision, nor lost to numbers that are as good as zero."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dreamspi.config import compose
from dreamspi.machine import emulates_bfloat16
from dreamspi.train import train
from tests.runner.support import trained
from tests.support import tiny


def test_products_stay_in_single_precision() -> None:
    """Forward and backward, with an error that bfloat16 (8 bits of mantissa) could not have."""
    program = """if True:
        import torch
        before = torch.get_num_threads()
        from dreamspi.machine import prepare
        prepare(1)
        torch.manual_seed(0)
        x, w = torch.randn(256, 512).requires_grad_(), torch.randn(128, 512).requires_grad_()
        found = torch.autograd.grad(torch.nn.functional.linear(x, w).square().sum(), (x, w))
        x, w = x.double(), w.double()
        exact = torch.autograd.grad(torch.nn.functional.linear(x, w).square().sum(), (x, w))
        errors = [float((a - b).norm() / b.norm()) for a, b in zip(found, exact)]
        assert max(errors) < 1e-6, errors
        assert torch.get_num_threads() == 1
        prepare(None)  # the next of several trainings
        assert torch.get_num_threads() == before
        assert not torch.backends.cudnn.allow_tf32
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("maker", ["GenuineIntel", "AuthenticAMD", ""])
def test_products_are_left_to_mkl_on_processors_of_its_maker(maker: str) -> None:
    program = f"""if True:
        import torch
        from dreamspi import machine
        machine.processor = lambda fact: {maker!r}
        before = torch.backends.mkldnn.matmul.fp32_precision
        machine.prepare(1)
        now = torch.backends.mkldnn.matmul.fp32_precision
        faster = torch.cpu._is_avx512_supported() and {maker!r} != "GenuineIntel"
        assert machine.products_are_single()
        assert now == ("bf16" if faster else before) or torch.cpu._is_amx_tile_supported(), now
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("emulates", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_user_is_told_where_bfloat16_is_slow(
    emulates: bool, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dreamspi.train.emulates_bfloat16", lambda device: emulates and device == "cpu")
    trained(tmp_path / "run", f"precision={precision}")
    told = "precision=bf16 on cpu: this processor has no such arithmetic, fp32 is faster here"
    assert (told in capsys.readouterr().out) == (emulates and precision == "bf16")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["total_steps=70"], "total_steps=70: 2 whole batches of num_envs * num_steps = 32 steps are 64"),
        (["threads=999"], "threads=999: more than the "),
        (["checkpoint.barrier=1"], "checkpoint.barrier=1: games begin anew every 4 steps; no longer one ends"),
        ([], None),
    ],
)
def test_a_user_is_told_what_may_not_have_been_meant(
    words: list[str], told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("dreamspi.train.prepare", lambda threads: None)
    typed = {word.partition("=")[0] for word in words}
    assert train(compose([*tiny("planner=ppo", without=typed), *words, f"run_dir={tmp_path / 'run'}"])) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(told) if told else first.startswith("env=maze")


@pytest.mark.parametrize("native", [False, True])
def test_it_is_a_processor_without_its_arithmetic(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert emulates_bfloat16("cpu") != native
    assert not emulates_bfloat16("cuda:1")


def test_numbers_below_the_smallest_normal_are_zero_in_every_thread() -> None:
    program = """if True:
        import torch
        from dreamspi.machine import prepare
        prepare(2)
        tiny = torch.full((1 << 20,), 2e-38)  # enough that both threads have a share
        assert tiny.all()
        assert not (tiny * 0.5).any()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
