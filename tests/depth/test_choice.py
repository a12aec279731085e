from __future__ import annotations

import json

import numpy as np
import pytest

from reasonprune.depth import LayerProgram
from reasonprune.depth.choice import Choice, Programs
from reasonprune.depth.router import FEATURES, Router
from reasonprune.depth.support import DepthSupport
from reasonprune.errors import ModelError, RequestError, UnsupportedError
from reasonprune.options import DepthOptions, Options, ServerOptions, Settings

LEAN = LayerProgram.parse("0-3,5")
FULL = LayerProgram.full(6)
SUPPORT = DepthSupport(6, 8)


def always(margin: float = 0.1) -> Router:
    return Router(6, (LEAN,), np.zeros((2, FEATURES), np.float32), margin)


@pytest.fixture
def programs():
    return Programs(SUPPORT, {"lean": LEAN}, always())


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({"program": "0-3,5"}, (LEAN,)),
        ({"program": "lean"}, (LEAN,)),
        ({"program": "full"}, (FULL,)),
        ({}, ("auto",)),
        ({"traces": ["lean", "full", "auto"]}, (LEAN, FULL, "auto")),
    ],
)
def test_choices(programs, asked, chosen):
    assert programs.choose(DepthOptions(**asked), parallel=True) == Choice(chosen)


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"program": "0-9"}, "program", "names layer 9, but the model has 6 layers"),
        ({"program": "0-5,3-5"}, "program", "depth_slots 3"),
        ({"program": "leen"}, "program", "Did you mean 'lean'.*full, auto, lean.*write layers"),
        ({"traces": ["lean", "0-6"]}, "traces", "names layer 6"),
    ],
)
def test_what_cannot_be_chosen(programs, asked, param, words):
    with pytest.raises(RequestError, match=words) as caught:
        programs.choose(DepthOptions(**asked), parallel=True)
    assert caught.value.param == f"reasonprune.depth.{param}"


def test_programs_of_traces_need_traces(programs):
    with pytest.raises(RequestError, match="parallel traces, and this request has none"):
        programs.choose(DepthOptions(traces=["lean"]), parallel=False)


def test_auto_asks_the_router(programs):
    choice = programs.choose(DepthOptions(traces=["auto", "full"]), parallel=True)
    chosen, reason = programs.routed(choice, [1, 2, 3])
    assert chosen == (LEAN, FULL)
    assert "right with probability 0.50" in reason


def test_full_depth_where_the_router_is_unsure():
    unsure = Programs(SUPPORT, {}, always(margin=-0.1))
    chosen, reason = unsure.routed(Choice(("auto",)), [1, 2, 3])
    assert chosen == (FULL,)
    assert reason == "full depth: right with probability 0.50, and 0.50 with fewer layers"


def test_auto_without_a_router_is_told():
    assert "train router" in Programs(SUPPORT).missing(Choice(("auto",)))
    assert Programs(SUPPORT).missing(Choice((LEAN,))) is None


def test_a_server_reads_its_files(tmp_path):
    bank, router = tmp_path / "bank.json", tmp_path / "router.npz"
    bank.write_text(json.dumps({"model": "m", "layers": 6, "programs": {"lean": {"program": "0-3,5"}}}))
    always().save(router)
    programs = Programs.of(SUPPORT, ServerOptions(depth_bank=str(bank), depth_router=str(router)))
    assert programs.bank == {"lean": LEAN}
    assert programs.router.programs == (LEAN,)


def test_files_for_another_model_stop_the_server(tmp_path):
    router = tmp_path / "router.npz"
    always().save(router)
    with pytest.raises(ModelError, match="for a model of 6 layers; this one has 30"):
        Programs.of(DepthSupport(30, 34), ServerOptions(depth_router=str(router)))


@pytest.mark.parametrize(
    ("settings", "param", "words"),
    [
        (Settings(depth=DepthOptions(program="0-9")), "settings.depth", "names layer 9"),
        (Settings(presets={"a": Options(depth=DepthOptions(program="leen"))}), "settings.presets.a.depth", "'lean'"),
        (Settings(speculative={"layers": "0-5"}), "settings.speculative.layers", "a draft leaves layers out"),
    ],
)
def test_a_server_whose_own_settings_cannot_be_followed_does_not_start(programs, settings, param, words):
    with pytest.raises(RequestError, match=words) as caught:
        programs.check(settings)
    assert caught.value.param == param


@pytest.mark.parametrize(("text", "layers"), [("0-3,5", (0, 1, 2, 3, 5)), ("lean", LEAN.layers), ("4", (4,))])
def test_layers_that_draft(programs, text, layers):
    assert programs.draft(text).layers == layers


@pytest.mark.parametrize("text", ["0-5", "full", "auto", "0,0-4", "4,3", "0-9", "leen"])
def test_layers_that_cannot_draft(programs, text):
    with pytest.raises(RequestError) as caught:
        programs.draft(text)
    assert caught.value.param == "reasonprune.speculative.layers"


def test_an_engine_without_layer_programs_refuses_settings_that_ask_for_them(programs):
    elsewhere = Programs(DepthSupport(6, 6, "the architecture Foo is not supported"))
    asked = Settings(depth=DepthOptions(program="0-3"))
    with pytest.raises(UnsupportedError, match=r"settings\.depth: the architecture Foo is not supported"):
        elsewhere.check(asked)
    elsewhere.check(Settings())
    programs.check(asked)
