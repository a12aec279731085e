"""Early-stopping self-consistency: windows of traces until one is unanimous (Li et al., arXiv 2401.10480)."""

from __future__ import annotations

from reasonprune.parallel.protocol import Action, Decide, Event, Failed, Finished, Signals, Spawn
from reasonprune.parallel.votes import Ballot
from reasonprune.policy_options import EscOptions


class Esc:
    """The next window starts only when the last one has finished and disagreed."""

    signals = Signals()

    def __init__(self, options: EscOptions) -> None:
        self._n, self._window = options.n, options.window
        self._ballot = Ballot()
        self._started = 0
        self._ended = 0
        self._answers: list[str | None] = []

    def begin(self) -> list[Action]:
        return self._next_window()

    def _next_window(self) -> list[Action]:
        size = min(self._window, self._n - self._started)
        self._started += size
        self._answers = []
        return [Spawn() for _ in range(size)]

    def on(self, event: Event) -> list[Action]:
        if not isinstance(event, (Finished, Failed)):
            return []
        self._ended += 1
        answer = event.answer if isinstance(event, Finished) else None
        self._answers.append(answer)
        if isinstance(event, Finished):
            self._ballot.add(event.trace, answer)
        if self._ended < self._started:
            return []
        # A cut last window is too small to be called unanimous.
        if len(self._answers) == self._window and answer is not None and set(self._answers) == {answer}:
            return [self._ballot.decide(f"all {self._window} traces of a window agree")]
        return self._next_window()

    def conclude(self) -> Decide:
        return self._ballot.decide(f"n = {self._n} traces finished without a unanimous window")
