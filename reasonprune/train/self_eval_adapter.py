"""Training the adapter: a LoRA with which the model's reply to the evaluation turn is the probability of a win or tie.

As in the paper (arXiv 2410.02725) on-policy, on whole and truncated answers, with the loss on the predefined token
alone. There the labels come from pairs of samples and a reward model; with n samples of a question whose answer is
known the share of the others that do no better is the same target, without the noise of pairs. Which of a question's
traces to keep is less than one bit of that, so they are also ranked, as a value head's are.

The LoRA acts on the evaluation turn alone (see `engine.activated_lora`). So each trace is read once, without it and
without gradients, and all turns that ask about it follow from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from reasonprune.selfeval.turn import Asked, EvaluationTurn
from reasonprune.train.samples import SHARES, Sample, SampledQuestion
from reasonprune.train.self_eval_states import padded


@dataclass(frozen=True)
class AdapterConfig:
    """How a LoRA is trained.

    A step shows `traces` of each of `questions`, all of them whole and cut at the same `cuts` shares of their lengths.
    Every second question is one with right and wrong traces, which the others may be too. `ranking`: weight of the
    order within a question beside the loss of each reply.
    """

    rank: int = 16
    alpha: int = 32
    steps: int = 400
    questions: int = 4
    traces: int = 4
    cuts: int = 2
    ranking: float = 1.0
    learning_rate: float = 5e-4
    warmup: int = 10  # steps
    seed: int = 0


@dataclass(frozen=True)
class Asker:
    """A model of transformers, wrapped by peft, and the turn that it is asked."""

    model: Any
    tokenizer: Any
    turn: EvaluationTurn

    def contents(self, question: SampledQuestion, samples: Sequence[Sample], shares: Sequence[float]) -> torch.Tensor:
        """Logits of "I would do no better by starting over", [samples, shares]: of `No` against `Yes` as the reply.

        `shares` of each trace's length, in ascending order.
        """
        asked = [[self._ask(question, sample, share) for share in shares] for sample in samples]
        rows = [row for of_sample in asked for row in of_sample]
        cache = self._read([of_sample[-1] for of_sample in asked], len(shares))
        turns = [row.ids[row.begin :] for row in rows]
        ids, own = padded(turns)
        begins = torch.tensor([[row.begin] for row in rows])
        held = (torch.arange(cache.get_seq_length()) < begins).long()
        states = (
            self.model.get_base_model()
            .get_decoder()(
                input_ids=ids,
                attention_mask=torch.cat([held, own], 1),
                position_ids=begins + torch.arange(ids.shape[1]),
                past_key_values=cache,
                use_cache=True,
            )
            .last_hidden_state
        )
        last = states[torch.arange(len(rows)), torch.tensor([len(turn) - 1 for turn in turns])]
        logits = self.model.get_output_embeddings()(last).float()
        return (logits[:, self.turn.go_on] - logits[:, self.turn.restart]).reshape(len(samples), len(shares))

    def _ask(self, question: SampledQuestion, sample: Sample, share: float) -> Asked:
        """What the engine asks of a trace that has come so far."""
        ids = sample.token_ids[: sample.cut(share)]
        return self.turn.prompt(question.prompt_ids, ids, self.tokenizer.decode(ids))

    def _read(self, asked: Sequence[Asked], times: int) -> Any:
        """The keys and values of what is before these turns, each row `times` times; without the LoRA."""
        from transformers import DynamicCache

        ids, mask = padded([row.ids[: row.begin] for row in asked])
        cache = DynamicCache(config=self.model.config)
        with torch.no_grad(), self.model.disable_adapter():
            decoder = self.model.get_base_model().get_decoder()
            decoder(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(times)
        return cache


def train_adapter(
    model: Any,
    tokenizer: Any,
    questions: Sequence[SampledQuestion],
    config: AdapterConfig,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Asker, dict[str, Any]]:
    """The model (of transformers) with its trained LoRA, and how it came about: the mean loss of every tenth of the
    steps.

    Raises:
        ModelError: the tokenizer lacks the predefined tokens.
    """
    from peft import LoraConfig, get_peft_model

    turn = EvaluationTurn.of(tokenizer)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    asker = Asker(get_peft_model(model, lora), tokenizer, turn)
    asker.model.train()
    parameters = [parameter for parameter in asker.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / config.warmup, 1 - step / (config.steps + 1))
    )
    mixed = [question for question in questions if len({sample.right for sample in question.samples}) > 1]
    orders = [_in_turn(questions, rng), _in_turn(mixed or questions, rng)]
    losses = []
    for step in range(config.steps):
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for number in range(config.questions):
            question = next(orders[number % 2])
            picked = rng.permutation(len(question.samples))[: config.traces]
            samples = [question.samples[i] for i in picked]
            shares = [*np.sort(rng.random(config.cuts)).tolist(), 1.0]
            loss = _loss(asker.contents(question, samples, shares), question, samples, config) / config.questions
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(total)
        progress((step + 1) / config.steps)
    asker.model.eval()
    tenths = np.array_split(np.array(losses), min(10, len(losses)))
    return asker, {"losses": [round(float(part.mean()), 4) for part in tenths]}


def _in_turn(questions: Sequence[SampledQuestion], rng: np.random.Generator) -> Iterator[SampledQuestion]:
    """All of them in random order, again and again."""
    while True:
        for i in rng.permutation(len(questions)):
            yield questions[i]


def _loss(
    contents: torch.Tensor, question: SampledQuestion, samples: Sequence[Sample], config: AdapterConfig
) -> torch.Tensor:
    """Of the replies to all turns of a question, [samples, shares]."""
    target = torch.tensor([question.unbeaten(sample) for sample in samples])
    # Of the two replies alone, as they are read; else all that is learned is to reply with either of them.
    loss: torch.Tensor = binary_cross_entropy_with_logits(contents, target[:, None].expand_as(contents))
    right = torch.tensor([sample.right for sample in samples])
    if right.any() and not right.all():
        loss = loss + config.ranking * softplus(contents[~right][None] - contents[right][:, None]).mean()
    return loss


def contents_of(
    asker: Asker, questions: Sequence[SampledQuestion], progress: Callable[[float], None] = lambda share: None
) -> dict[float, list[float]]:
    """p(No) / (p(No) + p(Yes)) of all traces at each of SHARES, question by question."""
    found: dict[float, list[float]] = {share: [] for share in SHARES}
    with torch.inference_mode():
        for done, question in enumerate(questions, 1):
            contents = torch.sigmoid(asker.contents(question, question.samples, SHARES))
            for share, of_share in zip(SHARES, contents.T.tolist(), strict=True):
                found[share] += of_share
            progress(done / len(questions))
    return found
