"""`reasonprune train self-eval`: a value head or an adapter for the model that recorded a pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

from reasonprune.bench.provenance import portable, provenance, sha256
from reasonprune.errors import RequestError
from reasonprune.models import resolve
from reasonprune.selfeval.measures import plot_reliability, score_figures
from reasonprune.selfeval.trained import Trained, default_folder, fingerprint, save_description
from reasonprune.train.samples import SHARES, TEST_SHARE, SampledQuestion, read_samples, split
from reasonprune.train.self_eval_adapter import AdapterConfig, Asker, contents_of, train_adapter
from reasonprune.train.self_eval_head import HeadConfig, train_head
from reasonprune.train.self_eval_states import Kept, load_kept, read_states, rows_of, save_kept
from reasonprune.train.splits import Split

PLOT = "reliability.svg"
MOST_ASKED = 60  # test questions of an adapter; every trace of them is read, and asked about at each share
Progress = Callable[[str, float], None]
Report = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class SelfEvalConfig:
    """What is trained, and how. `model` replaces the one that the pool names; `test` is the share of the questions
    that only report: a small one will do where `bench self-eval` reports on other questions. `states`: file that keeps
    a head's hidden states, so that training another one needs no pass over the pool.
    """

    kind: Trained
    model: str | None = None
    head: HeadConfig = field(default_factory=HeadConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    test: float = TEST_SHARE
    seed: int = 0
    states: Path | None = None


@dataclass(frozen=True)
class _Job:
    """What training works on. `mark`: the model's fingerprint; `digest`: the pool's."""

    path: str
    name: str
    mark: str
    digest: str
    questions: list[SampledQuestion]
    parts: dict[Split, list[SampledQuestion]]

    def numbers(self, part: Split) -> list[int]:
        """Of the questions of a part, among all."""
        members = {id(question) for question in self.parts[part]}
        return [number for number, question in enumerate(self.questions) if id(question) in members]


def trained_kind(name: str) -> Trained:
    """Raises RequestError for what is not trained."""
    for kind in get_args(Trained):
        if name == kind:
            return kind
    raise RequestError(f"--kind {name}: expected adapter or head; verbal needs no training.", "--kind")


def train_self_eval(
    file: Path, out: Path | None, config: SelfEvalConfig, progress: Progress = lambda stage, share: None
) -> tuple[Path, dict[str, Any]]:
    """Trains, reports on questions that neither training nor validation saw, and saves; gives folder and training.

    `out` None: where serving looks for it by itself.

    Raises:
        PoolError: the pool cannot be used, or its questions are too few to be split.
        ModelError: the model cannot be found, or lacks the predefined tokens.
    """
    began = time.monotonic()
    name, questions = read_samples(file)
    name = config.model or name
    path = resolve(name).path
    job = _Job(path, name, fingerprint(path), sha256(file), questions, split(questions, config.seed, file, config.test))
    out = out or default_folder(job.mark, config.kind)
    training: dict[str, Any] = {
        "pool": {"file": file.name, "sha256": job.digest},
        "questions": {part: len(members) for part, members in job.parts.items()},
        "traces": {part: sum(len(q.samples) for q in members) for part, members in job.parts.items()},
        "seen": sorted({q.digest for part in ("train", "validation") for q in job.parts[part]}),
        "config": asdict(config.head if config.kind == "head" else config.adapter),
    }
    fit = _head if config.kind == "head" else _adapter
    training |= fit(job, out, config, progress)
    training["seconds"] = round(time.monotonic() - began)
    training["versions"] = {package: metadata.version(package) for package in ("safetensors", "transformers")}
    training["provenance"] = provenance(config.seed)
    description = training.pop("spec")
    plot_reliability({share: found["reliability"] for share, found in training["test"].items()}, out / PLOT)
    save_description(out, config.kind, portable(name), job.mark, description, training)
    return out, training


def _load(path: str, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model, AutoTokenizer.from_pretrained(path)


def _head(job: _Job, out: Path, config: SelfEvalConfig, progress: Progress) -> dict[str, Any]:
    kept = _states(job, config, partial(progress, "states"))
    drawn = config.head.places - len(SHARES)
    # Nothing is stopped or chosen by a set of its own, so the validation questions are for training as well.
    seen = [*job.numbers("train"), *job.numbers("validation")]
    train = rows_of(job.questions, kept, seen, drawn, config.seed)
    head, how = train_head(train, config.head, partial(progress, "head"))
    tested = rows_of(job.questions, kept, job.numbers("test"), 0, config.seed)
    report = {}
    for share in SHARES:
        test = tested.at(tested.share == share)
        values, remaining = head.values(test.states, test.ended), test.remaining
        right, numbers = [bool(r) for r in test.right], test.question.tolist()
        report[f"{share:g}"] = score_figures(values[:, 0].tolist(), right, numbers) | {
            "remaining_error": round(float((values[:, 2] - remaining).abs().mean()), 1),
            "remaining_error_of_the_mean": round(float((remaining - remaining.mean()).abs().mean()), 1),
        }
    head.save(out, portable(job.name), job.mark, {})
    return {"parameters": head.parameter_count, "chosen": how, "test": report, "spec": asdict(head.spec)}


def _states(job: _Job, config: SelfEvalConfig, progress: Callable[[float], None]) -> Kept:
    """Read with the model, or from where they were kept."""
    if config.states is not None and config.states.is_file():
        return load_kept(config.states, job.digest, job.mark)
    model, _ = _load(job.path, "auto")  # the states as the engine has them
    kept = read_states(model, job.questions, progress)
    if config.states is not None:
        save_kept(kept, config.states, job.digest, job.mark)
    return kept


def _adapter(job: _Job, out: Path, config: SelfEvalConfig, progress: Progress) -> dict[str, Any]:
    parts = job.parts
    model, tokenizer = _load(job.path, "auto")  # traces are read as the engine reads them
    # Nothing is stopped or chosen by a set of its own, so the validation questions are for training as well.
    seen = [*parts["train"], *parts["validation"]]
    asker, how = train_adapter(model, tokenizer, seen, config.adapter, partial(progress, "adapter"))
    report = _asked(asker, parts["test"][:MOST_ASKED], partial(progress, "test"))
    wrapped = asker.model
    wrapped.peft_config["default"].base_model_name_or_path = portable(job.name)
    out.mkdir(parents=True, exist_ok=True)
    wrapped.save_pretrained(str(out), save_embedding_layers=False)  # else peft looks for them on the hub
    (out / "README.md").unlink(missing_ok=True)  # a form to fill in; self-eval.json says what there is to say
    (out / "adapter_model.safetensors").chmod(0o644)
    parameters = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    spec = {"rank": config.adapter.rank, "activated": True}
    return {"parameters": parameters, "chosen": how, "test": report, "spec": spec}


def _asked(asker: Asker, questions: Sequence[SampledQuestion], progress: Callable[[float], None]) -> Report:
    """Figures of asking, at each share; the score is held against being right, as all kinds' are."""
    right = [sample.right for question in questions for sample in question.samples]
    numbers = [number for number, question in enumerate(questions) for _ in question.samples]
    contents = contents_of(asker, questions, progress)
    return {f"{share:g}": score_figures(contents[share], right, numbers) for share in SHARES}
