"""What one request asks of speculation, on its way into the engine: a value of `SamplingParams.extra_args`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

KEY = "reasonprune_speculative"
GREEDY_BELOW = 1e-5  # temperature, as in vLLM
Method = Literal["rasd", "off", "draft", "retrieval", "ngram", "suffix"]


@dataclass(frozen=True)
class Wish:
    """`method`: `off` drafts nothing; all others but `rasd` are there to compare with. `tokens`: most of a draft.

    `draft` and `retrieval` use one half of RASD each; `ngram` and `suffix` are other rules. `layers`: the layers of the
    model itself that draft, ascending, where no drafter is configured.
    """

    method: Method = "rasd"
    tokens: int | None = None
    layers: tuple[int, ...] = ()

    @property
    def drafts(self) -> bool:
        """Whether the configured drafter is needed."""
        return self.method in ("rasd", "draft")

    def as_argument(self) -> dict[str, Any]:
        return {"method": self.method, "tokens": self.tokens, "layers": list(self.layers)}

    @classmethod
    def of(cls, extra_args: Mapping[str, Any] | None) -> Wish:
        """Also what a client sent by `vllm_xargs`: the method as a string, or the most tokens as a number (0: off).

        What cannot be understood counts as not said: it is too late for an error inside a running batch.
        """
        given = (extra_args or {}).get(KEY)
        layers: tuple[int, ...] = ()
        if isinstance(given, Mapping):
            method, tokens = given.get("method", "rasd"), given.get("tokens")
            named = given.get("layers")
            layers = tuple(named) if isinstance(named, (list, tuple)) else ()
        elif isinstance(given, str):
            method, tokens = given, None
        elif isinstance(given, (int, float)):
            method, tokens = ("rasd", int(given)) if given >= 1 else ("off", None)
        else:
            return cls()
        valid = isinstance(tokens, int) and tokens >= 1
        return cls(method if method in get_args(Method) else "rasd", tokens if valid else None, layers)
