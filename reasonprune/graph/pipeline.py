"""From a question to its answers, the paths that lead there, and the evidence as text (arXiv 2410.14211).

Without a model: topics are linked, paths explored and scored against the words of the question, beamed, and rules say
whether they suffice. With a model it also analyses the question, chooses among paths that are close, says whether the
evidence suffices, and guesses answers that are then looked for in the graph. Gold answers have no way in: the only
inputs are the question, the store and the options.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import perf_counter
from typing import Any, TypeVar

from reasonprune.errors import RequestError
from reasonprune.graph.advisor import Advisor, Allowance, Model
from reasonprune.graph.alignment import Aligner, Weights, in_words
from reasonprune.graph.answers import Answer, direct_ends, ranked
from reasonprune.graph.beam import branch_reduced, fuzzy, preferred, undecided
from reasonprune.graph.connect import connect
from reasonprune.graph.evidence import as_text, render
from reasonprune.graph.explore import Budget, Path, Spent, deeper, explore, walk
from reasonprune.graph.linking import Topic, given, link
from reasonprune.graph.question import Question, analyse
from reasonprune.graph.store import GraphStore
from reasonprune.graph.thesaurus import Thesaurus, english
from reasonprune.options import GraphOptions
from reasonprune.sentence_encoder import Encoder

T = TypeVar("T")
SUFFICES = 0.2  # points of the best path: about one step named and nothing left over
LONG_EVIDENCE = 2000  # letters beyond which a model sums it up
CHAIN_WEIGHT = 0.5
PRUNED_SHOWN = 20


@dataclass(frozen=True)
class Result:
    """`kept` are the paths of the evidence, best first; `pruned` the best of those left out, not all of them walked."""

    question: str
    topics: list[Topic]
    answers: list[Answer]
    kept: list[Path]
    pruned: list[Path]
    lines: list[str]
    evidence: str
    sufficient: bool
    reason: str
    account: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What `/v1/graph/query` answers."""
        paths = [
            {"text": line, "score": round(path.score, 3), "steps": [str(step) for step in path.steps]}
            for line, path in zip(self.lines, self.kept, strict=True)
        ]
        return {
            "question": self.question,
            "topics": [{"name": topic.name, "how": topic.how} for topic in self.topics],
            "answers": [{"name": a.name, "score": round(a.score, 3), "path": a.path} for a in self.answers],
            "paths": paths,
            "evidence": self.evidence,
            "sufficient": self.sufficient,
            "account": self.account,
        }


@dataclass
class _Topic:
    """The search from one topic."""

    topic: Topic
    question: Question
    aligner: Aligner
    paths: list[Path]


