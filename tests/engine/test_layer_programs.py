"""Layer programs on a real engine: token by token what transformers gives, alone and mixed, cached and aborted."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; run `make setup`", allow_module_level=True)

from client_requests import idle
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from reasonprune.context import RequestContext, current_request
from reasonprune.depth import LayerProgram
from reasonprune.depth.choice import Choice, Programs
from reasonprune.depth.reference import ReferenceModel
from reasonprune.depth.request import PROGRAM_ARGUMENT, ProgrammedEngine
from reasonprune.depth.router import Route
from reasonprune.depth.support import support_of
from reasonprune.engine.vllm import RaceClient
from reasonprune.models import resolve
from reasonprune.options import Options

PROGRAMS = [LayerProgram.parse(text) for text in ("0-5", "0-1,4-5", "0-2,2,3-5", "0,3-5,1,5", "0-5,2-5")]
TOKENS = 12


@pytest.fixture(scope="session")
def reference() -> ReferenceModel:
    return ReferenceModel(resolve("tiny").path)


@pytest.fixture(scope="session")
def prompts(engine: Any) -> list[list[int]]:
    """From less than a block of KV cache to several."""
    texts = [f"Start with {n}, " + "add 13, " * (9 * n) + "multiply by 2. What do you get?" for n in (0, 1, 3, 5)]
    return [engine.get_tokenizer().encode(text) for text in texts]


def confirmed(reference: ReferenceModel, prompt: list[int], output: Any, program: LayerProgram) -> bool:
    tokens = list(output.outputs[0].token_ids)
    return len(tokens) == TOKENS and reference.greedy(prompt, tokens, program) == tokens


async def greedy(engine: Any, program: LayerProgram, prompt: list[int], name: str, tokens: int = TOKENS) -> Any:
    """The request output of a greedy continuation."""
    params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True, output_kind=RequestOutputKind.FINAL_ONLY)
    runs = engine if program.is_full(6) else ProgrammedEngine(engine, program)
    final = None
    async for output in runs.generate({"type": "token", "prompt_token_ids": prompt}, params, name):
        final = output
    return final


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
async def test_one_program_at_a_time(engine: Any, prompts: Any, reference: Any, program: LayerProgram) -> None:
    names = [f"uniform-{program}-{i}" for i in range(len(prompts))]
    outputs = await asyncio.gather(*(greedy(engine, program, p, n) for p, n in zip(prompts, names, strict=True)))
    for prompt, output in zip(prompts, outputs, strict=True):
        assert confirmed(reference, prompt, output, program)


async def test_many_programs_in_one_batch(engine: Any, prompts: Any, reference: Any) -> None:
    """Every program with every prompt at once: split prefills and decoding steps of all programs share batches."""
    pairs = [(program, i) for i in range(len(prompts)) for program in PROGRAMS]
    outputs = await asyncio.gather(*(greedy(engine, p, prompts[i], f"mixed-{p}-{i}") for p, i in pairs))
    for (program, i), output in zip(pairs, outputs, strict=True):
        assert confirmed(reference, prompts[i], output, program), (str(program), i)


async def test_prefixes_are_shared_within_a_program_only(engine: Any, reference: ReferenceModel) -> None:
    prompt = engine.get_tokenizer().encode("Start with 7, " + "subtract 2, " * 60 + "add 1.")
    assert len(prompt) > 4 * 32, "several blocks of the prefix cache"
    full, skipping = PROGRAMS[0], PROGRAMS[1]
    cached = {}
    for turn, program in enumerate([full, skipping, full, skipping]):
        output = await greedy(engine, program, prompt, f"prefix-{turn}")
        assert confirmed(reference, prompt, output, program)
        cached[turn] = output.num_cached_tokens
    assert (cached[0], cached[1]) == (0, 0), "the first request of a program computes its own keys and values"
    assert min(cached[2], cached[3]) >= 4 * 32


async def test_an_aborted_request_leaves_the_others_as_they_were(engine: Any, prompts: Any, reference: Any) -> None:
    doomed = asyncio.create_task(greedy(engine, PROGRAMS[3], prompts[3], "doomed", tokens=500))
    others = [asyncio.create_task(greedy(engine, p, prompts[2], f"other-{p}")) for p in PROGRAMS]
    await asyncio.sleep(0.05)
    await engine.abort("doomed")
    for program, other in zip(PROGRAMS, others, strict=True):
        assert confirmed(reference, prompts[2], await other, program)
    assert (await doomed).outputs[0].finish_reason == "abort"
    assert await idle(engine)


@pytest.mark.parametrize("smuggled", ["0-99", "nonsense", "0-5,0-5,0-5"])
async def test_a_program_that_was_not_checked_does_not_end_the_engine(
    engine: Any, prompts: Any, reference: Any, smuggled: str
) -> None:
    params = SamplingParams(
        max_tokens=TOKENS,
        temperature=0,
        ignore_eos=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={PROGRAM_ARGUMENT: smuggled},
    )
    prompt = {"type": "token", "prompt_token_ids": prompts[1]}
    outputs = [output async for output in engine.generate(prompt, params, f"smuggled-{smuggled}")]
    assert confirmed(reference, prompts[1], outputs[-1], PROGRAMS[0])


class Routed:
    """A router that always chooses `program`, or fails; keeps the prompts it read."""

    def __init__(self, program: LayerProgram | None, error: Exception | None = None) -> None:
        self.program, self.error = program, error
        self.prompts: list[Any] = []

    def route(self, token_ids: Any) -> Route:
        self.prompts.append(token_ids)
        if self.error:
            raise self.error
        return Route(self.program, 0.9, "right with probability 0.90, says the router")


async def routed(engine: Any, router: Any, prompt: list[int]) -> tuple[Any, Any]:
    client = RaceClient(engine, Programs(support_of(engine.vllm_config), router=router))
    context = RequestContext(Options(), depth=Choice(("auto",)))
    params = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True, output_kind=RequestOutputKind.FINAL_ONLY)
    token = current_request.set(context)
    try:
        sent = {"type": "token", "prompt_token_ids": prompt}
        outputs = [output async for output in client.generate(sent, params, f"routed-{id(context)}")]
    finally:
        current_request.reset(token)
    return outputs[-1], context.account


async def test_auto_runs_what_the_router_chooses(engine: Any, prompts: Any, reference: Any) -> None:
    router = Routed(PROGRAMS[1])
    output, account = await routed(engine, router, prompts[0])
    assert confirmed(reference, prompts[0], output, PROGRAMS[1])
    assert router.prompts == [prompts[0]]
    assert account.depth["programs"] == [{"program": str(PROGRAMS[1]), "layers": 4}]
    assert account.depth["reason"].startswith("right with probability")


async def test_a_router_that_is_unsure_is_told_as_not_applied(engine: Any, prompts: Any, reference: Any) -> None:
    output, account = await routed(engine, Routed(None), prompts[0])
    assert confirmed(reference, prompts[0], output, PROGRAMS[0])
    assert account.applied == []
    assert account.not_applied[0]["technique"] == "depth"
    assert "says the router" in account.not_applied[0]["reason"]


async def test_a_router_that_fails_costs_no_answer(engine: Any, prompts: Any, reference: Any) -> None:
    output, account = await routed(engine, Routed(None, RuntimeError("no weights")), prompts[0])
    assert confirmed(reference, prompts[0], output, PROGRAMS[0])
    assert account.applied == []
    assert "RuntimeError: no weights" in account.not_applied[0]["reason"]
