"""`reasonprune record`: real traces of a model on a dataset, to replay policies on. Resumable question by question."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasonprune.answers import extract_answer
from reasonprune.bench.dataset import Question, read_dataset
from reasonprune.cot.scores import fingerprint
from reasonprune.engine.confidence import TOP_LOGPROBS, token_confidence
from reasonprune.errors import PoolError
from reasonprune.lines import whole_lines

PROBE_TOKENS = 16


@dataclass(frozen=True)
class RecordConfig:
    """`probe_every`: force an answer every so many tokens, 0 never. `concurrency`: questions under way at once.

    `logprobs`: of every token, and its confidence, which deepconf and `bench cot` read. With a large
    vocabulary on a CPU they take a large part of the time.
    """

    model: str
    n: int
    temperature: float
    top_p: float
    max_tokens: int
    probe_every: int
    seed: int
    concurrency: int = 4
    logprobs: bool = True

    @property
    def sampling(self) -> dict[str, Any]:
        """What tells pools apart."""
        left_out = {"model", "n", "concurrency"} | ({"logprobs"} if self.logprobs else set())
        return {key: value for key, value in asdict(self).items() if key not in left_out}


def record_pool(
    dataset: Path, config: RecordConfig, out: Path, limit: int | None, progress: Callable[[int, int], None]
) -> None:
    """Append the questions that `out` does not hold yet, one JSON line each, whole lines only.

    Raises:
        PoolError: the dataset or what is in `out` cannot be used, or was recorded with other settings.
    """
    asyncio.run(_record(read_dataset(dataset, limit), config, out, progress))
    gc.collect()  # vLLM's engine must be gone before the interpreter takes its modules apart


def _recorded(out: Path, config: RecordConfig) -> set[str]:
    """Questions already in `out`; a half-written last line (an interrupted run) is cut off."""
    lines = whole_lines(out)
    try:
        rows = [json.loads(line) for line in lines]
        for row in rows:
            if (row["model"], row["sampling"]) != (config.model, config.sampling) or len(row["traces"]) != config.n:
                raise PoolError(
                    f"{out} was recorded with model {row['model']}, n {len(row['traces'])}, {row['sampling']};"
                    " use the same settings or another --out."
                )
        return {row["question"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise PoolError(f"{out} exists and is not a pool of ours ({error}); choose another --out.") from None


async def _record(
    questions: list[Question], config: RecordConfig, out: Path, progress: Callable[[int, int], None]
) -> None:
    from reasonprune.engine.offline import open_engine

    if not _todo(questions, config, out):
        progress(len(questions), len(questions))
        return
    async with open_engine(config.model) as engine:
        await record_with(engine, questions, config, out, progress)


def _todo(questions: list[Question], config: RecordConfig, out: Path) -> list[tuple[int, Question]]:
    done = _recorded(out, config)
    return [(i, question) for i, question in enumerate(questions) if question.question not in done]


async def record_with(
    engine: Any, questions: list[Question], config: RecordConfig, out: Path, progress: Callable[[int, int], None]
) -> None:
    """`record_pool` on an engine that runs already."""
    todo = _todo(questions, config, out)
    total = len(questions)
    done = total - len(todo)
    progress(done, total)
    gate = asyncio.Semaphore(config.concurrency)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:

        async def one(index: int, question: Question) -> None:
            nonlocal done
            async with gate:
                row = await _question(engine, index, question, config)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            done += 1
            progress(done, total)

        async with asyncio.TaskGroup() as group:
            for index, question in todo:
                group.create_task(one(index, question))


def recorded_rows(pool: Path, limit: int | None) -> list[dict[str, Any]]:
    """The first `limit` questions of a pool of ours, with all that was recorded. Raises PoolError."""
    try:
        rows = [json.loads(line) for line in pool.read_text(encoding="utf-8").splitlines()[:limit] if line.strip()]
        for row in rows:
            for trace in row["traces"]:
                if not {"text", "token_ids", "logprobs", "finish_reason"} <= trace.keys():
                    raise PoolError(
                        f"{pool}: a trace lacks text, token_ids, logprobs or finish_reason; record it again."
                    )
            row["question"], row["gold"], row["prompt_token_ids"]
    except OSError as error:
        raise PoolError(f"The pool {pool} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PoolError(f"{pool} is not a pool of `reasonprune record` ({error!r}).") from None
    return rows


async def _question(engine: Any, index: int, question: Question, config: RecordConfig) -> dict[str, Any]:
    from reasonprune.engine.offline import chat_prompt

    prompt = chat_prompt(engine, question.question, config.model)
    traces = await asyncio.gather(*(_trace(engine, prompt, index, k, config) for k in range(config.n)))
    return {
        "question": question.question,
        "gold": question.gold,
        "prompt_token_ids": prompt["prompt_token_ids"],
        "model": config.model,
        "tokenizer": fingerprint(engine.get_tokenizer()),
        "sampling": config.sampling,
        "traces": traces,
    }


async def _trace(engine: Any, prompt: dict[str, Any], index: int, k: int, config: RecordConfig) -> dict[str, Any]:
    from reasonprune.engine.offline import sampling

    seed = config.seed + 1_000_003 * index + k
    more = {"logprobs": TOP_LOGPROBS} if config.logprobs else {}
    params = sampling(config.temperature, config.top_p, config.max_tokens, seed, **more)
    final = None
    async for output in engine.generate(prompt, params, f"{index}-{k}"):
        final = output.outputs[0]
    assert final is not None, "the engine ends every request with an output"
    token_ids = list(final.token_ids)
    return {
        "text": final.text,
        "token_ids": token_ids,
        **(_likelihoods(final.logprobs or [], token_ids) if config.logprobs else {}),
        "answer": extract_answer(final.text),
        "finish_reason": final.finish_reason,
        "probes": await _probes(engine, prompt, token_ids, f"{index}-{k}", config),
    }


def _likelihoods(rows: list[Any], token_ids: list[int]) -> dict[str, list[float]]:
    """Log-probability of every token, and its confidence (arXiv 2508.15260) over the likeliest."""
    return {
        "logprobs": [round(row[token].logprob, 4) for row, token in zip(rows, token_ids, strict=True)],
        "confidences": [round(token_confidence(row), 3) for row in rows],
    }


async def _probes(
    engine: Any, prompt: dict[str, Any], token_ids: list[int], name: str, config: RecordConfig
) -> list[list[Any]]:
    """`[tokens, answer]` at every `probe_every` tokens; the prefix is in the engine's cache."""
    if not config.probe_every:
        return []
    from reasonprune.engine.probe import Prober

    tokenizer = engine.get_tokenizer()
    prober = Prober.of(tokenizer, PROBE_TOKENS)
    probes = []
    for at in range(config.probe_every, len(token_ids), config.probe_every):
        head = tokenizer.decode(token_ids[:at])
        forced = await prober.force(engine, prompt, token_ids[:at], head, f"{name}-probe{at}", {})
        probes.append([at, forced.answer])
    return probes
