"""``metrics.csv`` and the loggers: every digit, whole rows, and no trace of what did not happen."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dreamspi.config import compose
from dreamspi.errors import UserError
from dreamspi.metrics import MetricWriter
from dreamspi.metrics_file import read_table
from dreamspi.run_directory import RunDirectory
from tests.runner.support import configured


def writer_of(directory: Path, logger: str = "none", **keys: Any) -> MetricWriter:
    directory.mkdir(exist_ok=True)
    config = configured(directory)
    config.logger = compose([f"logger={logger}"]).logger
    for key, value in keys.items():
        config.logger[key] = value
    return MetricWriter(RunDirectory(directory, config), config.logger)


@pytest.fixture
def writer(tmp_path: Path) -> MetricWriter:
    return writer_of(tmp_path)


def test_every_digit_comes_back(writer: MetricWriter) -> None:
    numbers = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.inf, math.nan]
    writer.log(7, {f"m/{i}": number for i, number in enumerate(numbers)} | {"count": 12345678901234567890})
    _, (row,) = read_table(writer.path)
    for i, number in enumerate(numbers):
        back = float(row[f"m/{i}"])
        assert back == number or math.isnan(number) and math.isnan(back)
        assert math.copysign(1, back) == math.copysign(1, number)
    assert row["count"] == "12345678901234567890"
    assert row["env_steps"] == "7"


def test_a_tensor_is_a_number(writer: MetricWriter) -> None:
    writer.log(1, {"single": torch.tensor(0.1), "count": torch.tensor(3)})  # type: ignore[dict-item]
    _, (row,) = read_table(writer.path)
    assert row == {"env_steps": "1", "count": "3", "single": repr(torch.tensor(0.1).item())}


def test_new_names_widen_the_table(writer: MetricWriter) -> None:
    """Columns are sorted, the step first; what a row lacks stays empty."""
    writer.log(10, {"b": 1.0})
    writer.log(20, {"c": 2.0, "a": 3.0})
    writer.log(30, {"b": 4.0})
    assert writer.path.read_text() == "env_steps,a,b,c\n10,,1.0,\n20,3.0,,2.0\n30,,4.0,\n"


def test_names_with_commas_and_quotes(writer: MetricWriter) -> None:
    writer.log(1, {'a,"b"': 1.0})
    with writer.path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"env_steps": "1", 'a,"b"': "1.0"}]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_half_written_row_is_no_row(cut: int, writer: MetricWriter) -> None:
    """Wherever a kill cut the last row short, the table is the one without it, and goes on."""
    writer.log(100, {"a": 1.25})
    writer.log(200, {"a": 2.5})
    whole = writer.path.read_bytes()
    assert whole.endswith(b"200,2.5\n")
    writer.path.write_bytes(whole[:-cut] if cut < 9 else whole + b"300,4.25\n"[: cut - 8])
    expected = ["100"] if cut < 9 else ["100", "200"]
    assert [row["env_steps"] for row in read_table(writer.path)[1]] == expected
    again = writer_of(writer.path.parent)
    again.truncate(1000)
    again.log(300, {"a": 3.5})
    assert [row["env_steps"] for row in read_table(writer.path)[1]] == [*expected, "300"]


@pytest.mark.parametrize("content", ["", "env_ste", "env_steps,a\n"])
def test_a_table_without_rows(content: str, writer: MetricWriter) -> None:
    writer.path.write_text(content)
    assert read_table(writer.path)[1] == []
    again = writer_of(writer.path.parent)
    again.truncate(0)
    again.log(1, {"b": 2.0})
    assert writer.path.read_text() == "env_steps,b\n1,2.0\n"


def test_truncate_is_the_table_as_it_was(writer: MetricWriter) -> None:
    """Columns that came later go as well, so that a resumed run's file is byte for byte the same."""
    writer.log(10, {"a": 1.0})
    writer.log(20, {"a": 2.0})
    before = writer.path.read_bytes()
    writer.log(30, {"a": 3.0, "later": 4.0})
    whole = writer.path.read_bytes()
    writer.truncate(20)
    assert writer.path.read_bytes() == before
    writer.log(30, {"a": 3.0, "later": 4.0})
    assert writer.path.read_bytes() == whole
    writer.truncate(0)
    assert writer.path.read_bytes() == b""
    writer.log(5, {"other": 1.0})
    assert writer.path.read_text() == "env_steps,other\n5,1.0\n"


# ------------------------------------------------------------------ TorchRL's loggers


def test_the_csv_logger_forgets_too(tmp_path: Path) -> None:
    first = writer_of(tmp_path, "csv")
    for step in (10, 20, 100):
        first.log(step, {"train/return": step / 8})
    first.close()
    path = tmp_path / "csv" / "scalars" / "train" / "return.csv"
    assert path.read_text() == "10,1.25\n20,2.5\n100,12.5\n"
    path.write_text(path.read_text() + "1")  # of "120,15.0", cut short by a kill
    again = writer_of(tmp_path, "csv")
    again.truncate(20)
    assert path.read_text() == "10,1.25\n20,2.5\n"
    again.log(100, {"train/return": 0.5})
    again.close()
    assert path.read_text() == "10,1.25\n20,2.5\n100,0.5\n"


def test_tensorboard_forgets_too(tmp_path: Path) -> None:
    """What was logged after the checkpoint is superseded, not shown twice."""
    first = writer_of(tmp_path, "tensorboard")
    for step in (10, 20, 30, 40):
        first.log(step, {"train/return": float(step)})
    first.close()
    again = writer_of(tmp_path, "tensorboard")
    again.truncate(20)
    for step in (30, 40, 50):
        again.log(step, {"train/return": step + 0.5})
    again.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train/return")
    assert [(event.step, event.value) for event in shown] == [(10, 10), (20, 20), (30, 30.5), (40, 40.5), (50, 50.5)]


def test_names_of_the_run_are_filled_in(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "my-run", "csv", exp_name="{run_name}-{run_id}")
    run_id = configured(tmp_path).choices.run_id
    writer.log(1, {"a": 1.0})
    assert (tmp_path / "my-run" / f"my-run-{run_id}" / "scalars" / "a.csv").is_file()


def test_a_logger_that_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="logger CSVLogger: can't start"):
        writer_of(tmp_path, "csv", log_dir="/proc/none")


def test_a_logger_whose_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is installed."""

    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("wandb could not be imported")

    monkeypatch.setattr("dreamspi.metrics.instantiate", missing)
    told = (
        r"logger WandbLogger: can't start: wandb could not be imported\. Install it: pip install 'dreamspi\[wandb\]'\."
    )
    with pytest.raises(UserError, match=told):
        writer_of(tmp_path, "wandb")
