"""The metrics that a report shows over time, how they are told, and what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from dreamspi.reports.charts import Mark
from dreamspi.reports.results import Result

Marks = Callable[[Sequence[Result]], tuple[Mark, ...]]


class Quantity(NamedTuple):
    """One thing that is shown over time, in every environment.

    Attributes:
        name: of its figure's file.
        title: its heading.
        y: what the axis shows.
        kinds: the metrics, each with what it is called where there are several.
        text: how to read it.
        log: whether the axis is logarithmic.
        marks: what it is compared with, from an environment's trainings.
        modeled: whether it means something only where a world model is trained.
    """

    name: str
    title: str
    y: str
    kinds: Mapping[str, str]
    text: str = ""
    log: bool = False
    marks: Marks = lambda runs: ()
    modeled: bool = False


def _setting(runs: Iterable[Result], key: str) -> list[float]:
    """The values of a setting that is a number."""
    found = {run.settings.get(key) for run in runs}
    return sorted(float(value) for value in found if isinstance(value, int | float))


def _in_neighborhood(runs: Sequence[Result]) -> tuple[Mark, ...]:
    return tuple(Mark(f"C = {c:g}", 2 - c, c) for c in _setting(runs, "planner.C")[:3])


def _below_one_over_gamma(runs: Sequence[Result]) -> tuple[Mark, ...]:
    return tuple(Mark(f"1/gamma = {1 / gamma:.4g}", 1 / gamma) for gamma in _setting(runs, "gamma")[:3] if gamma > 0)


def _one_is(meaning: str) -> Marks:
    return lambda runs: (Mark(meaning, 1.0),)


NEIGHBORHOOD = (
    Quantity(
        "neighborhood_ratio", "D_sup and D_inf", "importance ratio",
        {"neighborhood/d_sup": "D_sup", "neighborhood/d_inf": "D_inf"},
        "Largest and smallest importance ratio over the states of the batch and all actions. The shaded range is "
        "[2 - C, C].",
        log=True, marks=_in_neighborhood,
    ),
    Quantity(
        "neighborhood_outside", "Outside of it", "share outside [2 - C, C]", {"neighborhood/outside": ""},
        "Share of pairs of state and action with a ratio outside [2 - C, C].",
    ),
    Quantity("neighborhood_kl", "KL divergence", "KL, nats", {"neighborhood/kl": ""},
             "Of the new policy from the behavior policy, mean over the batch.", log=True),
)  # fmt: skip
LOSSES = (
    Quantity(
        "loss_transition", "L_P, transition", "L1 distance", {"model/transition_distance": ""},
        "Mean L1 distance between the next latent and what the model expects: an upper bound of W1. Its scale is the "
        "latents': compare it between arms with the same world model, and beware of latents that shrink.",
        modeled=True, log=True,
    ),
    Quantity("loss_reward", "L_R, reward", "absolute error", {"model/reward_distance": "all rewards",
             "model/reward_error_on_largest": "largest 1%"},
             "Over all transitions, and over the hundredth with the largest absolute reward.", modeled=True, log=True),
    Quantity("loss_termination", "L_D, termination", "absolute error", {"model/termination_distance": ""},
             "Of the probability of an end.", modeled=True, log=True),
)  # fmt: skip
LATENTS = (
    Quantity("latent_rank", "Effective rank", "directions in use", {"model/effective_rank": ""}),
    Quantity("latent_spread", "Spread of the latents", "share of their size", {"model/latent_spread": ""},
             "Near zero all states look alike to the policy, whatever the rank.", log=True),
    Quantity("latent_dead", "Dead units", "share of units", {"model/dead_units": ""}),
    Quantity("latent_distance", "Distance of the maze's choice cells", "distance", {"maze_latent_distance": ""},
             "Zero where the encoder takes the two cells for one."),
    Quantity("maze_choices", "What is chosen in the maze", "probability of up",
             {"maze_up_upper": "upper choice cell, where it is right",
              "maze_up_lower": "lower choice cell, where it is wrong"}),
)  # fmt: skip
CERTIFICATES = (
    Quantity("certificate_ratio", "D_sup of the certified policy", "importance ratio", {"certificate/D_sup": ""},
             "Theorem 2 speaks only below 1/gamma.", marks=_below_one_over_gamma),
    Quantity("certificate_value", "Theorem 2: value difference", "return",
             {"certificate/value_difference": "bound", "certificate/largest": "largest difference in the batch"},
             "How far the model's value of the new policy can be from its true one. A bound above the largest "
             "difference of two returns in the batch is vacuous: it says nothing that was not known.", log=True),
    Quantity("certificate_promise", "Theorem 3: promised improvement", "return", {"certificate/promised": ""},
             "Lower limit of the true improvement by the dream, after the price of trusting it. Above 0 it is a "
             "guarantee.", modeled=True),
    Quantity("certificate_losses", "Losses that it is made of", "distance",
             {"certificate/L_P": "L_P", "certificate/L_R": "L_R", "certificate/L_D": "L_D"}, log=True),
    Quantity("certificate_lipschitz", "Lipschitz constant of the critic", "K_V", {"certificate/K_V": ""},
             "A lower estimate.", log=True),
)  # fmt: skip
DREAMS = (
    Quantity(
        "dream_trust", "How far dreams are borne out", "slope and share",
        {"dream/slope": "slope", "dream/share": "share"},
        "Slope of the real advantages of what was done on what the dream says of it: 1 where dreamt differences of "
        "actions are real ones, 0 where they have nothing to do with them. The share is what the dream has of the "
        "neighborhood for it: 1 unless planner.dream.trust calibrates it.", marks=_one_is("borne out"),
    ),
    Quantity("dream_latent", "Latent error by horizon", "relative L1 distance",
             {"dream_quality/latent_error_first": "first step", "dream_quality/latent_error_half": "half way",
              "dream_quality/latent_error_last": "last step", "dream_quality/still_error_last": "if nothing moved"},
             "Distance of the dreamt latent from the real one over that of two random states: at 1 a dream knows "
             "nothing any more. The last line is the last step's, had nothing moved.",
             marks=_one_is("two random states")),
    Quantity("dream_correlation", "Dreamt against real return", "correlation", {"dream_quality/return_correlation": ""},
             "Correlation of the discounted return of T dreamt steps with the real one."),
    Quantity("dream_return", "Error of the dreamt return", "return",
             {"dream_quality/return_error": "absolute error", "dream_quality/return_bias": "bias"},
             "A bias above 0 is a dream that promises too much."),
    Quantity("dream_errors", "Errors at the last step", "absolute error",
             {"dream_quality/reward_error_last": "reward", "dream_quality/value_error_last": "value"}, log=True),
    Quantity("dream_calibration", "Calibration of ends", "calibration error", {"dream_quality/calibration_error": ""},
             "Expected calibration error of the probability of an end."),
)  # fmt: skip
