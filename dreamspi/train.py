"""The training loop: collect, improve, log, checkpoint. It reads from top to bottom.

Determinism: everything random comes from generators seeded at barriers or restored from checkpoints, so the
rows of ``metrics.csv`` (but for those under ``time/``) depend on configuration, seed and machine alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from omegaconf import DictConfig

from dreamspi.building import refusals
from dreamspi.checkpoints import CheckpointStore
from dreamspi.cores import cores
from dreamspi.errors import NO_SPACE, Diverged, UserError
from dreamspi.interrupts import Interrupts
from dreamspi.machine import emulates_bfloat16, prepare
from dreamspi.metrics import MetricWriter
from dreamspi.progress import Progress
from dreamspi.run_directory import RunDirectory
from dreamspi.training import Training
from dreamspi.trial import tried
from planners.optimization import NotFinite

#: Share of the budget that whole batches must make, for nothing to be said.
ENOUGH = 0.95
#: Steps of each copy below which a user is told that games begin anew so soon.
SHORT_STRETCH = 256


def train(cfg: DictConfig, resume: bool = False) -> int:
    """Trains to the end, or until a signal.

    Args:
        cfg: the resolved configuration.
        resume: go on with the run in ``cfg.run_dir`` instead of starting it.

    Returns:
        The exit code: 0 at the end of training, 128 + n after signal n (what was learnt is saved).

    Raises:
        UserError: something in the configuration can't work. Nothing was written, unless only playing could show it.
        Diverged: a loss, a gradient or a parameter was not finite; names it and the last good checkpoint.
    """
    if resume and _tell_finished(cfg):
        return 0
    prepare(cfg.threads)
    training = Training(cfg) if resume else tried(cfg)
    run = RunDirectory.open(cfg.run_dir) if resume else RunDirectory.create(cfg)
    store = _store(run, cfg)
    with (
        run.held(),
        _full_disk_told(store),
        closing(training),
        refusals(),
        Interrupts() as interrupts,
        _writer(run, cfg, resume) as writer,
        Progress(training.total_steps, run) as progress,
    ):
        for remark in _remarks(cfg, training):
            progress.say(remark)
        if resume and store.paths():
            training.restore(store, progress.say, stop=lambda: interrupts.signal != 0)
        else:
            training.start()
        writer.truncate(training.env_steps)
        progress.start(training.env_steps)
        stop = interrupts.signal  # so far there is nothing to save
        while not training.finished and not stop:
            try:
                metrics = training.iterate()
            except NotFinite as error:
                raise Diverged(_last_words(error, training, store)) from error
            if training.is_due(cfg.log_every):
                writer.log(training.env_steps, metrics)
            progress.update(training.env_steps, metrics)
            training.cross_barrier()
            stop = interrupts.signal  # read once: none may come between saving and leaving
            if training.is_due(training.checkpoint_period) or stop:
                training.save(store)
        if stop:
            progress.say(f"stopped; go on with: dreamspi train resume={run.path}")
            return 128 + stop
        summary = run.write_summary(training.summary())
        _draw(run)
        progress.table(summary)
    return 0


def _remarks(cfg: DictConfig, training: Training) -> Iterator[str]:
    """What works, and may not be what was meant."""
    if training.total_steps < ENOUGH * cfg.total_steps:
        batches = f"{training.iterations} whole batches of num_envs * num_steps = {training.batch_steps} steps"
        yield f"total_steps={cfg.total_steps}: {batches} are {training.total_steps}"
    if cfg.threads is not None and cfg.threads > cores():
        yield f"threads={cfg.threads}: more than the {cores()} cores here, and slower than as many"
    stretch = training.barrier_period * cfg.num_steps
    if training.barrier_period < training.iterations and stretch < SHORT_STRETCH:
        yield f"checkpoint.barrier={cfg.checkpoint.barrier}: games begin anew every {stretch} steps; no longer one ends"
    if cfg.precision == "bf16" and emulates_bfloat16(cfg.device):
        yield f"precision=bf16 on {cfg.device}: this processor has no such arithmetic, fp32 is faster here"


def _draw(run: RunDirectory) -> None:
    from dreamspi.picture import draw  # so that training does not wait for matplotlib

    draw(run)


def _store(run: RunDirectory, cfg: DictConfig) -> CheckpointStore:
    return CheckpointStore(run.checkpoints, keep=cfg.checkpoint.keep, best_metric="return")


def _tell_finished(cfg: DictConfig) -> bool:
    """Whether the run to resume has nothing left to do; then shows its results, and leaves them as they are."""
    run = RunDirectory.open(cfg.run_dir)
    store, summary = _store(run, cfg), run.read_summary()
    if summary is None or store.newest() != store.path(summary["env_steps"]):
        return False
    if not run.picture.exists():
        _draw(run)
    with Progress(summary["env_steps"], run) as progress:
        progress.say(f"finished already: {run.path}")
        progress.table(summary)
    return True


@contextmanager
def _full_disk_told(store: CheckpointStore) -> Iterator[None]:
    """Within, a full disk is a ``UserError`` that says what there is to go on from."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        good = store.newest() or "none"
        raise UserError(f"no space left on the disk; last good checkpoint: {good}.") from error


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
