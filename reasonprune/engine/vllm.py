"""The engine client that vLLM's own serving classes talk to: passes requests through, or answers them by a race.

Everything below `generate` is vLLM's; templates, tool calls, structured output, reasoning parsers and streaming stay in
vLLM's serving code, which sees one request with `n` outputs whatever the number of traces behind it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import Any

from vllm import SamplingParams
from vllm.exceptions import VLLMClientError
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from reasonprune.answers import AnswerClasses, MathChecker
from reasonprune.context import RequestContext, current_request
from reasonprune.depth.choice import Programs
from reasonprune.depth.request import ProgrammedEngine, without_program
from reasonprune.engine.keeper import Keeper
from reasonprune.engine.live import LiveRace, RaceRequest
from reasonprune.engine.outputs import deltas, merged
from reasonprune.engine.probe import Prober
from reasonprune.engine.self_eval import evaluator_of, marked, prepare
from reasonprune.engine.workers import GPU_WORKER, OURS, SEED_WORKER
from reasonprune.engine.yes_no import yes_probability
from reasonprune.judges import PairJudge
from reasonprune.judges.build import build_judge
from reasonprune.judges.llm import LlmJudge
from reasonprune.judges.probe import ProbeJudge
from reasonprune.metrics import METRICS
from reasonprune.parallel.driver import Driver, Outcome
from reasonprune.parallel.policies import build
from reasonprune.policy_options import BestOfNOptions, DeepPruneOptions, ParallelProbeOptions, PolicyOptions
from reasonprune.speculative.wish import GREEDY_BELOW, KEY, Wish

logger = logging.getLogger(__name__)


class RaceClient:
    """Wraps an `EngineClient`; every attribute but `generate` is the wrapped client's."""

    def __init__(self, inner: Any, programs: Programs | None = None) -> None:
        self._inner = inner
        self._programs = programs
        self._checker = MathChecker()
        parallel = inner.vllm_config.parallel_config
        self._seeds_are_safe = (
            inner.vllm_config.device_config.device_type != "cpu" or parallel.worker_cls == SEED_WORKER
        )
        self._no_speculation = no_speculation(inner.vllm_config)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def generate(
        self, prompt: Any, sampling_params: SamplingParams, request_id: str, **options: Any
    ) -> AsyncIterator[RequestOutput]:
        """As `EngineClient.generate`; a race where the current request asks for parallel traces."""
        sampling_params = without_program(self._without_unsafe_seed(sampling_params))
        context = current_request.get()
        if context is None:
            return self._inner.generate(prompt, sampling_params, request_id, **options)
        return self._answer(context, prompt, sampling_params, request_id, options)

    def _without_unsafe_seed(self, params: SamplingParams) -> SamplingParams:
        """A seeded request whose prefill is split kills vLLM's CPU engine unless our worker runs it."""
        if self._seeds_are_safe or getattr(params, "seed", None) is None:
            return params
        if context := current_request.get():
            context.account.notes["seed"] = (
                f"dropped: not safe on this CPU worker; start with --worker-cls {SEED_WORKER}"
            )
        logger.warning("A request's seed was dropped: it can end vLLM's CPU engine. Use --worker-cls %s.", SEED_WORKER)
        params = params.clone()
        params.seed = None
        return params

    async def _answer(
        self, context: RequestContext, prompt: Any, params: SamplingParams, request_id: str, options: dict[str, Any]
    ) -> AsyncIterator[RequestOutput]:
        wanted = context.options.speculative
        if wanted is not None and self._no_speculation is None:
            params = params.clone()
            layers = context.draft.layers if context.draft is not None else ()
            wish = Wish("rasd" if wanted.enabled else "off", wanted.tokens, layers)
            params.extra_args = {**(params.extra_args or {}), KEY: wish.as_argument()}
        async for output in self._answer_plainly_or_by_race(context, prompt, params, request_id, options):
            yield output
        if wanted is not None and wanted.enabled:
            await self._book_speculation(context, request_id, params)

    async def _book_speculation(self, context: RequestContext, request_id: str, params: SamplingParams) -> None:
        reason = self._no_speculation
        on_cpu = self._inner.vllm_config.device_config.device_type == "cpu"
        if reason is None and on_cpu and params.temperature >= GREEDY_BELOW:
            reason = "vLLM's CPU engine does not verify drafts of sampled requests soundly; set temperature to 0"
        if reason is None:
            counts, *_ = await self._inner.collective_rpc("take_acceptance", args=(request_id,))
            if counts is not None and counts["steps"]:
                context.account.record_speculation(counts)
                return
            reason = "the answer took no step after the prefill"
            if counts is None:
                reason = "this drafter needs --no-async-scheduling to be fused with retrieval"
        context.account.skip("speculative", reason)

    async def _answer_plainly_or_by_race(
        self, context: RequestContext, prompt: Any, params: SamplingParams, request_id: str, options: dict[str, Any]
    ) -> AsyncIterator[RequestOutput]:
        account, parallel = context.account, context.options.parallel
        engines = self._engines(context, prompt)
        yielded = False
        if parallel is not None:
            reason = _unsuitable(parallel, prompt, params)
            if reason is None:
                try:
                    async for output in self._race(context, parallel, prompt, params, request_id, options, engines):
                        yielded = True
                        yield output
                    return
                except (EngineDeadError, VLLMClientError):
                    raise
                except Exception as error:
                    if yielded:
                        raise  # half an answer is out already; vLLM ends the stream with an error
                    logger.exception("Parallel traces failed; the request is answered as plain vLLM would.")
                    METRICS.failures.labels("parallel").inc()
                    reason = f"failed ({type(error).__name__}: {error}); answered with one plain trace"
            account.parallel = None
            account.skip("parallel", reason)
        kept = Keeper(context.on_answer)
        async for output in engines[0].generate(prompt, kept.asking(params), request_id, **options):
            kept.add(output, params)
            tokens = sum(len(completion.token_ids) for completion in output.outputs)
            account.returned = tokens + (account.returned if params.output_kind == RequestOutputKind.DELTA else 0)
            account.generated = account.lost + account.returned
            yield output
        await kept.hand_over()

    def _engines(self, context: RequestContext, prompt: Any) -> list[Any]:
        """The engine of each trace, in turn: the plain one, or one that runs a layer program."""
        choice, account = context.depth, context.account
        if choice is None or self._programs is None:
            return [self._inner]
        with account.overhead():
            if not (isinstance(prompt, dict) and prompt.get("type") == "token"):
                account.skip("depth", "layer programs need token ids, which this prompt (embeddings) does not have")
                return [self._inner]
            layers = self._programs.support.layers
            try:
                programs, reason = self._programs.routed(choice, prompt["prompt_token_ids"])
            except Exception as error:
                logger.exception("The router failed; the request runs all layers.")
                METRICS.failures.labels("depth").inc()
                account.skip("depth", f"failed ({type(error).__name__}: {error}); the request ran all layers")
                return [self._inner]
            if reason is not None and all(program.is_full(layers) for program in programs):
                account.skip("depth", reason)  # the router saw nothing to save
                return [self._inner]
            account.record_depth(programs, layers, reason)
            return [self._inner if p.is_full(layers) else ProgrammedEngine(self._inner, p) for p in programs]

    async def _race(
        self,
        context: RequestContext,
        parallel: PolicyOptions,
        prompt: Any,
        params: SamplingParams,
        request_id: str,
        options: dict[str, Any],
        engines: Sequence[Any],
    ) -> AsyncIterator[RequestOutput]:
        account, choices = context.account, params.n
        with account.overhead():
            if parallel.temperature is not None:
                params = params.clone()
                params.temperature = parallel.temperature
            if params.seed is not None:
                account.notes["seed"] = f"trace i is sampled with seed {params.seed} + i"
            parallel = heated(parallel, params.temperature)
            policy = build(parallel)
            request = self._race_request(parallel, prompt, params, request_id, options, engines)
            judge = judge_of(parallel, self._inner, request)
            evaluator = evaluator_of(parallel, self._inner, request, *await prepare(parallel, self._inner))
            race = LiveRace(self._inner, request, policy.signals, AnswerClasses(self._checker), judge, evaluator)
        try:
            outcome = await Driver(policy, race, choices).run()
            if outcome.failure:
                METRICS.failures.labels(parallel.policy).inc()
                account.skip(
                    "parallel", f"the policy {parallel.policy} failed ({outcome.failure}); answered with one trace"
                )
            if params.output_kind == RequestOutputKind.DELTA:
                async for output in deltas(race, outcome, request_id):
                    yield output
                await self._book(context, parallel, outcome, race)
            else:
                final = await merged(deltas(race, outcome, request_id))
                await self._book(context, parallel, outcome, race)
                yield final
        except Exception:
            account.lost = race.total_tokens
            raise
        finally:
            await race.close()

    async def _book(self, context: RequestContext, parallel: PolicyOptions, outcome: Outcome, race: LiveRace) -> None:
        with context.account.overhead():
            await race.settled()
            for trace in outcome.kept:
                if outcome.traces[trace].state == "running":
                    outcome.traces[trace].state = "finished"
            context.account.overhead_ms += outcome.policy_ms + race.answers_ms
            tokens = {trace: race.tokens(trace) for trace in outcome.traces}
            context.account.record_parallel(parallel.policy, parallel.n, outcome, tokens, race.probe_tokens)
            if isinstance(parallel, DeepPruneOptions):
                context.account.record_judge(parallel.judge, race.judging)
            if isinstance(parallel, BestOfNOptions):
                context.account.record_self_eval(parallel.self_eval, race.self_eval)
            METRICS.record(context.account)

    def _race_request(
        self,
        parallel: PolicyOptions,
        prompt: Any,
        params: SamplingParams,
        request_id: str,
        options: dict[str, Any],
        engines: Sequence[Any],
    ) -> RaceRequest:
        return RaceRequest(
            prompt=prompt,
            params=params,
            request_id=request_id,
            generate_options=options,
            answer=parallel.answer,
            streaming=params.output_kind == RequestOutputKind.DELTA,
            engines=engines,
            **forcing(parallel, self._inner, prompt),
        )


