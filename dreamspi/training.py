"""One run as an object: everything that changes while it trains, and the walk of one iteration."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from dreamspi.building import make_env, make_planner
from dreamspi.checkpoints import CheckpointStore
from dreamspi.collection import Collection
from dreamspi.errors import UserError
from dreamspi.generators import Generators
from dreamspi.metrics_file import RECENT_GAMES
from dreamspi.replay import Recording


class Scores:
    """Raw scores of whole games, apart from the learning signal."""

    def __init__(self) -> None:
        self.returns: deque[float] = deque(maxlen=RECENT_GAMES)
        self.lengths: deque[int] = deque(maxlen=RECENT_GAMES)
        self.games = 0
        self.total = 0.0

    def add(self, batch: TensorDictBase) -> None:
        """Takes note of the games that ended in a batch ``[N, T]``."""
        after = batch["next"]
        over = after["game_over"]
        returns = after["episode_return"][over].tolist()
        self.returns.extend(returns)
        self.lengths.extend(after["episode_length"][over].tolist())
        self.games += len(returns)
        self.total += sum(returns)

    def recent(self) -> float | None:
        """Mean return of the last ``RECENT_GAMES`` games; None before the first."""
        return sum(self.returns) / len(self.returns) if self.returns else None

    def metrics(self) -> dict[str, float]:
        """For the log."""
        scores: dict[str, float] = {"train/games": self.games}
        if self.returns:
            scores["train/return"] = sum(self.returns) / len(self.returns)
            scores["train/length"] = sum(self.lengths) / len(self.lengths)
        return scores

    def state(self) -> dict[str, Any]:
        """JSON-compatible; ``restore`` takes it back."""
        lists = {"returns": list(self.returns), "lengths": list(self.lengths)}
        return {**lists, "games": self.games, "total": self.total}

    def restore(self, state: dict[str, Any]) -> None:
        """Back to ``state``."""
        self.returns.extend(state["returns"])
        self.lengths.extend(state["lengths"])
        self.games, self.total = state["games"], state["total"]


class Training:
    """A run in memory: environments, planner, counters. It writes no file but through ``save``.

    Args:
        cfg: the resolved configuration.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg
        torch.manual_seed(cfg.seed)
        self.probe = make_env(cfg, num_envs=1, training=True)
        self.planner = make_planner(cfg, self.probe)
        self.collection = Collection(
            partial(make_env, cfg, training=True),
            self.planner.policy,
            num_envs=cfg.num_envs,
            num_steps=cfg.num_steps,
            seed=cfg.seed,
            collector=cfg.collector,
            device=cfg.device,
            memory=self.planner.memory_spec,
        )
        if self.collection.overlaps and self.planner.enforces:
            raise UserError(
                f"planner.neighborhood={cfg.planner.neighborhood}: enforced around the policy that gathered the batch, "
                f"which with collector.backend={cfg.collector.backend} is not the current one. Allowed there: clip, "
                "drift; or take collector.backend=process."
            )
        self.batch_steps: int = cfg.num_envs * cfg.num_steps
        self.iterations: int = cfg.total_steps // self.batch_steps
        self.checkpoint_period = max(cfg.checkpoint.every // self.batch_steps, 1)
        self.barrier_period = max(cfg.checkpoint.barrier // self.batch_steps, 1)
        self.iteration = 0
        self.barrier = 0
        self.dream_steps = 0
        self.scores = Scores()
        self.seconds = 0.0

    # ------------------------------------------------------------------ the walk

    def iterate(self) -> dict[str, float]:
        """Collect, improve, and, at the configured period, diagnose. Returns the iteration's metrics."""
        logs = self.is_due(self.cfg.log_every, self.iteration + 1)
        certifies = logs and self.is_due(self.cfg.certify_every, self.iteration + 1)
        started = time.perf_counter()
        batch = self.collection.next()
        collected = time.perf_counter()
        metrics = self.planner.improve(
            batch,
            self.iteration / self.iterations,
            diagnose=logs,
            certify=certifies,
            stale=self.collection.stale,
        )
        improved = time.perf_counter()
        self.iteration += 1
        self.seconds += improved - started
        self.scores.add(batch)
        self.dream_steps += int(metrics.pop("dream/steps", 0))
        metrics |= self.scores.metrics()
        if logs:
            metrics |= self.diagnostics()
        return metrics | {
            "train/dream_steps": self.dream_steps,
            "time/collect_share": (collected - started) / (improved - started),
            "time/steps_per_second": self.batch_steps / (improved - started),
            "time/seconds": self.seconds,
        }

    def diagnostics(self) -> dict[str, float]:
        """What only the environment can tell about the agent, such as the exact value in the maze.

        It asks for the policy in single observations; one that depends on what was before has no answer to that.
        """
        if self.planner.memory_spec is not None:
            return {}
        planner = self.planner

        def states(observation: Tensor) -> TensorDict:
            return TensorDict({"observation": observation})

        return self.probe.diagnostics(lambda o: planner.probabilities(states(o)), lambda o: planner.encode(states(o)))

    def is_due(self, every: int, iteration: int | None = None) -> bool:
        """Whether an iteration (by default the last) ends a period of ``every``, or the run."""
        iteration = self.iteration if iteration is None else iteration
        return iteration % every == 0 or iteration == self.iterations

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.iteration >= self.iterations

    @property
    def total_steps(self) -> int:
        """Environment steps of the whole run: the budget in whole batches."""
        return self.iterations * self.batch_steps

    @property
    def env_steps(self) -> int:
        """Environment steps taken."""
        return self.iteration * self.batch_steps

    def summary(self) -> dict[str, Any]:
        """What came out, flat; ``docs/metrics.md`` explains each entry."""
        return {
            "env_steps": self.env_steps,
            "dream_steps": self.dream_steps,
            "wall_seconds": round(self.seconds, 2),
            "steps_per_second": round(self.env_steps / max(self.seconds, 1e-9), 1),
            "games": self.scores.games,
            "return_mean": self.scores.total / self.scores.games if self.scores.games else None,
            "return_last": self.scores.recent(),
            **self.diagnostics(),
        }

    # ------------------------------------------------------------------ stopping and going on

    def start(self) -> None:
        """The barrier before the first iteration."""
        self.collection.barrier(0)

    def cross_barrier(self) -> None:
        """New environments at every ``checkpoint.barrier`` steps: bounds what a resumed run must replay."""
        if self.iteration % self.barrier_period == 0 and not self.finished:
            self.barrier = self.iteration
            self.collection.barrier(self.iteration)

    def save(self, store: CheckpointStore) -> None:
        """Writes a checkpoint of everything that the rest of the run depends on."""
        info: dict[str, Any] = {"iteration": self.iteration, "barrier": self.barrier, "seconds": self.seconds}
        info |= {"dream_steps": self.dream_steps, "scores": self.scores.state(), "return": self.scores.recent()}
        recording = self.collection.recorded()
        store.save(self.env_steps, self._components(recording), {k: v for k, v in info.items() if v is not None})

    def restore(self, store: CheckpointStore, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
        """Goes on from the newest good checkpoint.

        Args:
            store: where it lies.
            say: told, in one line, what takes long.
            stop: becomes true where the run is to be left instead; see ``Collection.replay``.
        """
        recording = self.collection.recorded()
        _, info = store.load_newest(self._components(recording))
        generators = Generators().state_dict()
        self.iteration, self.barrier, self.seconds = info["iteration"], info["barrier"], info["seconds"]
        self.dream_steps = info["dream_steps"]
        self.scores.restore(info["scores"])
        if self.finished:  # no game will be played any more, so none needs to be where it was
            return
        if not self.collection.replays:
            self.barrier = self.iteration
        self.collection.barrier(self.barrier)
        if self.collection.replays:
            if steps := recording.actions.numel():
                say(f"replaying {steps:,} steps, those since the games last began anew")
            self.collection.replay(recording, stop)
            Generators().load_state_dict(generators)

    def _components(self, recording: Recording) -> dict[str, Any]:
        return {"planner": self.planner, "generators": Generators(), "recording": recording}

    def close(self) -> None:
        """Shuts collector and environments down."""
        self.collection.close()
        self.probe.close()
