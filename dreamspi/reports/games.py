"""Which arms play the same game, so that their scores may be compared."""

from __future__ import annotations

from collections.abc import Sequence

from dreamspi.config import RUNNER_KEYS
from dreamspi.reports.results import Result, Results

#: Settings under ``env.`` that are no rules of the game: suggestions to others, and what the emulator may use.
_NO_RULES = frozenset(f"env.{key}" for key in (*RUNNER_KEYS, "num_threads"))


def same_game(results: Results, environments: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The arms in groups that have the same settings of the environment, in all of ``environments``, and, where a score
    is an exact value, the same discount."""
    arms = [arm for arm in results.arms if any(results.of(env, arm) for env in environments)]
    return results.alike(arms, environments, _game)


def other_games(results: Results, environments: Sequence[str]) -> list[str]:
    """Where not all arms play the same, and in what their games differ; a sentence each."""
    found: dict[tuple[str, ...], list[str]] = {}
    for env in environments:
        games = {_game(run) for run in results.of(env)}
        if len(games) > 1:
            differing = frozenset.union(*games) - frozenset.intersection(*games)
            found.setdefault(tuple(sorted({key for key, _ in differing})), []).append(env)
    return [
        f"{', '.join(where)}: not all arms play the same, they differ in {', '.join(keys)}; only those that do are "
        "compared."
        for keys, where in found.items()
    ]


def _game(run: Result) -> frozenset[tuple[str, str]]:
    """The settings that its score's meaning depends on."""
    return frozenset(
        (key, repr(value))
        for key, value in run.settings.items()
        if (key.startswith("env.") and key not in _NO_RULES) or (key == "gamma" and run.exact)
    )