def no_speculation(vllm_config: Any) -> str | None:
    """Why requests have no say in speculation on this server, None where they have."""
    if vllm_config.speculative_config is None:
        return "this server runs no speculation; start it with --reasonprune.server.draft_tokens 12"
    if vllm_config.parallel_config.worker_cls not in OURS:
        return f"vLLM's own worker cannot tell requests apart; start with --worker-cls {SEED_WORKER} or {GPU_WORKER}"
    return None


def forcing(parallel: PolicyOptions, engine: Any, prompt: Any) -> dict[str, Any]:
    """What a race needs beside prompt and sampling where the policy forces answers, or asks a judge or the model."""
    if isinstance(parallel, BestOfNOptions):
        return {"self_eval_ms": parallel.self_eval_ms, **({"mark": marked} if parallel.self_eval == "head" else {})}
    if not isinstance(parallel, (ParallelProbeOptions, DeepPruneOptions)):
        return {}
    tokenizer = engine.get_tokenizer()
    needs: dict[str, Any] = {"prober": Prober.of(tokenizer, parallel.probe_tokens)}
    if isinstance(parallel, DeepPruneOptions):
        needs["judge_ms"] = parallel.judge_ms
        if parallel.judge == "llm":
            needs["question"] = tokenizer.decode(prompt["prompt_token_ids"], skip_special_tokens=True)
    return needs


