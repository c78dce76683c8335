"""The picture of dreams beside what happened: growth of errors, calibration of ends, agreement of returns."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dreamspi.run_directory import write_or_tell
from planners.dream_quality import Calibration, DreamQuality


def draw(path: Path, title: str, sampled: DreamQuality, mean: DreamQuality, dreamt: Tensor, real: Tensor) -> bool:
    """Writes the picture; returns whether it could be written.

    Args:
        path: the file.
        title: whose dreams they are.
        sampled, mean: quality of dreams that sample the next latent, and of those that take its mean.
        dreamt, real: returns ``[V]`` of the sampled dreams and of what happened.
    """
    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2, 2)
    _latents(axes[0, 0], sampled, mean)
    _rewards(axes[0, 1], sampled)
    _ends(axes[1, 0], sampled)
    _returns(axes[1, 1], dreamt, real)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return write_or_tell(path, png.getvalue())


def _steps(quality: DreamQuality) -> range:
    return range(1, len(quality.counted) + 1)


def _latents(axis: Axes, sampled: DreamQuality, mean: DreamQuality) -> None:
    axis.axhline(1.0, color="grey", ls=":", lw=1, label="two random states")
    axis.plot(_steps(sampled), sampled.still_error_relative, color="grey", ls="--", label="if nothing moved")
    axis.plot(_steps(sampled), sampled.latent_error_relative, marker="o", ms=3, label="dream")
    if mean.latent_error != sampled.latent_error:
        axis.plot(_steps(mean), mean.latent_error_relative, marker="o", ms=3, label="dream of the mean")
    axis.set_ylim(bottom=0)
    _finish(axis, "latent error, over the distance of two random states", "steps dreamt")


def _rewards(axis: Axes, sampled: DreamQuality) -> None:
    axis.plot(_steps(sampled), sampled.reward_error, marker="o", ms=3, label="reward")
    axis.plot(_steps(sampled), sampled.reward_error_on_largest, marker="o", ms=3, label="reward, on the largest 1%")
    axis.plot(_steps(sampled), sampled.value_error, marker="o", ms=3, label="value")
    axis.set_yscale("symlog", linthresh=1e-2)
    axis.set_ylim(bottom=0)
    _finish(axis, "mean absolute error", "steps dreamt")


def _ends(axis: Axes, sampled: DreamQuality) -> None:
    axis.plot((0, 1), (0, 1), color="grey", ls=":", lw=1)
    for name, calibration in (("step 1", sampled.termination_first), ("all steps", sampled.termination)):
        _reliability(axis, calibration, name)
    axis.set_ylabel("share that did end")
    _finish(axis, "ends (a dot's area: its share of the steps)", "predicted probability of an end")


def _reliability(axis: Axes, calibration: Calibration, name: str) -> None:
    bins = calibration.bins
    total = max(sum(b.count for b in bins), 1)
    place = [b.predicted for b in bins], [b.frequency for b in bins]
    (line,) = axis.plot(*place, lw=1, label=f"{name}, calibration error {calibration.error:.3f}")
    axis.scatter(*place, s=[20 + 200 * b.count / total for b in bins], color=line.get_color(), alpha=0.6)


def _returns(axis: Axes, dreamt: Tensor, real: Tensor) -> None:
    axis.scatter(real.cpu(), dreamt.cpu(), s=8, alpha=0.3, lw=0)
    if len(real):
        axis.axline((float(real[0]), float(real[0])), slope=1, color="grey", ls=":", lw=1)
    axis.set_ylabel("dreamt")
    _finish(axis, "return over the horizon", "real")


def _finish(axis: Axes, title: str, below: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(below)
    axis.grid(alpha=0.3)
    if below == "steps dreamt":
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=8)
