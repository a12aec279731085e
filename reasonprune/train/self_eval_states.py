"""Hidden states of recorded traces, which the engine would see at the same places; kept on disk where asked for.

The pass over a pool is nearly all that training a head costs. With its states kept, another head takes seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reasonprune.errors import PoolError
from reasonprune.selfeval.head import with_trails
from reasonprune.selfeval.log_softmax import gather, log_softmax
from reasonprune.train.samples import SHARES, Sample, SampledQuestion

EVERY = 8  # tokens between two places whose state is kept; those at SHARES are, too
BATCH_TOKENS = 16_384
LOGITS_AT_ONCE = 256  # rows; for each the weights of the vocabulary are read anew
FORMAT = "reasonprune-states-1"
TENSORS = ("states", "places", "counts", "logprobs", "tokens")


@dataclass(frozen=True)
class States:
    """Hidden states with their trails [n, width], and what became of their traces, row by row.

    `share`: the one of SHARES at which the state was taken, 0 where it was drawn at random. `progress`: how much of the
    trace was read, 0 to 1. `ended`: all of it, and it ended by itself.
    """

    states: torch.Tensor
    right: torch.Tensor
    unbeaten: torch.Tensor
    remaining: torch.Tensor
    question: NDArray[np.int64]
    share: NDArray[np.float64]
    progress: NDArray[np.float64]
    ended: torch.Tensor

    def at(self, rows: NDArray[Any]) -> States:
        """Only these rows: their numbers, or a mask."""
        picked = torch.from_numpy(rows)
        return States(
            self.states[picked],
            self.right[picked],
            self.unbeaten[picked],
            self.remaining[picked],
            self.question[rows],
            self.share[rows],
            self.progress[rows],
            self.ended[picked],
        )


@dataclass(frozen=True)
class Kept:
    """Of every trace, in the pool's order: `states` [places, width], after how many tokens, and log-probabilities."""

    states: list[torch.Tensor]
    places: list[list[int]]
    logprobs: list[list[float]]


def places_of(sample: Sample) -> list[int]:
    """Tokens after which a trace's state is kept."""
    return sorted({sample.cut(share) for share in SHARES} | set(range(EVERY, len(sample.token_ids) - 1, EVERY)))


def read_states(
    model: Any, questions: Sequence[SampledQuestion], progress: Callable[[float], None] = lambda share: None
) -> Kept:
    """The last layer's states (after its norm) from which the token after each place would be sampled.

    `model`: of transformers. Traces are run in batches of like length. Log-probabilities that were not recorded are
    taken from the model as well.
    """
    jobs = [(question, sample) for question in questions for sample in question.samples]
    order = sorted(range(len(jobs)), key=lambda number: _length(jobs[number]))
    found: dict[int, tuple[torch.Tensor, list[float]]] = {}
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end - start + 1) * _length(jobs[order[end]]) <= BATCH_TOKENS:
            end += 1
        numbers = order[start:end]
        for number, states in zip(numbers, _run(model, [jobs[n] for n in numbers]), strict=True):
            sample = jobs[number][1]
            logprobs = list(sample.logprobs) or _logprobs(model, states, sample)
            # A copy: a view would keep the states of all tokens.
            found[number] = states[places_of(sample)].clone(), logprobs
        start = end
        progress(start / len(jobs))
    in_order = [found[number] for number in range(len(jobs))]
    return Kept([s for s, _ in in_order], [places_of(sample) for _, sample in jobs], [p for _, p in in_order])


