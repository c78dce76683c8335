"""The training loop: collect, improve, log, checkpoint. It reads from top to bottom.

Determinism: everything random comes from generators seeded at barriers or restored from checkpoints, so the
rows of ``metrics.csv`` (but for those under ``time/``) depend on configuration, seed and machine alone.
"""

from __future__ import annotations

from contextlib import closing

import torch
from omegaconf import DictConfig

from dreamspi.checkpoints import CheckpointStore
from dreamspi.errors import Diverged, UserError
from dreamspi.interrupts import Interrupts
from dreamspi.metrics import MetricWriter
from dreamspi.picture import draw
from dreamspi.progress import Progress
from dreamspi.run_directory import RunDirectory
from dreamspi.training import Training
from planners.optimization import NotFinite


def train(cfg: DictConfig, resume: bool = False) -> int:
    """Trains to the end, or until a signal.

    Args:
        cfg: the resolved configuration.
        resume: go on with the run in ``cfg.run_dir`` instead of starting it.

    Returns:
        The exit code: 0 at the end of training, 128 + n after signal n (a checkpoint was saved).

    Raises:
        UserError: something in the configuration can't work; nothing was written.
        Diverged: a loss, a gradient or a parameter was not finite; names it and the last good checkpoint.
    """
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    training = Training(cfg)
    run = RunDirectory.open(cfg.run_dir) if resume else RunDirectory.create(cfg)
    store = CheckpointStore(run.checkpoints, keep=cfg.checkpoint.keep, best_metric="return")
    with (
        closing(training),
        Interrupts() as interrupts,
        _writer(run, cfg, resume) as writer,
        Progress(training.total_steps, run) as progress,
    ):
        if resume and store.paths():
            training.restore(store)
        else:
            training.start()
        writer.truncate(training.env_steps)
        progress.start(training.env_steps)
        while not training.finished:
            try:
                metrics = training.iterate()
            except NotFinite as error:
                raise Diverged(_last_words(error, training, store)) from error
            if training.is_due(cfg.log_every):
                writer.log(training.env_steps, metrics)
            progress.update(training.env_steps, metrics)
            training.cross_barrier()
            if training.is_due(training.checkpoint_period) or interrupts.signal:
                training.save(store)
            if interrupts.signal:
                progress.say(f"stopped; go on with: dreamspi train resume={run.path}")
                return 128 + interrupts.signal
        summary = run.write_summary(training.summary())
        draw(run)
        progress.table(summary)
    return 0


def _writer(run: RunDirectory, cfg: DictConfig, resume: bool) -> MetricWriter:
    try:
        return MetricWriter(run, cfg.logger)
    except UserError:
        if not resume:
            run.remove()
        raise


def _last_words(error: NotFinite, training: Training, store: CheckpointStore) -> str:
    good = store.newest() or "none"
    return (
        f"{error}, after {training.env_steps} steps. Nothing of that iteration was saved. Last good checkpoint: {good}."
    )
