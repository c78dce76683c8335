"""The pictures of ``benchmarks/theorems.py``: numbers in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from benchmarks.failures import ABYSS, GOAL, PROMISE, BestLatent, Iteration, Merging
from dreamspi.envs.maze_mdp import ROWS, UP, MazeMDP
from dreamspi.run_directory import write_atomically

GOOD, BAD, DREAM, INK, PALE = "#1b7f5c", "#c0392b", "#7a6fb0", "#333333", "#9a9a9a"
#: From the smallest C to the largest.
SHADES = ("#b5cfe3", "#7fb0d3", "#4488bb", "#1f6194", "#0b3556")


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    png = BytesIO()
    figure.savefig(png, format="png", dpi=95)
    write_atomically(path, png.getvalue())


def theorem1(maze: Mapping[float, np.ndarray], best: float, random: Mapping[float, np.ndarray]) -> Figure:
    """Value against iteration.

    Args:
        maze: by C, values ``[n + 1]`` at the maze's start.
        best: its optimum.
        random: by C, ``[N, n + 1]``, what share of the way from the first value to the optimum is done.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle("Theorem 1: the value never falls, and reaches the optimum", fontsize=13)
    left, right = figure.subplots(1, 2)
    for (C, values), shade in zip(maze.items(), SHADES, strict=True):
        left.plot(values, color=shade, lw=2, label=f"C = {C:g}")
    _level(left, best, f"optimum {best:.2f}", GOOD)
    left.set_ylim(top=best + 0.8)
    left.legend(frameon=False, loc="lower right")
    _plain(left, "toy maze, from the uniform policy", "exact value at the start")
    for (_, share), shade in zip(random.items(), SHADES, strict=True):
        right.plot(np.median(share, 0), color=shade, lw=2)
        low, high = np.quantile(share, [0.1, 0.9], axis=0)
        right.fill_between(np.arange(len(low)), low, high, color=shade, alpha=0.15, lw=0)
    _level(right, 1.0, "optimum", GOOD)
    right.set_ylim(top=1.1)
    many = len(next(iter(random.values())))
    _plain(right, f"{many} random MDPs: median and middle 80 %", "share of the way to the optimum")
    for axes in (left, right):
        axes.set_xscale("symlog", linthresh=1.0)  # a logarithm with a place for 0
        axes.set_xlim(0, len(next(iter(maze.values()))) - 1)
        axes.set_xlabel("iteration")
        axes.xaxis.set_major_formatter("{x:g}")
    return figure