def heated(parallel: PolicyOptions, temperature: float) -> PolicyOptions:
    """best_of_n anneals up to a temperature that it must know: the request's own where its options name none."""
    if isinstance(parallel, BestOfNOptions) and parallel.temperature is None and temperature > 0:
        return parallel.model_copy(update={"temperature": temperature})
    return parallel


def judge_of(parallel: PolicyOptions, engine: Any, request: RaceRequest) -> Callable[[LiveRace], PairJudge] | None:
    """Makes the judge of a race, None where the policy asks none."""
    if not isinstance(parallel, DeepPruneOptions):
        return None
    numbers = count()

    async def score(text: str) -> tuple[float, int]:
        name = f"{request.request_id}-llm-judge{next(numbers)}"
        return await yes_probability(engine, engine.get_tokenizer(), text, name)

    return lambda race: build_judge(parallel, ProbeJudge(race.force), LlmJudge(score))


def _unsuitable(parallel: PolicyOptions, prompt: Any, params: SamplingParams) -> str | None:
    """Why this request cannot be raced, None where it can."""
    if params.temperature < 1e-5 and parallel.temperature is None and parallel.n > 1:
        return "temperature is 0, so all traces would be equal; set temperature or parallel.temperature above 0"
    if params.prompt_logprobs is not None:
        return "prompt_logprobs would be computed once for every trace; ask for them without parallel traces"
    forces = (isinstance(parallel, DeepPruneOptions) and parallel.judge in ("probe", "llm")) or (
        isinstance(parallel, BestOfNOptions) and parallel.self_eval != "head"
    )
    closes = isinstance(parallel, ParallelProbeOptions)
    if (closes or forces) and not (isinstance(prompt, dict) and prompt.get("type") == "token"):
        return f"{parallel.policy} works on token ids here, which this prompt (embeddings, images) does not have"
    if closes and (params.logprobs is not None or params.structured_outputs is not None):
        return "parallel_probe may close a trace by force, where logprobs and structured output do not hold"
    return None
