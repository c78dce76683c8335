"""The theorems of Deep SPI on finite MDPs, where everything is exact: how tight the bounds are, and two failures.

    python -m benchmarks.theorems [out=docs/images] [cases=1000] [seed=0]

Prints two tables in Markdown and, with ``out=<directory>``, draws theorem1.png, out_of_trajectory.png and
confounding.png there. ``cases`` random worlds serve Theorems 2 to 4, a tenth as many MDPs Theorem 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import theorem_pictures
from benchmarks.failures import best_latent_policy, dream_beyond_the_data, lower_corridor, merge
from dreamspi.envs.maze_mdp import build_maze
from dreamspi.errors import EXIT_USER_ERROR, UserError, tell, unknown
from planners.finite.mdp import improve_in_neighborhood, random_mdp
from planners.finite.theorems import Comparison, Setting, random_case

DEFAULTS = {"out": "", "cases": "1000", "seed": "0"}
CONSTANTS = (1.05, 1.1, 1.2, 1.5, 1.9)
ITERATIONS = 400
#: The probability p of Theorem 4.
P = 0.1
#: How exact the linear programs are: a violation has to be larger.
SLACK = 1e-7

#: From a policy on data of a behavior that is not latent, the same on data of a latent one, and that one itself.
THEOREMS: dict[str, Callable[[Setting, Setting, Setting], Comparison]] = {
    "2, from the start (discounted occupancy)": lambda free, latent, own: free.from_the_start(),
    "2, in expectation (stationary distribution)": lambda free, latent, own: free.in_expectation(),
    "2, from the start (stationary, times AEL)": lambda free, latent, own: free.from_the_start_by_length(),
    "3, zeta": lambda free, latent, own: latent.safe_improvement(own),
    "4, worst pair of states (with the true errors)": lambda free, latent, own: free.worst_pair(),
    f"4, probability of a pair beyond eps, p = {P}": lambda free, latent, own: free.markov(P)[0],
    f"4, eps, p = {P}": lambda free, latent, own: free.markov(P)[1],
}
LIPSCHITZ = {"K_V": "exact", "K_V_bound": "K_R / (1 - gamma K_P)"}


def main(words: Sequence[str]) -> int:
    """Measures, prints, draws, and returns the exit code; a user's mistake is one line on stderr."""
    try:
        if {"--help", "-h", "help"} & set(words):
            print(__doc__)
        else:
            report(parse(words))
    except UserError as error:
        tell(error)
        return EXIT_USER_ERROR
    return 0


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The command line as checked options."""
    chosen: dict[str, Any] = dict(DEFAULTS)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in DEFAULTS:
            raise unknown("option", word, [f"{name}=" for name in DEFAULTS])
        chosen[key] = value
    for key, least in (("cases", 10), ("seed", 0)):
        if not chosen[key].isdecimal() or int(chosen[key]) < least:
            raise UserError(f"{key}={chosen[key]}: must be a whole number of at least {least}.")
        chosen[key] = int(chosen[key])
    if chosen["out"] and not Path(chosen["out"]).is_dir():
        raise UserError(f"out={chosen['out']}: no such directory.")
    return chosen


def report(chosen: dict[str, Any]) -> None:
    """Prints the tables; draws the pictures where they were asked for."""
    random = shares_of_the_way(chosen["seed"], chosen["cases"] // 10)
    print(monotone(random), "", tightness(chosen["seed"], chosen["cases"]), sep="\n")
    if chosen["out"]:
        draw(Path(chosen["out"]), random)


class Runs(NamedTuple):
    """Theorem 1's iteration with one C on many MDPs."""

    share: np.ndarray  # [N, n + 1], of the way from the first value to the optimum, in the initial state
    worst_step: float  # least change of any state's value in any step, over the largest value there


