"""Metrics of a run: one row of ``metrics.csv`` at a time, and the same to a TorchRL logger.

``metrics.csv`` is the record: its floats are written with every digit, so that two runs may be compared bit
by bit, and its columns are sorted, ``env_steps`` first. Everything under ``time/`` is the clock's and differs
between any two runs.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torchrl.record.loggers import CSVLogger, Logger, TensorboardLogger

from dreamspi.errors import UserError
from dreamspi.metrics_file import STEP, read_table
from dreamspi.run_directory import RunDirectory, write_atomically


class MetricWriter:
    """Appends metrics to ``metrics.csv`` and to the logger of the configuration.

    Args:
        run: the run's directory.
        logger: the logger group of the configuration; ``_target_: null`` for none.
    """

    def __init__(self, run: RunDirectory, logger: DictConfig) -> None:
        self.path = run.metrics
        self.columns, _ = read_table(self.path)
        self.logger = make_logger(run, logger)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Writes one row.

        Args:
            step: environment steps taken so far, increasing from row to row.
            metrics: numbers by name; a name that is new widens the table, one that is missing stays empty.
        """
        if set(metrics) - set(self.columns):
            self._widen(set(metrics))
        row = {STEP: repr(int(step))} | {name: _text(value) for name, value in metrics.items()}
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_line(row.get(column, "") for column in self.columns))
        if self.logger is not None:
            self.logger.log_metrics(dict(metrics), step=step)

    def truncate(self, step: int) -> None:
        """Forgets every row after ``step``, and a half-written one: the table as it was at a checkpoint."""
        columns, rows = read_table(self.path)
        rows = [row for row in rows if int(row[STEP]) <= step]
        # A column that only the dropped rows had was not there yet.
        columns = [column for column in columns if column == STEP or any(row[column] for row in rows)]
        self.columns = columns if rows else []
        self._rewrite(rows)
        _truncate_logger(self.logger, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flushes and closes the logger."""
        experiment = getattr(self.logger, "experiment", None)
        for verb in ("close", "finish"):
            if callable(stop := getattr(experiment, verb, None)):
                stop()
                break

    def _widen(self, names: set[str]) -> None:
        _, rows = read_table(self.path)
        self.columns = [STEP, *sorted((set(self.columns) | names) - {STEP})]
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        lines = [_line(self.columns)] if self.columns else []
        lines += [_line(row.get(column, "") for column in self.columns) for row in rows]
        write_atomically(self.path, "".join(lines))


#: Loggers whose packages are extras of ours, by their names.
EXTRAS = ("wandb", "mlflow")


def make_logger(run: RunDirectory, config: DictConfig) -> Logger | None:
    """The TorchRL logger of a configuration.

    ``{run_dir}``, ``{run_name}`` and ``{run_id}`` in its values stand for the run's directory, its name, and
    its identity, so that a run directory can be moved and still be resumed.
    """
    if config.get("_target_") is None:
        return None
    names = {
        "run_dir": str(run.path.resolve()),
        "run_name": run.path.resolve().name,
        "run_id": run.config.choices.run_id,
    }
    values: dict[str, Any] = {
        str(key): value.format(**names) if isinstance(value, str) else value for key, value in dict(config).items()
    }
    try:
        return instantiate(OmegaConf.create(values), _convert_="all")
    except (HydraException, ImportError) as error:
        cause, name = error.__cause__ or error, values["_target_"].rpartition(".")[2]
        extra = name.removesuffix("Logger").lower()
        remedy = f" Install it: pip install 'dreamspi[{extra}]'." if extra in EXTRAS else ""
        raise UserError(f"logger {name}: can't start: {str(cause).rstrip('.')}.{remedy}") from error


def _truncate_logger(logger: Logger | None, step: int) -> None:
    """Says to a logger that what came after ``step`` is about to happen again, where it can be told."""
    if isinstance(logger, TensorboardLogger):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        writer = logger.experiment._get_file_writer()
        writer.add_event(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
    elif isinstance(logger, CSVLogger):
        for path in Path(logger.experiment.log_dir, "scalars").rglob("*.csv"):
            lines = path.read_text().splitlines(keepends=True)
            whole = (line for line in lines if line.endswith("\n"))
            write_atomically(path, "".join(line for line in whole if int(line.split(",")[0]) <= step))


def _text(value: Any) -> str:
    """A number with every digit; a tensor's as Python's."""
    number = value.item() if hasattr(value, "item") else value
    return repr(number) if isinstance(number, int) else repr(float(number))


def _line(values: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()