def out_of_trajectory(free: Sequence[Iteration], held: Sequence[Iteration], C: float) -> Figure:
    """The ledge, and what planning on it does without the neighborhood (``free``) and within it (``held``)."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    title = f"A dream beyond the data: the model promises {_signed(PROMISE)} where the truth is {_signed(ABYSS)}"
    figure.suptitle(title, fontsize=13)
    grid = figure.subplot_mosaic("aa\nbc", height_ratios=(0.85, 1.6))
    _ledge(grid["a"])
    curves = (("b", free, BAD, "without the neighborhood"), ("c", held, GOOD, f"inside the neighborhood, C = {C:g}"))
    for key, history, color, name in curves:
        axes = grid[key]
        dreamt, real = np.array([(i.dreamt, i.real) for i in history]).T
        axes.axhline(0.0, color=PALE, lw=0.8)
        axes.plot(np.arange(1, len(dreamt)), dreamt[1:], color=DREAM, ls="--", lw=2, label="what the dream promises")
        axes.plot(real, color=color, lw=2.5, label="what the policy really gets")
        lowest = f"lowest {_signed(real.min(), 2)}"
        axes.annotate(lowest, (real.argmin(), real.min()), (8, -14), textcoords="offset points", color=color)
        axes.set_ylim(ABYSS - 2.0, PROMISE + 1.0)
        axes.set_xlabel("iteration: gather data, refit the model, maximize in it")
        axes.legend(frameon=False, loc="upper right")
        _plain(axes, name, "value at the start")
    return figure


def _ledge(axes: Axes, cells: int = 5) -> None:
    for x in range(cells):
        _box(axes, (x, 1.0), "start" if x == 0 else "", "#e9edf1", INK)
        _box(axes, (x, 0.0), f"dream {_signed(PROMISE)}\ntruth {_signed(ABYSS)}", "#f7e3e0", BAD)
        axes.annotate("", (x + 0.66, 1.0), (x + 0.34, 1.0), arrowprops={"arrowstyle": "->", "lw": 1.6, "color": INK})
        arrow = {"arrowstyle": "->", "lw": 1.6, "color": BAD, "ls": ":"}
        axes.annotate("", (x, 0.36), (x, 0.8), arrowprops=arrow)
    _box(axes, (cells, 1.0), f"goal {_signed(GOAL)}", "#d9efe6", GOOD)
    note = "An abyss beside every cell;\nthe first policy jumps in one\nof a thousand steps."
    axes.text(cells - 0.45, 0.0, note, va="center", color=INK)
    axes.set(xlim=(-0.5, cells + 1.3), ylim=(-0.5, 1.4))
    axes.axis("off")


def _box(axes: Axes, place: tuple[float, float], text: str, face: str, ink: str) -> None:
    height = 0.54 if "\n" in text else 0.34
    corner = (place[0] - 0.28, place[1] - height / 2.0)
    axes.add_patch(FancyBboxPatch(corner, 0.56, height, boxstyle="round,pad=0.03", fc=face, ec=ink))
    axes.text(*place, text, ha="center", va="center", color=ink)


def confounding(maze: MazeMDP, apart: BestLatent, merged: BestLatent, merging: Merging, C: float) -> Figure:
    """The best policy of an encoder that tells the corridors apart, and of one that merges them; and what the value
    does while an update merges the choice cells."""
    figure = Figure(figsize=(13, 4.1), layout="constrained")
    title = "Confounding: merging states loses what they are worth apart, and leads far out of the neighborhood"
    figure.suptitle(title, fontsize=13)
    first, second, third = figure.subplots(1, 3)
    _draw_maze(first, maze, apart.policy, ("#8fc1e3", "#f3b87a"))
    _draw_maze(second, maze, merged.policy, ("#b9a5d6", "#b9a5d6"))
    first.set_title(f"corridors told apart: the best policy gets {apart.value:.2f}", fontsize=11)
    second.set_title(f"corridors merged: the best policy gets {merged.value:.2f}", fontsize=11)
    first.set_xlabel("every cell has its own latent")
    second.set_xlabel("the two cells of a column share a latent")
    _level(third, apart.value, "best if told apart", GOOD)
    _level(third, merged.value, "best if merged", DREAM)
    inside = merging.departure <= C
    third.plot(merging.share, merging.value, color=BAD, lw=2.5)
    third.plot(merging.share[inside], merging.value[inside], color=GOOD, lw=6, solid_capstyle="butt")
    edge = merging.share[inside].max(), merging.value[inside].min()
    note = f"the neighborhood, C = {C:g},\nends here, at {edge[1]:.2f}"
    third.annotate(note, edge, (0.04, 5.95), color=GOOD, va="center", arrowprops={"arrowstyle": "->", "color": GOOD})
    last = f"one latent, same head:\n{merging.value[-1]:.2f}, $D_{{sup}}$ = {merging.departure[-1]:.0f}"
    third.text(0.84, merging.value[-1], last, ha="right", va="center", color=BAD)
    third.set(xlim=(-0.02, 1.02), ylim=(0.0, apart.value + 1.0))
    third.set_xlabel("share of the choice cells' latent distance that is gone")
    _plain(third, "an update that merges the choice cells", "exact value at the start")
    return figure


def _draw_maze(axes: Axes, maze: MazeMDP, policy: np.ndarray, colors: tuple[str, str]) -> None:
    """The grid, its corridors in two colors, and in each of their cells an arrow for the policy's likeliest action."""
    said = {"start": "start", "hazard": "slip", "upper_exit": "exit", "lower_exit": "exit"}
    for name, choice in (("goal", "upper_choice"), ("trap", "lower_choice")):
        said[name] = f"{name}\n{_signed(maze.R[maze.names.index(choice), UP], 1)}"
    grid = np.zeros((ROWS, maze.columns))
    for state, (name, (row, column)) in enumerate(zip(maze.names, maze.cells, strict=True)):
        grid[row, column] = 1 if name in said else 2 if name.startswith("upper") else 3
        if name in said:
            ink = {"goal": GOOD, "trap": BAD}.get(name, INK)
            axes.text(column, row, said[name], ha="center", va="center", color=ink, fontsize=9)
        else:
            x, y = (0.0, -0.36) if policy[state].argmax() == UP else (0.36, 0.0)
            arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.6}
            axes.annotate("", (column + x, row + y), (column - x, row - y), arrowprops=arrow)
    axes.imshow(grid, cmap=ListedColormap(["#5a6068", "#eef0f2", *colors]), vmin=0, vmax=3)
    axes.set_xticks(np.arange(maze.columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(ROWS + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1.5)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_visible(False)


def _signed(value: float, digits: int = 0) -> str:
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def _level(axes: Axes, value: float, text: str, color: str) -> None:
    """A dashed line across, with its name at its left end."""
    axes.axhline(value, color=color, ls="--", lw=1.2)
    place = axes.get_yaxis_transform()
    axes.annotate(text, (0.02, value), (0, 4), xycoords=place, textcoords="offset points", color=color)


def _plain(axes: Axes, title: str, value: str) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(value)
    axes.spines[["top", "right"]].set_visible(False)