def shares_of_the_way(seed: int, count: int) -> dict[float, Runs]:
    """Theorem 1 from the uniform policy on random MDPs, by C."""
    rng = np.random.default_rng(seed)
    sizes = [(int(rng.integers(3, 9)), int(rng.integers(2, 5))) for _ in range(count)]
    mdps = [random_mdp(rng, states, actions, rng.uniform(0.5, 0.99)) for states, actions in sizes]
    best = [mdp.optimal_value() for mdp in mdps]
    found = {}
    for C in CONSTANTS:
        shares, steps = [], []
        for mdp, optimum in zip(mdps, best, strict=True):
            uniform = np.full(mdp.R.shape, 1.0 / mdp.R.shape[1])
            values = improve_in_neighborhood(mdp, uniform, C, ITERATIONS)[1]
            rho = values @ mdp.initial
            shares.append((rho - rho[0]) / (mdp.initial @ optimum - rho[0]))
            steps.append(np.diff(values, axis=0).min() / np.abs(values).max())
        found[C] = Runs(np.array(shares), min(steps))
    return found


def monotone(random: dict[float, Runs]) -> str:
    """Theorem 1 as a table: how soon the optimum is reached, and the worst step."""
    rows = [["C", "MDPs", "largest fall of a value", "optimum reached", "iterations to 99 %: median", "90 %", "most"]]
    for C, (share, worst) in random.items():
        needed = (share < 0.99).sum(1)
        fall = "none" if worst >= -1e-12 else f"{-worst:.1e}"
        rows.append([f"{C:g}", str(len(share)), fall, f"{(share[:, -1] > 1 - 1e-6).mean():.0%}"])
        rows[-1] += [f"{value:.0f}" for value in np.quantile(needed, [0.5, 0.9, 1.0])]
    return table(rows)


def tightness(seed: int, cases: int) -> str:
    """Theorems 2 to 4 as a table: violations, and ratios of bound to truth where there is a truth to bound."""
    found: dict[tuple[str, str], list[Comparison]] = {(name, K): [] for name in THEOREMS for K in LIPSCHITZ}
    for index in range(cases):
        case = random_case(np.random.default_rng((seed, index)))
        for K in LIPSCHITZ:
            settings = case.settings(K)
            for name, theorem in THEOREMS.items():
                found[name, K].append(theorem(*settings))
    rows = [["theorem", "K_V", "assumptions hold", "violations", "bound / truth: least", "10 %", "median", "90 %"]]
    for (name, K), comparisons in found.items():
        held = np.array([c for c in comparisons if c.bound is not None], dtype=float).reshape(-1, 2)
        violations = int((held[:, 0] > held[:, 1] + SLACK * (1.0 + held[:, 1])).sum())
        some = held[held[:, 0] > SLACK]
        ratios = np.quantile(some[:, 1] / some[:, 0], [0.0, 0.1, 0.5, 0.9]) if len(some) else ()
        words = [number(ratio) for ratio in ratios] or ["-"] * 4
        rows.append([name, LIPSCHITZ[K], f"{len(held)} of {cases}", str(violations), *words])
    return table(rows)


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def draw(out: Path, random: dict[float, Runs]) -> None:
    """Writes the three pictures, and prints what they show in a line each."""
    maze = build_maze()
    uniform = np.full(maze.R.shape, 1.0 / maze.R.shape[1])
    on_maze = {C: improve_in_neighborhood(maze, uniform, C, ITERATIONS)[1] @ maze.initial for C in CONSTANTS}
    shares = {C: runs.share for C, runs in random.items()}
    best = float(maze.initial @ maze.optimal_value())
    theorem_pictures.save(theorem_pictures.theorem1(on_maze, best, shares), out / "theorem1.png")

    C = 1.1
    free, held = dream_beyond_the_data(None), dream_beyond_the_data(C)
    theorem_pictures.save(theorem_pictures.out_of_trajectory(free, held, C), out / "out_of_trajectory.png")
    lowest = [min(i.real for i in history) for history in (free, held)]
    print(f"\nout of trajectory: lowest real value {lowest[0]:.2f} without the neighborhood, {lowest[1]:.2f} inside it")

    apart, choice, merged = (best_latent_policy(maze, names) for names in ((), ("lower_choice",), lower_corridor(maze)))
    picture = theorem_pictures.confounding(maze, apart, merged, merge(maze), C)
    theorem_pictures.save(picture, out / "confounding.png")
    print(
        f"confounding: best value {apart.value:.4f} with all cells apart, {choice.value:.4f} with the choice cells "
        f"merged, {merged.value:.4f} with the corridors merged"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
