"""The evaluation turn: a question to the model about its own answer, and the tokens whose probability is the score.

The paper's wording was not published (arXiv 2410.02725); this one is ours. The turn is appended to the tokens of the
trace, so that the engine's cache of them is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reasonprune.errors import ModelError

QUESTION = "Would you do better by starting over? Reply with Yes or No only."
RESTART, GO_ON = "Yes", "No"
_MARK = "\u241e"  # in no template, and no tokenizer joins it with what follows
_PLAIN_TURN = f"\n\n{QUESTION}\nReply: "
END_OF_THOUGHT = "\n</think>\n"


class Asked(NamedTuple):
    """Token ids, and where among them the turn begins; what is before that was read when the trace was written."""

    ids: list[int]
    begin: int


@dataclass(frozen=True)
class EvaluationTurn:
    """`suffix` closes the model's turn and asks; `restart` and `go_on` are the first tokens of both replies.

    `end` is what ends the model's own turns: a trace that ended has it already. `thought` closes an open thought.
    """

    suffix: tuple[int, ...]
    thought: tuple[int, ...]
    restart: int
    go_on: int
    end: frozenset[int]

    @classmethod
    def of(cls, tokenizer: Any) -> EvaluationTurn:
        """The turn in a model's own chat template, or as plain text where it has none.

        Raises:
            ModelError: the tokenizer has no token of its own for each reply.
        """

        def ids(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False))

        unknown = getattr(tokenizer, "unk_token_id", None)
        restart, go_on = (next(iter(ids(word)), unknown) for word in (RESTART, GO_ON))
        if restart is None or go_on is None or restart == go_on or unknown in (restart, go_on):
            raise ModelError(
                f"The tokenizer of this model has no predefined token for the replies {RESTART!r} and {GO_ON!r}: "
                "their first tokens are missing or the same. Self-evaluation by a value head (self_eval = head) "
                "needs none."
            )
        end = frozenset({tokenizer.eos_token_id} - {None})
        return cls(ids(_suffix(tokenizer)), ids(END_OF_THOUGHT), restart, go_on, end)

    def prompt(self, prompt: Sequence[int], trace: Sequence[int], text: str) -> Asked:
        """What asks about a trace of `trace` tokens; `text` shows whether it still thinks."""
        ended = bool(trace) and trace[-1] in self.end
        thinking = not ended and "<think>" in text and "</think>" not in text
        before = [*prompt, *(trace[:-1] if ended else trace)]
        return Asked([*before, *(self.thought if thinking else ()), *self.suffix], len(before))


def _suffix(tokenizer: Any) -> str:
    if getattr(tokenizer, "chat_template", None) is None:
        return _PLAIN_TURN
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": _MARK},
        {"role": "user", "content": QUESTION},
    ]
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    _, found, suffix = str(rendered).rpartition(_MARK)
    return suffix if found else _PLAIN_TURN
