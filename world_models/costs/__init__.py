"""Costs of a predicted next latent against ``z' = phi(s')``: what a transition model is trained on.

Scale: every cost is a *mean*, so one ``alpha_P`` means the same for every latent size: over latent dimensions, which
for one-hots are variables times classes (``SmoothL1``, ``Squared``, ``Coupling``, ``EnergyScore``), or over one-hot
variables (``CrossEntropy``, ``Hamming``, ``JensenShannon``, ``KLBalance``, ``Likelihood``).
``SmoothL1(reduction="sum")`` is the paper's convention: the same times the number of latent dimensions.

Training costs bound nothing by themselves (smooth-L1 is smaller than the distance below 1);
``coupling_distance`` is the true metric.
"""

from world_models.costs.cost import Cost, over_dimensions, over_variables
from world_models.costs.coupling import Coupling, coupling_distance, expected_deviation
from world_models.costs.kl_balance import KLBalance
from world_models.costs.one_hot import CrossEntropy, Hamming, JensenShannon, one_hot_of
from world_models.costs.points import SmoothL1, Squared
from world_models.costs.scores import EnergyScore, Likelihood
from world_models.costs.strata import Strata, draw, stratified

__all__ = [
    "Cost",
    "Coupling",
    "CrossEntropy",
    "EnergyScore",
    "Hamming",
    "JensenShannon",
    "KLBalance",
    "Likelihood",
    "SmoothL1",
    "Squared",
    "Strata",
    "coupling_distance",
    "draw",
    "expected_deviation",
    "one_hot_of",
    "over_dimensions",
    "over_variables",
    "stratified",
]
