"""`reasonprune bench graph`: questions with known answers over a graph.

Gold answers are read here and compared after the pipeline has answered; it never sees them. A topic is given where the
data set marks it, by brackets (MetaQA) or as the start of the gold path (PathQuestion; the rest of that is not read).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from reasonprune.errors import GraphError
from reasonprune.graph.advisor import Model
from reasonprune.graph.pipeline import PathsOverGraph
from reasonprune.graph.readers import METAQA_NAMES, read_triples
from reasonprune.graph.store import GraphStore
from reasonprune.options import GraphOptions
from reasonprune.sentence_encoder import DEFAULT_ENCODER, shared_encoder

DataFormat = Literal["pathquestion", "metaqa"]
Linking = Literal["given", "linked"]
RECALLED = 10_000  # answers that are compared with the gold ones


@dataclass(frozen=True)
class GraphQuestion:
    """A question, its topic as the data marks it, and the gold answers."""

    text: str
    topic: str
    gold: frozenset[str]


def read_questions(path: Path, form: DataFormat, limit: int | None = None) -> list[GraphQuestion]:
    """The first `limit` questions. Raises GraphError naming the line that is not usable."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise GraphError(f"The questions {path} cannot be read: {error}.") from None
    parse = {"pathquestion": _pathquestion, "metaqa": _metaqa}[form]
    questions = []
    for number, line in enumerate(lines[:limit], 1):
        question = parse(line.rstrip("\r").split("\t"))
        if question is None:
            raise GraphError(f"{path}, line {number}: not a question in the format {form}.")
        questions.append(question)
    if not questions:
        raise GraphError(f"{path} holds no questions.")
    return questions


def _pathquestion(cells: list[str]) -> GraphQuestion | None:
    """`question <tab> answer(answer/answer/...) <tab> topic#relation#...`."""
    if len(cells) != 3 or "#" not in cells[2]:
        return None
    answer, _, rest = cells[1].partition("(")
    gold = frozenset(filter(None, [answer, *rest.removesuffix(")").split("/")]))
    return GraphQuestion(cells[0], cells[2].partition("#")[0], gold)


def _metaqa(cells: list[str]) -> GraphQuestion | None:
    """`question with its [topic] <tab> answer|answer|...`."""
    marked = re.search(r"\[(.*)\]", cells[0])
    if len(cells) != 2 or marked is None:
        return None
    return GraphQuestion(cells[0], marked[1], frozenset(filter(None, cells[1].split("|"))))


def read_kb(path: Path, form: DataFormat) -> GraphStore:
    """The graph of the questions. A file or folder of MetaQA's ids stands for the whole folder, all splits."""
    from reasonprune.graph.stores import open_path

    folder = path if path.is_dir() else path.parent
    if form == "metaqa" and all((folder / name).is_file() for name in METAQA_NAMES) and path.suffix in ("", ".tsv"):
        from reasonprune.graph.memory import MemoryStore

        return MemoryStore(read_triples(folder))
    return open_path(path)


@dataclass(frozen=True)
class GraphConfig:
    """One run. `llm`: a model's name for the parts that a model does, None for none."""

    form: DataFormat
    llm: str | None = None
    linking: Linking = "given"
    encoder: str = DEFAULT_ENCODER
    options: Mapping[str, Any] = field(default_factory=dict)  # of GraphOptions


def bench_graph(
    kb: Path, data: Path, config: GraphConfig, limit: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Raises GraphError where graph or questions cannot be read."""
    questions = read_questions(data, config.form, limit)
    pipeline = PathsOverGraph(read_kb(kb, config.form), shared_encoder(config.encoder), in_threads=False)
    return asyncio.run(evaluate(pipeline, questions, config, progress))


async def evaluate(
    pipeline: PathsOverGraph,
    questions: Sequence[GraphQuestion],
    config: GraphConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Means over the questions; `seconds` is the wall time of all of them, models loaded before."""
    rows = []
    async with model_of(config.llm) as model:
        began = perf_counter()
        for done, question in enumerate(questions, 1):
            rows.append(await _one(pipeline, question, config, model))
            progress(done, len(questions))
        seconds = perf_counter() - began
    count = len(rows)

    def mean(key: str) -> float:
        return round(sum(row[key] for row in rows) / count, 4)

    return {
        "questions": count,
        "hits_at_1": mean("hits_at_1"),
        "hits_at_3": mean("hits_at_3"),
        "answer_recall": mean("answer_recall"),
        "paths_considered": mean("paths_considered"),
        "paths_kept": mean("paths_kept"),
        "llm_calls": mean("llm_calls"),
        "llm_tokens": mean("llm_tokens"),
        "seconds": round(seconds, 2),
        "seconds_per_question": round(seconds / count, 4),
        "llm_malformed": mean("llm_malformed"),
        "llm_fallbacks": mean("llm_fallbacks"),
        "sufficient": mean("sufficient"),
        "topic_found": mean("topic_found"),
        "llm": config.llm or "none",
        "linking": config.linking,
        "encoder": config.encoder,
    }


async def _one(
    pipeline: PathsOverGraph, question: GraphQuestion, config: GraphConfig, model: Model | None
) -> dict[str, float]:
    text, topics = question.text, [question.topic]
    known = bool(pipeline.store.find(question.topic))
    if config.linking == "linked" or not known:
        text, topics = re.sub(r"[\[\]]", "", text) if config.form == "metaqa" else text, []
    options = GraphOptions(
        store="kb",
        topics=topics or None,
        max_answers=RECALLED,
        llm=model is not None,
        **config.options,
    )
    result = await pipeline.answer(text, options, model)
    names = [answer.name for answer in result.answers]
    # Recall is that of the best path: all of a graph would have recall 1.
    first = {answer.name for answer in result.answers if answer.path == result.answers[0].path}
    gold = question.gold
    return {
        "hits_at_1": float(bool(gold & set(names[:1]))),
        "hits_at_3": float(bool(gold & set(names[:3]))),
        "answer_recall": len(gold & first) / len(gold) if gold else 0.0,
        "sufficient": float(result.sufficient),
        "topic_found": float(question.topic in {topic.name for topic in result.topics}),
        **{key: result.account[key] for key in ACCOUNTED},
    }


ACCOUNTED = ("paths_considered", "paths_kept", "llm_calls", "llm_tokens", "llm_malformed", "llm_fallbacks")


@asynccontextmanager
async def model_of(name: str | None) -> AsyncIterator[Model | None]:
    if name is None:
        yield None
        return
    from reasonprune.engine.offline import open_engine
    from reasonprune.graph.engine_model import EngineModel

    async with open_engine(name, max_model_len=4096) as engine:
        yield EngineModel(engine)