def last_states(model: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """The last layer's states (after its norm) of token ids, [rows, longest, width]; padding comes last."""
    ids, mask = padded(rows)
    states: torch.Tensor = model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return states


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and their mask, [rows, longest]; padding comes last."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def _length(job: tuple[SampledQuestion, Sample]) -> int:
    return len(job[0].prompt_ids) + len(job[1].token_ids)


def _run(model: Any, batch: Sequence[tuple[SampledQuestion, Sample]]) -> list[torch.Tensor]:
    """States [tokens, width] of each trace, the first before its first token."""
    rows = [[*question.prompt_ids, *sample.token_ids] for question, sample in batch]
    with torch.inference_mode():
        states = last_states(model, rows)
    begins = [len(question.prompt_ids) - 1 for question, _ in batch]
    # Out of inference mode, since training goes on from these.
    return [states[i, begin : len(row) - 1].clone() for i, (begin, row) in enumerate(zip(begins, rows, strict=True))]


def _logprobs(model: Any, states: torch.Tensor, sample: Sample) -> list[float]:
    ids = torch.tensor(sample.token_ids)[:, None]
    found: list[float] = []
    with torch.inference_mode():
        for rows, tokens in zip(states.split(LOGITS_AT_ONCE), ids.split(LOGITS_AT_ONCE), strict=True):
            likely = log_softmax(model.get_output_embeddings()(rows))
            found += torch.cat(gather(likely, tokens))[:, 0].tolist()
    return found


def rows_of(questions: Sequence[SampledQuestion], kept: Kept, chosen: Sequence[int], drawn: int, seed: int) -> States:
    """States of the questions that are `chosen` by number: at SHARES, and at `drawn` places of each trace by chance."""
    rng = np.random.default_rng(seed)
    wanted = set(chosen)
    states, facts, trace = [], [], -1
    for number, question in enumerate(questions):
        for sample in question.samples:
            trace += 1
            if number not in wanted:
                continue
            places, tokens = kept.places[trace], len(sample.token_ids)
            picked = [(places.index(sample.cut(share)), share) for share in SHARES]
            picked += [(int(at), 0.0) for at in rng.integers(0, len(places), size=drawn)]
            read = [kept.logprobs[trace][: places[at]] for at, _ in picked]
            states.append(with_trails(kept.states[trace][[at for at, _ in picked]], read))
            unbeaten = question.unbeaten(sample)
            for at, share in picked:
                ended = sample.ended and places[at] == sample.cut(1.0)
                done = places[at] / tokens
                facts.append((sample.right, unbeaten, tokens - places[at], number, share, done, ended))
    right, unbeaten_, remaining, number_, share_, progress_, ended_ = (list(c) for c in zip(*facts, strict=True))
    return States(
        torch.cat(states),
        torch.tensor(right, dtype=torch.float32),
        torch.tensor(unbeaten_, dtype=torch.float32),
        torch.tensor(remaining, dtype=torch.float32),
        np.asarray(number_, dtype=np.int64),
        np.asarray(share_, dtype=np.float64),
        np.asarray(progress_, dtype=np.float64),
        torch.tensor(ended_, dtype=torch.bool),
    )


def save_kept(kept: Kept, file: Path, pool: str, mark: str) -> None:
    """`pool`: its sha256; `mark`: the model's fingerprint."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        "states": torch.cat(kept.states),
        "places": torch.tensor([place for places in kept.places for place in places], dtype=torch.int32),
        "counts": torch.tensor([len(places) for places in kept.places], dtype=torch.int32),
        "logprobs": torch.tensor([value for trace in kept.logprobs for value in trace], dtype=torch.float64),
        "tokens": torch.tensor([len(trace) for trace in kept.logprobs], dtype=torch.int32),
    }
    scratch = file.with_name(file.name + ".part")
    save_file(tensors, scratch, {"about": json.dumps({"format": FORMAT, "pool": pool, "model": mark})})
    scratch.replace(file)
    file.chmod(0o644)  # safetensors writes for its owner only


def load_kept(file: Path, pool: str, mark: str) -> Kept:
    """Raises PoolError where the file is none of ours, or of another pool or model."""
    try:
        with safe_open(file, "pt") as opened:
            about = json.loads((opened.metadata() or {}).get("about", "{}"))
            tensors = {name: opened.get_tensor(name) for name in TENSORS}
    except (OSError, SafetensorError, ValueError, AttributeError) as error:
        raise PoolError(f"The states {file} cannot be read ({error}); choose another --states.") from None
    if about != {"format": FORMAT, "pool": pool, "model": mark}:
        raise PoolError(f"The states {file} are not of this pool and model; choose another --states, or remove them.")
    counts, tokens = tensors["counts"].tolist(), tensors["tokens"].tolist()
    return Kept(
        list(tensors["states"].split(counts)),
        [part.tolist() for part in tensors["places"].split(counts)],
        [part.tolist() for part in tensors["logprobs"].split(tokens)],
    )
