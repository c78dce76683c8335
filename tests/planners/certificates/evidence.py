"""What certificates are made from, in round numbers."""

from __future__ import annotations

from dataclasses import replace

from planners.certificates.confidence import Estimate
from planners.certificates.evidence import Episodes, Evidence, ModelError, PolicyEvidence
from planners.certificates.imagined import Improvement
from planners.certificates.lipschitz import Lipschitz


def error(reward: float, transition: float, radius: float, cut: float = 0.0) -> ModelError:
    return ModelError({"reward": reward, "transition": transition, "termination": 0.0, "cut": cut}, radius)


END = PolicyEvidence(
    D_sup=1.05,
    D_inf=0.95,
    lipschitz=Lipschitz(0.5, 0.6, 0.1, 1.5),
    V_max=10.0,
    bellman=0.3,
    step=error(0.1, 0.3, 0.05),
    episode=error(0.8, 2.4, 0.4),
    initial=error(1.0, 2.0, 0.5),
)
START = replace(END, D_sup=1.02, step=error(0.1, 0.2, 0.05), episode=None, initial=error(0.5, 1.5, 0.25))
EPISODES = Episodes(horizon=64, earned=8.0, dreamt=7.5, length=8.0, largest=9.0)
EVIDENCE = Evidence(
    gamma=0.9,
    C=1.1,
    p=0.05,
    samples=128,
    states=1024,
    cuts=0,
    reward=Estimate(0.1, 0.02, 1.0),
    transition=Estimate(0.2, 0.01, 2.0),
    termination=Estimate(0.0, 0.0, 1.0),
    end=END,
    start=START,
    largest=30.0,
    improvement=Improvement(0.7, 0.1, 0.2),
    episodes=EPISODES,
)