class PathsOverGraph:
    """The pipeline over one store. One object serves any number of questions at a time."""

    def __init__(
        self,
        store: GraphStore,
        encoder: Encoder,
        thesaurus: Thesaurus | None = None,
        weights: Weights | None = None,
        in_threads: bool = True,
    ) -> None:
        """`in_threads` leaves the event loop free while a graph is searched; one question at a time need not."""
        self.store = store
        self._run = asyncio.to_thread if in_threads else _inline
        self._encoder = encoder
        self._thesaurus = thesaurus or english()
        self._weights = weights or Weights()

    async def answer(self, question: str, options: GraphOptions, model: Model | None = None) -> Result:
        """Raises RequestError where the question is empty or names a topic the graph does not have, and GraphError
        where the store fails."""
        began = perf_counter()
        if not question.strip():
            raise RequestError("question is empty. Ask something.", "question")
        spent = Spent()
        topics = await self._run(self._topics, question, options)
        advisor = None
        if model is not None and topics:
            allowance = Allowance(options.llm_calls, options.llm_tokens, options.seconds)
            advisor = Advisor(model, question, [topic.name for topic in topics], allowance)
        chain = await advisor.chain() if advisor else None
        searches = await self._run(self._explore, question, topics, options, spent, chain)
        pool = [path for search in searches for path in search.paths]
        kept, answers = await self._decide(pool, topics, options, spent, advisor)
        sufficient, reason = await self._check(kept, answers, topics, advisor)
        if not sufficient and topics:
            more = await self._supplement(searches, kept, options, spent, advisor)
            if more:
                pool += more
                kept, answers = await self._decide(pool, topics, options, spent, None)
                sufficient, reason = await self._check(kept, answers, topics, advisor)
        lines = [render(self.store, path) for path in kept]
        evidence = as_text(lines)
        if advisor and len(evidence) > LONG_EVIDENCE:
            evidence = await advisor.summary(evidence) or evidence
        pruned = [path for path in fuzzy(pool, options.width) if path.steps not in {p.steps for p in kept}]
        account = self._account(options, spent, pool, kept, advisor, perf_counter() - began)
        return Result(
            question, topics, answers, kept, pruned[:PRUNED_SHOWN], lines, evidence, sufficient, reason, account
        )

    def _topics(self, question: str, options: GraphOptions) -> list[Topic]:
        if options.topics is None:
            return link(question, self.store, self._encoder, self._thesaurus)
        found = []
        for name in options.topics:
            topic = given(question, name, self.store)
            if topic is None:
                near = [self.store.name(entity) for entity in self.store.similar(name, 3)]
                hint = f" Near: {', '.join(near)}." if near else ""
                raise RequestError(f"The graph has no entity '{name}'.{hint}", "graph.topics")
            found.append(topic)
        return found

    def _explore(
        self, question: str, topics: Sequence[Topic], options: GraphOptions, spent: Spent, chain: list[str] | None
    ) -> list[_Topic]:
        budget = budget_of(options)
        searches = []
        for at, topic in enumerate(topics):
            order = [topic, *topics[:at], *topics[at + 1 :]]
            analysed = analyse(question, [(other.start, other.end) for other in order], self._thesaurus)
            aligner = Aligner(analysed, self._encoder, self._thesaurus, self._weights)
            aligner.prepare(list(self.store.relations()))
            paths = explore(self.store, topic.entities, aligner, budget, spent)
            # Only the best are worth comparing as whole texts.
            near = self._compared(fuzzy(paths, budget.width), question, chain)
            searches.append(_Topic(topic, analysed, aligner, near))
        for first, second in pairwise(searches):
            found = connect(self.store, first.topic.entities, second.topic.entities, budget, spent)
            spent.considered += len(found)
            first.paths += self._compared(found, question, chain)
        return searches

    def _compared(self, paths: Sequence[Path], question: str, chain: list[str] | None) -> list[Path]:
        """Points with the similarity of whole texts: a path's steps with the question, and with the model's chain."""
        texts = [question, " of ".join(reversed(chain or [])), *(in_words(path.steps) for path in paths)]
        rows = self._encoder.encode(texts)
        points = self._weights.whole * (rows[2:] @ rows[0])
        if chain:
            points = points + CHAIN_WEIGHT * (rows[2:] @ rows[1])
        return [replace(path, score=path.score + float(more)) for path, more in zip(paths, points, strict=True)]

    async def _decide(
        self,
        pool: Sequence[Path],
        topics: Sequence[Topic],
        options: GraphOptions,
        spent: Spent,
        advisor: Advisor | None,
    ) -> tuple[list[Path], list[Answer]]:
        """The kept paths and the answers, after the three steps of the beam."""
        budget = budget_of(options)
        beamed = branch_reduced(fuzzy(pool, options.width), options.branches)
        walked = await self._run(lambda: [walk(self.store, path, budget, spent) for path in beamed])
        walked = [path for path in walked if path.ends]
        if advisor and len(close := undecided(walked)) > 1:
            lines = [render(self.store, path, most=3) for path in close]
            chosen = await advisor.choose(lines, options.max_paths)
            if chosen is not None:
                walked = preferred(walked, [close[at] for at in chosen])
                walked = [replace(path, score=walked_score(walked, at)) for at, path in enumerate(walked)]
        answers, kept = await self._run(self._ranked, walked, topics, options, budget)
        return kept, answers

    def _ranked(
        self, walked: Sequence[Path], topics: Sequence[Topic], options: GraphOptions, budget: Budget
    ) -> tuple[list[Answer], list[Path]]:
        ends = [direct_ends(self.store, path, budget.nodes) for path in walked]
        return ranked(self.store, walked, ends, topics, options.max_paths, options.max_answers)

    async def _check(
        self, kept: list[Path], answers: list[Answer], topics: Sequence[Topic], advisor: Advisor | None
    ) -> tuple[bool, str]:
        """Whether the evidence suffices, and why; moves the answer that a model reads from it to the front."""
        if not topics:
            return False, "the question names no entity of the graph"
        if not kept:
            return False, "no path leads on from the topic"
        if advisor:
            verdict = await advisor.enough(as_text([render(self.store, path) for path in kept]))
            if verdict is not None:
                _to_front(answers, verdict[1])
                return verdict[0], "the model finds that the evidence " + ("answers" if verdict[0] else "does not do")
        if kept[0].score < SUFFICES:
            return False, f"the best path fits the question with {kept[0].score:.2f} points of {SUFFICES} needed"
        return True, f"the best path fits the question with {kept[0].score:.2f} points"

    async def _supplement(
        self,
        searches: Sequence[_Topic],
        kept: Sequence[Path],
        options: GraphOptions,
        spent: Spent,
        advisor: Advisor | None,
    ) -> list[Path]:
        """Phases two and three: paths to answers that a model guesses, and paths one step longer."""
        budget = budget_of(options)
        guesses = await advisor.guesses() if advisor else None

        def search() -> list[Path]:
            found: list[Path] = []
            known = {path.steps for one in searches for path in one.paths}
            for one in searches:
                for name in guesses or ():
                    if entities := self.store.find(name):
                        found += [
                            replace(path, score=one.aligner.of_steps(path.steps))
                            for path in connect(self.store, one.topic.entities, entities, budget, spent)
                            if path.steps not in known
                        ]
                roots = [path for path in kept if path.levels[0].entities == one.topic.entities]
                found += deeper(self.store, roots, one.aligner, budget, spent, known)
            return self._compared(fuzzy(found, options.width), searches[0].question.text, None)

        return await self._run(search)

    def _account(
        self,
        options: GraphOptions,
        spent: Spent,
        pool: Sequence[Path],
        kept: Sequence[Path],
        advisor: Advisor | None,
        seconds: float,
    ) -> dict[str, Any]:
        books = advisor.books if advisor else None
        return {
            "paths_considered": spent.considered,
            "paths_compared": len(pool),
            "paths_kept": len(kept),
            "nodes_visited": spent.nodes,
            "limits_met": spent.cut,
            "llm_calls": books.calls if books else 0,
            "llm_tokens": books.prompted + books.generated if books else 0,
            "llm_generated_tokens": books.generated if books else 0,
            "llm_malformed": books.malformed if books else 0,
            "llm_fallbacks": books.fallbacks if books else 0,
            **({"llm_failure": books.failure} if books and books.failure else {}),
            "budget": {
                "depth": options.depth,
                "width": options.width,
                "branches": options.branches,
                "nodes": options.nodes,
                "edges": options.edges,
                "llm_calls": options.llm_calls if advisor else 0,
                "llm_tokens": options.llm_tokens if advisor else 0,
                "seconds": options.seconds,
            },
            "seconds": round(seconds, 4),
        }


async def _inline(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def budget_of(options: GraphOptions) -> Budget:
    return Budget(options.depth, options.width, options.nodes, options.edges, options.seconds)


def walked_score(paths: Sequence[Path], at: int) -> float:
    """Points that keep the order of `paths`: those of a choice outrank what they were chosen over."""
    return max(path.score for path in paths[at:])


def _to_front(answers: list[Answer], name: str) -> None:
    wanted = name.casefold().strip()
    for at, answer in enumerate(answers):
        if wanted and answer.name.casefold() == wanted:
            answers.insert(0, answers.pop(at))
            return
