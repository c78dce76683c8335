"""The picture of a run: return, model, neighborhood and latents against environment steps."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from dreamspi.metrics_file import RECENT_GAMES, STEP, read_table
from dreamspi.run_directory import RunDirectory, write_atomically

Table = dict[str, np.ndarray]


def draw(run: RunDirectory) -> None:
    """Writes ``learning.png`` from ``metrics.csv``."""
    columns, rows = read_table(run.metrics)
    if not rows:
        return
    table = {c: np.array([float(row[c]) if row[c] else np.nan for row in rows]) for c in columns}
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    choices = run.config.choices
    figure.suptitle(f"{choices.env}   {choices.world_model}   {choices.planner}   seed {run.config.seed}")
    axes = figure.subplots(2, 2, sharex=True)
    _returns(axes[0, 0], table)
    if "neighborhood/d_sup" in table:
        _neighborhood(axes[0, 1], table, run.config.planner.get("C"))
    _lines(axes[1, 0], table, MODEL, "world model, errors on fresh data")
    axes[1, 0].set_yscale("symlog", linthresh=1e-3)
    _lines(axes[1, 1], table, LATENT, "latents")
    for axis in axes[1]:
        axis.set_xlabel("environment steps")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    png = BytesIO()
    figure.savefig(png, format="png", dpi=110)
    write_atomically(run.picture, png.getvalue())


MODEL = {
    "model/reward_distance": "reward |r - R|",
    "model/reward_error_on_largest": "reward, on the largest 1%",
    "model/transition_distance": "transition, L1",
    "model/termination_distance": "termination",
}
LATENT = {
    "model/effective_rank": "effective rank",
    "model/latent_spread": "spread, share of size",
    "model/dead_units": "dead units, share",
    "maze_latent_distance": "distance of the choice cells",
}


def _returns(axis: Axes, table: Table) -> None:
    title = f"mean return of the last {RECENT_GAMES} games"
    if "maze_optimum" in table:
        title = "exact value of the policy, at the start"
        axis.axhline(table["maze_optimum"][-1], color="tab:green", ls="--", lw=1, label="optimum")
        axis.plot(table[STEP], table["maze_value"], color="tab:blue", label="policy")
    elif "train/return" in table:
        axis.plot(table[STEP], table["train/return"], color="tab:blue", label="training, raw scores")
    _finish(axis, title)


def _neighborhood(axis: Axes, table: Table, constant: float | None) -> None:
    if constant is not None:
        axis.axhspan(2 - constant, constant, color="tab:green", alpha=0.15, label=f"neighborhood, C = {constant}")
    for key, label in (("neighborhood/d_sup", "D_sup"), ("neighborhood/d_inf", "D_inf")):
        axis.plot(table[STEP], table[key], lw=0.8, label=label)
    axis.set_yscale("log")
    for which in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        which(StrMethodFormatter("{x:g}"))
    _finish(axis, "importance ratio to the behavior policy")


def _lines(axis: Axes, table: Table, names: dict[str, str], title: str) -> None:
    for key, label in names.items():
        if key in table:
            axis.plot(table[STEP], table[key], label=label)
    _finish(axis, title)


def _finish(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=8)
