"""How well a sequence of steps fits the words of a question: each step to a phrase of its own, in walking order.

The state of a path grows step by step, so that a search can score every extension without starting again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reasonprune.graph.question import Question, is_content
from reasonprune.graph.store import Step, readable
from reasonprune.graph.thesaurus import Thesaurus
from reasonprune.sentence_encoder import Encoder


@dataclass(frozen=True)
class Weights:
    """Points for and against a path. Cosines from `low` to `high` count as a fit of 0 to 1."""

    low: float = 0.45
    high: float = 0.85
    other_meaning: float = 0.3  # a noun for a kind of thing ("films"), and a relation that is not listed
    against: float = 0.6  # a step against its relation's direction, where both ends are of one kind
    step: float = 0.05  # against every step
    named: float = 0.6  # a step that a phrase names
    silent: float = 0.6  # against a step that no phrase names; between the two by how well it fits
    back: float = 0.5  # against it where it goes back over the relation just walked
    bridge: float = 0.15  # ... and the question asks for that, as "the same actor" asks
    later: float = 0.1  # ... and more the farther from the topic
    ill_typed: float = 1.0  # a step from a kind of thing that does not have it
    unused: float = 1.0  # a phrase that names a relation which is not walked
    kind: float = 0.5
    wrong_kind: float = 0.8
    returned: float = 0.5  # the last step goes back, and nothing in the question asks for that
    shares: float = 0.5  # something in common was asked for, and the path walks nothing there and back
    whole: float = 0.5  # the whole path, as words, against the whole question


@dataclass(frozen=True)
class Fit:
    """The state of a path: `best[j]` is the best alignment that used the first j words."""

    steps: tuple[Step, ...]
    best: Any
    covered: Any
    bridges: bool
    returns: bool = False  # the last step is a bridge


class Aligner:
    """Scores paths for one question."""

    def __init__(
        self, question: Question, encoder: Encoder, thesaurus: Thesaurus, weights: Weights | None = None
    ) -> None:
        self._question = question
        self._encoder = encoder
        self._thesaurus = thesaurus
        self._weights = weights or Weights()
        self._fits: dict[str, Any] = {}
        self._kinds: dict[Step, str | None] = {}
        self._named = np.zeros(len(question.words))  # how much each word looks like naming any relation

    @cached_property
    def _vectors(self) -> tuple[list[int], Any]:
        """The phrases that only their meaning can match, by position, and their vectors."""
        spans = self._question.spans
        open_ = [at for at, span in enumerate(spans) if not self._listed[at] and not self._of_listed_words(span.text)]
        return open_, self._encoder.encode([f"X's {spans[at].text}" for at in open_])

    @cached_property
    def _listed(self) -> list[frozenset[int]]:
        return [self._thesaurus.groups_of_words(span.text) for span in self._question.spans]

    def _of_listed_words(self, text: str) -> bool:
        """Whether a phrase says nothing beyond words that count by themselves: "films starred", "which movie"."""
        words = [word for word in text.split() if is_content(word)]
        return any(self._thesaurus.groups_of_words(word) for word in words) or all(
            self._thesaurus.kind_of_noun(word) for word in words
        )

    def prepare(self, relations: list[str]) -> None:
        """Compare all phrases with all `relations` at once; what a path leaves unused is judged by these."""
        for relation in relations:
            self._fit_of(relation)

    def _fit_of(self, relation: str) -> Any:
        """The fit of every phrase to a relation, in the order of the question's spans."""
        if relation not in self._fits:
            fits = self._compute(relation)
            self._fits[relation] = fits
            for span, fit in zip(self._question.spans, fits.tolist(), strict=True):
                # A phrase's words share what it says: only content words can be left unused.
                for at in range(span.start, span.end):
                    if self._question.content[at]:
                        self._named[at] = max(self._named[at], fit if span.end - span.start == 1 else 0.0)
        return self._fits[relation]

    def _compute(self, relation: str) -> Any:
        """Listed phrases fit the relations of their group; all others, and unlisted relations, by cosine."""
        spans, weights, words = self._question.spans, self._weights, relation_words(relation)
        group = self._thesaurus.group_of_relation(relation)
        fits = np.array([float(group is not None and group in listed) for listed in self._listed])
        if group is None:
            which: list[int] = list(range(len(spans)))
            vectors = self._encoder.encode([f"X's {span.text}" for span in spans])
        else:
            which, vectors = self._vectors
        if which:
            cosines = vectors @ self._encoder.encode([f"X's {words}"])[0]
            fits[which] = np.clip((cosines - weights.low) / (weights.high - weights.low), 0, 1)
        for at, span in enumerate(spans):
            if span.text == words:
                fits[at] = 1.0
            elif group is None and self._thesaurus.kind_of_noun(span.text):
                fits[at] *= weights.other_meaning
        return fits

    def start(self) -> Fit:
        count = len(self._question.words)
        return Fit((), np.zeros(count + 1), np.zeros(count), False)

    def extend(self, fit: Fit, step: Step) -> Fit:
        """The state with one more step."""
        weights = self._weights
        bridge = bool(fit.steps) and fit.steps[-1] == step.back
        fits = self._fit_of(step.relation) * self._direction(step)
        silent, named = weights.silent, weights.named
        if bridge and self._question.shares:
            silent = weights.bridge + weights.later * (len(fit.steps) - 1)
        elif bridge:
            silent, named = weights.back, 0.0
        best = fit.best - silent
        covered = fit.covered.copy()
        for span, value in zip(self._question.spans, fits.tolist(), strict=True):
            if value <= 0:
                continue
            # What goes back needs words of its own: "religious belief" is one mention, not two.
            begin = span.start - bridge
            gained = fit.best[begin] - silent + value * (silent + named) if begin >= 0 else -np.inf
            if gained > best[span.end]:
                best[span.end] = gained
            covered[span.start : span.end] = np.maximum(covered[span.start : span.end], value)
        best = np.maximum.accumulate(best) - weights.step
        best -= weights.ill_typed * self._ill_typed(fit.steps, step)
        return Fit((*fit.steps, step), best, covered, fit.bridges or bridge, bridge)

    def _ill_typed(self, steps: tuple[Step, ...], step: Step) -> bool:
        reached, needed = (self._kind(steps[-1]) if steps else None), self._kind(step.back)
        return reached is not None and needed is not None and reached != needed

    def _direction(self, step: Step) -> float:
        if not step.inverse:
            return 1.0
        forward, backward = self._kind(Step(step.relation)), self._kind(step)
        return self._weights.against if forward == backward else 1.0

    def _kind(self, step: Step) -> str | None:
        if step not in self._kinds:
            self._kinds[step] = self._thesaurus.kind_of_end(step)
        return self._kinds[step]

    def score(self, fit: Fit) -> float:
        """Points of a complete path."""
        weights, question = self._weights, self._question
        points = float(fit.best[-1])
        points -= weights.unused * float(np.maximum(self._named - fit.covered, 0).sum())
        kind = self._kind(fit.steps[-1])
        if question.kind is not None and kind is not None:
            points += weights.kind if kind == question.kind else -weights.wrong_kind
        if question.shares and not fit.bridges:
            points -= weights.shares
        if not question.shares and question.kind is None and fit.returns:
            points -= weights.returned
        return points

    def of_steps(self, steps: tuple[Step, ...]) -> float:
        """Points of a path given as a whole."""
        fit = self.start()
        for step in steps:
            fit = self.extend(fit, step)
        return self.score(fit)


LIGHT = frozenset(["has", "have", "is", "was", "are", "were", "be", "by", "in", "of"])


def relation_words(relation: str) -> str:
    """A relation's name without the light verbs and prepositions at its ends: `directed by` as `directed`."""
    words = readable(relation).casefold().split()
    while len(words) > 1 and words[0] in LIGHT:
        words.pop(0)
    while len(words) > 1 and words[-1] in LIGHT:
        words.pop()
    return " ".join(words)


def in_words(steps: tuple[Step, ...]) -> str:
    """A path as a phrase, outermost step first: `gender of children of`."""
    return " of ".join(relation_words(step.relation) for step in reversed(steps))
