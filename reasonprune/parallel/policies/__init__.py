"""The policies by name; each is built from its options alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reasonprune.parallel.policies.adaptive_consistency import AdaptiveConsistency
from reasonprune.parallel.policies.best_of_n import BestOfN
from reasonprune.parallel.policies.consensus import Consensus
from reasonprune.parallel.policies.deepconf import DeepConf
from reasonprune.parallel.policies.deepprune import deepprune
from reasonprune.parallel.policies.esc import Esc
from reasonprune.parallel.policies.parallel_probe import ParallelProbe
from reasonprune.parallel.policies.self_consistency import SelfConsistency
from reasonprune.parallel.protocol import Policy
from reasonprune.policy_options import PolicyOptions

POLICIES: dict[str, Callable[[Any], Policy]] = {
    "self_consistency": SelfConsistency,
    "adaptive_consistency": AdaptiveConsistency,
    "esc": Esc,
    "deepconf": DeepConf,
    "parallel_probe": ParallelProbe,
    "consensus": Consensus,
    "deepprune": deepprune,
    "best_of_n": BestOfN,
}


def build(options: PolicyOptions) -> Policy:
    """A fresh policy for one question."""
    return POLICIES[options.policy](options)


__all__ = ["POLICIES", "build"]
