"""From the rows of a batch to their drafts: retrieve, fuse with what the engine's drafter proposed, decide how much.

Free of any engine. Nothing here can change what is generated: every draft is verified by the target model. What was
accepted shows in the rows of the next step, by which estimates are corrected and the account is kept.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reasonprune.errors import DatastoreError
from reasonprune.speculative import recent as recents
from reasonprune.speculative.acceptance import Acceptance, Calibration, DraftToken, chain_of, draft_of
from reasonprune.speculative.baselines import suffix_chain
from reasonprune.speculative.controller import StepCost, allocate
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.extension import grown
from reasonprune.speculative.fusion import best_chain, draft_tree, fuse, reweigh, within
from reasonprune.speculative.matching import LONGEST, Matches
from reasonprune.speculative.recent import Growth, Recent
from reasonprune.speculative.tree import ROOT, Source, TokenTree
from reasonprune.speculative.wish import Method, Wish

logger = logging.getLogger(__name__)

Tokens = NDArray[np.int32]
Ngram = Callable[[Tokens, int], list[int]]

STORED = 16  # occurrences that are taken from the datastore
LEAST_REACH = 0.12  # of a draft that is looked up further, whatever verification costs; less costs more than it gives
NODES = 64  # of the fused tree
TIME_SHARE = 0.1  # of the last forward step, that drafting may take
LEAST_TIME_S = 0.002
REST_AFTER = 64  # steps in a row in which no draft was worth its verification; then nothing is retrieved either
PROBE_EVERY = 32  # steps between two short tries while speculation rests
PROBE_TOKENS = 2
REFRESH_EVERY = 64  # steps between two looks at what other processes wrote to the datastore
ENDED = 4096  # requests whose counts are kept after their end
TAIL = 8  # tokens by which a row is known again


@dataclass
class Row:
    """A request in the batch: its prompt and output (the latest token last), and how much more it may hold."""

    key: Hashable
    tokens: Tokens
    room: int
    wish: Wish = field(default_factory=Wish)
    drafted: Sequence[int] = ()
    first: Mapping[int, float] | None = None


@dataclass
class _State:
    """What is remembered of a request between two steps."""

    length: int = 0
    tail: tuple[int, ...] = ()
    tree: TokenTree = field(default_factory=TokenTree)
    chain: list[DraftToken] = field(default_factory=list)
    recent: Matches | None = None
    acceptance: Acceptance = field(default_factory=Acceptance)
    method: Method = "rasd"


class Drafter:
    """Drafts for one engine. `longest`: most tokens of a draft; `ngram`: another rule that requests may ask for."""

    def __init__(
        self,
        longest: int,
        store: Datastore | None = None,
        growth: Growth | None = None,
        ngram: Ngram | None = None,
    ) -> None:
        self.longest = longest
        self.totals = Acceptance()
        self.cost = StepCost()
        self.calibration = Calibration()
        # By method, so that methods compared on one engine do not draft from each other's answers to one prompt.
        self._recent: defaultdict[Method, Recent] = defaultdict(Recent)
        self.store = store
        self.growth = growth
        self._ngram = ngram
        self._states: dict[Hashable, _State] = {}
        self._ended: dict[Hashable, Acceptance] = {}
        self._step_s = 0.0
        self._lookup_s = 0.0  # a node
        self._idle = 0
        self._turn = 0
        self._trouble: str | None = None

    def propose(
        self, rows: Sequence[Row], seconds: float | None = None, step_tokens: int | None = None
    ) -> list[list[int]]:
        """A draft for every row, empty where none is worth it.

        `seconds`: time of the forward step that gave these rows, where it held `step_tokens` tokens and no prefill.
        """
        began = time.perf_counter()
        if seconds is not None and step_tokens is not None:
            self.cost.observe(step_tokens, seconds)
            self._step_s = seconds
        states = [self._settled(row) for row in rows]
        chains: list[list[DraftToken]] = [[] for _ in rows]
        weighed: list[int] = []
        resting = self._idle >= REST_AFTER and self._idle % PROBE_EVERY != 0
        deadline = began + max(LEAST_TIME_S, TIME_SHARE * self._step_s)
        self._turn += 1
        if self._turn % REFRESH_EVERY == 0:
            self._refresh()
        for i in range(len(rows)):
            place = (i + self._turn) % len(rows)
            row = rows[place]
            most = min(self.longest, row.room, row.wish.tokens or self.longest)
            if most < 1 or row.wish.method == "off":
                continue
            if row.wish.method not in ("rasd", "retrieval"):
                chains[place] = self._by_rule(row, most)
            elif not resting and (not weighed or time.perf_counter() < deadline):
                chains[place] = self._candidate(row, states[place], most)
                weighed.append(place)
        self._limit(chains, weighed, len(rows), resting)
        for row, state, chain in zip(rows, states, chains, strict=True):
            state.chain, state.length, state.method = chain, len(row.tokens), row.wish.method
            state.tail = tuple(row.tokens[-TAIL:].tolist())
        return [[draft.token for draft in chain] for chain in chains]

    def finish(self, key: Hashable, output: Tokens) -> None:
        """A request has ended; its output becomes a source of drafts. Its counts stay for a while."""
        state = self._states.pop(key, None)
        if state is not None:
            self._ended[key] = state.acceptance
            while len(self._ended) > ENDED:
                del self._ended[next(iter(self._ended))]
            self._recent[state.method].add(output)
            if self.growth is not None and state.method == "rasd":
                self.growth.add(output.tolist())

    def take(self, belongs: Callable[[Hashable], bool]) -> Acceptance:
        """The counts of all requests whose key `belongs`, added up and forgotten."""
        summed = Acceptance()
        for key in [key for key in self._states if belongs(key)]:
            summed.merge(self._states[key].acceptance)
            self._states[key].acceptance = Acceptance()
        for key in [key for key in self._ended if belongs(key)]:
            summed.merge(self._ended.pop(key))
        return summed

    def _refresh(self) -> None:
        """A datastore that was damaged or removed meanwhile ends no serving: what is mapped lives on."""
        if self.store is None:
            return
        trouble = None
        try:
            self.store.refresh()
        except DatastoreError as error:
            trouble = error.message
            if trouble != self._trouble:
                logger.error("Drafts still come from the datastore as it was: %s", trouble)
        self._trouble = trouble

    def _settled(self, row: Row) -> _State:
        """The state of the row's request, after what the last step says about its draft."""
        state = self._states.get(row.key)
        tokens, length = row.tokens, state.length if state else 0
        known = state is not None and tuple(tokens[max(0, length - TAIL) : length].tolist()) == state.tail
        if state is None or not known or len(tokens) <= length:
            # New, or another request in its place; rows are only known by content where the engine gives no ids.
            self._states[row.key] = state = _State(acceptance=state.acceptance if state and known else Acceptance())
            return state
        new = tokens[length:].tolist()
        accepted = 0
        while accepted < min(len(state.chain), len(new) - 1) and state.chain[accepted].token == new[accepted]:
            accepted += 1
        state.acceptance.observe(state.chain, accepted, len(new))
        self.totals.observe(state.chain, accepted, len(new))
        self._learn(state.tree, new)
        return state

    def _learn(self, tree: TokenTree, new: Sequence[int]) -> None:
        """From all branches off the path that the text took, verified or not."""
        node = ROOT
        for token in new:
            for child in tree.children(node):
                self.calibration.learn(draft_of(tree, child), tree.tokens[child] == token)
            following = tree.child(node, token)
            if following is None:
                return
            node = following

    def _candidate(self, row: Row, state: _State, most: int) -> list[DraftToken]:
        """RASD's best chain before the batch is weighed."""
        estimate = self.calibration.estimate
        drafted = row.drafted[:most] if row.wish.drafts else ()
        began = time.perf_counter()
        tree = grown(self._matches(row, state, most), estimate, NODES, most, self._least(), drafted)
        took = (time.perf_counter() - began) / (1 + len(tree))
        self._lookup_s += 0.05 * (min(took, LEAST_TIME_S) - self._lookup_s)
        if drafted:
            if row.first is not None:
                tree = reweigh(tree, row.first)
            tree = within(fuse(draft_tree(drafted, estimate), tree), NODES)
        state.tree = tree
        return chain_of(tree, best_chain(tree, most))

    def _least(self) -> float:
        """Reach of a draft below which looking up and verifying a further one cannot raise the tokens per second."""
        if self._idle >= REST_AFTER:
            return LEAST_REACH  # a probe
        alone = self.cost.seconds(1)
        verifying = (self.cost.seconds(1 + self.longest) - alone) / self.longest
        return max(LEAST_REACH, (verifying + 2 * self._lookup_s) / alone)

    def _matches(self, row: Row, state: _State, length: int) -> list[Matches]:
        """Of the row's end, in every source. The row is searched anew, since the engine may move it in its memory."""
        context, recent, known = row.tokens, self._recent[row.wish.method].tokens, state.recent
        new = context[state.length :].tolist()
        if known is not None and known.text is recent and 0 < len(new) <= LONGEST:
            for token in new:
                known = known.after(token)
            known = replace(known, tail=context[-LONGEST:].copy(), path=())
        else:
            known = Matches.of(recent, context.copy(), Source.RECENT)
        state.recent = known
        found = [Matches.of(context, context, Source.REQUEST), known]
        if self.store is None:
            return found
        tail = context[-LONGEST:]
        stored = self.store.continuations(tail.tolist(), length, STORED)
        excerpts = [[*tail[-c.matched :].tolist(), *c.tokens, recents.SEPARATOR] for c in stored]
        text = np.array([token for excerpt in excerpts for token in excerpt], np.int32)
        return [*found, Matches.of(text, context, Source.STORE)]

    def _by_rule(self, row: Row, most: int) -> list[DraftToken]:
        """Other rules, without our estimates and our controller, to compare with."""
        if row.wish.method == "suffix":
            return suffix_chain(row.tokens, self._recent[row.wish.method].tokens, recents.SEPARATOR, most)
        drafted = row.drafted
        if row.wish.method == "ngram" and self._ngram is not None:
            drafted = self._ngram(row.tokens, most)
        source = Source.REQUEST if row.wish.method == "ngram" else Source.DRAFT
        return [DraftToken(token, source, 0, 1.0, 1, 1.0) for token in drafted[:most]]

    def _limit(self, chains: list[list[DraftToken]], weighed: Sequence[int], rows: int, resting: bool) -> None:
        """Cuts the chains of `weighed` rows to what is worth verifying in this batch."""
        if resting:
            self._idle += 1
            return
        if not weighed:
            return
        reaches: list[list[float]] = [[] for _ in range(rows)]
        for place in weighed:
            reach = 1.0
            for draft in chains[place]:
                reach *= draft.chance
                reaches[place].append(reach)
        lengths = allocate(reaches, self.cost)
        probing = self._idle >= REST_AFTER and not any(lengths)
        if any(lengths):
            self._idle = 0
        elif any(chains[place] for place in weighed):
            self._idle += 1
        for place in weighed:
            del chains[place][PROBE_TOKENS if probing else lengths[place] :]
