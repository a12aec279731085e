import pytest

from reasonprune.api.request import prepare, refuse_elsewhere
from reasonprune.depth import LayerProgram
from reasonprune.depth.choice import Choice, Programs
from reasonprune.depth.support import DepthSupport
from reasonprune.errors import RequestError, UnknownModelError, UnsupportedError
from reasonprune.options import Options, Settings

SERVED = ["demo", "org/model", "odd@name"]
DEFAULT = {"parallel": {"n": 4}}


def settings(**values) -> Settings:
    return Settings.model_validate(values)


@pytest.mark.parametrize("server", [{}, {"effort": "off"}, {"presets": {"fast": {"effort": "low"}}}])
@pytest.mark.parametrize("model", ["demo", "odd@name", "unknown", "unknown@fast", "demo@", None, 3])
def test_nothing_asked_for_is_nothing_prepared(server, model):
    if model == "demo@":
        with pytest.raises(UnknownModelError):  # a preset without a name
            prepare({"model": model}, settings(**server), SERVED)
    else:
        assert prepare({"model": model, "messages": []}, settings(**server), SERVED) is None


def test_the_field_is_taken_out_and_the_rest_left_alone():
    body = {"model": "demo", "messages": [1], "vendor": {"x": 1}, "reasonprune": {"effort": "low"}}
    prepared = prepare(body, settings(), SERVED)
    assert prepared.body == {"model": "demo", "messages": [1], "vendor": {"x": 1}}
    assert prepared.context.options.parallel.n == 4
    assert "reasonprune" in body


def test_an_empty_field_asks_for_the_account_alone():
    for field in ({}, None):
        prepared = prepare({"model": "demo", "reasonprune": field}, settings(), SERVED)
        assert prepared.context.options == Options()


def test_the_default_of_the_server_applies_unasked():
    assert prepare({"model": "demo"}, settings(**DEFAULT), SERVED).context.options.parallel.n == 4
    assert prepare({"model": "demo"}, settings(effort="low"), SERVED).context.options.parallel.n == 4


@pytest.mark.parametrize("model", ["demo", "org/model", "odd@name"])
def test_a_preset_is_chosen_behind_the_model(model):
    prepared = prepare({"model": f"{model}@fast"}, settings(presets={"fast": DEFAULT}), SERVED)
    assert prepared.body == {"model": model}
    assert prepared.context.options.parallel.n == 4


def test_an_unknown_preset():
    with pytest.raises(UnknownModelError, match="The preset 'slow' does not exist") as caught:
        prepare({"model": "demo@slow"}, settings(presets={"fast": DEFAULT}), SERVED)
    assert caught.value.param == "model"


CONFLICTS = [
    ({"n": 5}, "n", "n is 5, but reasonprune.parallel.n allows 4 traces"),
    ({"use_beam_search": True}, "use_beam_search", "drop one of them"),
    ({"prompt": ["a", "b"]}, "prompt", "prompt holds 2 prompts"),
    ({"prompt": [[1], [2], [3]]}, "prompt", "prompt holds 3 prompts"),
]


@pytest.mark.parametrize(("fields", "param", "message"), CONFLICTS)
def test_what_cannot_be_combined_is_refused_where_it_was_asked_for(fields, param, message):
    with pytest.raises(RequestError, match=message) as caught:
        prepare({"model": "demo", **fields, "reasonprune": DEFAULT}, settings(), SERVED)
    assert caught.value.param == param


@pytest.mark.parametrize(("fields", "param", "message"), CONFLICTS)
def test_the_default_of_the_server_gives_way(fields, param, message):
    prepared = prepare({"model": "demo", **fields}, settings(**DEFAULT), SERVED)
    assert prepared.body == {"model": "demo", **fields}
    assert prepared.context.options.parallel is None
    (skipped,) = prepared.context.account.not_applied
    assert skipped["technique"] == "parallel"
    assert message in skipped["reason"]


@pytest.mark.parametrize(
    "fields",
    [{"n": 4}, {"n": None}, {"n": "5"}, {"prompt": "a"}, {"prompt": ["a"]}, {"prompt": [1, 2]}, {"prompt": [[1, 2]]}],
)
def test_what_can_be_combined(fields):
    prepared = prepare({"model": "demo", **fields, "reasonprune": DEFAULT}, settings(), SERVED)
    assert prepared.context.options.parallel.n == 4


def test_other_routes_are_refused_by_name():
    error = refuse_elsewhere("/v1/embeddings")
    assert isinstance(error, UnsupportedError)
    assert error.param == "reasonprune"
    assert "not supported on /v1/embeddings; use /v1/chat/completions and /v1/completions" in error.message


PROGRAMS = Programs(DepthSupport(6, 8))
LEAN = {"depth": {"program": "0-3,5"}}


def test_a_layer_program_is_chosen():
    prepared = prepare({"model": "demo", "reasonprune": LEAN}, settings(), SERVED, PROGRAMS)
    assert prepared.context.depth == Choice((LayerProgram.parse("0-3,5"),))
    assert prepared.context.account.not_applied == []


def test_a_program_that_does_not_fit_the_model_is_refused():
    with pytest.raises(RequestError, match="the model has 6 layers") as caught:
        prepare({"model": "demo", "reasonprune": {"depth": {"program": "0-29"}}}, settings(), SERVED, PROGRAMS)
    assert caught.value.param == "reasonprune.depth.program"


@pytest.mark.parametrize(
    ("programs", "field", "reason"),
    [
        (None, LEAN, "no engine of its own"),
        (Programs(DepthSupport(6, 6, "the architecture Foo is not supported")), LEAN, "Foo is not supported"),
        (PROGRAMS, {"depth": {}}, "needs a router"),
    ],
)
def test_layers_that_cannot_be_chosen_here_are_told(programs, field, reason):
    context = prepare({"model": "demo", "reasonprune": field}, settings(), SERVED, programs).context
    assert context.depth is None
    assert [entry["technique"] for entry in context.account.not_applied] == ["depth"]
    assert reason in context.account.not_applied[0]["reason"]


DRAFT = {"speculative": {"layers": "0-3,5"}}


def test_layers_that_draft_are_chosen():
    context = prepare({"model": "demo", "reasonprune": DRAFT}, settings(), SERVED, PROGRAMS).context
    assert context.draft == LayerProgram.parse("0-3,5")
    off = {"speculative": {"layers": "0-3,5", "enabled": False}}
    assert prepare({"model": "demo", "reasonprune": off}, settings(), SERVED, PROGRAMS).context.draft is None


def test_layers_that_cannot_draft_here_are_told():
    elsewhere = Programs(DepthSupport(6, 6, no_draft="this server drafts by the method eagle3"))
    context = prepare({"model": "demo", "reasonprune": DRAFT}, settings(), SERVED, elsewhere).context
    assert context.draft is None
    assert "layers 0-3,5 do not draft: this server drafts by" in context.account.not_applied[0]["reason"]


def test_a_server_may_choose_layers_for_all_requests():
    assert prepare({"model": "demo"}, settings(**LEAN), SERVED, PROGRAMS).context.depth is not None
