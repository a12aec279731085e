import pytest
from pydantic import ValidationError

from reasonprune.docs import settings_table
from reasonprune.errors import RequestError
from reasonprune.options import EFFORTS, Options
from reasonprune.policy_options import (
    DEFAULT_POLICY,
    POLICY_OPTIONS,
    AdaptiveConsistencyOptions,
    ConsensusOptions,
    DeepConfOptions,
    DeepPruneOptions,
    EscOptions,
    SelfConsistencyOptions,
)
from reasonprune.settings import validate


@pytest.mark.parametrize("policy", sorted(POLICY_OPTIONS))
def test_a_policy_is_chosen_by_name(policy):
    parallel = Options.model_validate({"parallel": {"policy": policy, "n": 3}}).parallel
    assert type(parallel) is POLICY_OPTIONS[policy]
    assert (parallel.policy, parallel.n) == (policy, 3)


def test_the_default_policy():
    assert Options.model_validate({"parallel": {}}).parallel == POLICY_OPTIONS[DEFAULT_POLICY]()


def test_options_are_taken_as_they_are():
    assert Options(parallel=EscOptions(n=3)).parallel == EscOptions(n=3)


def test_efforts_are_options_and_grow():
    options = {effort: Options.model_validate(values) for effort, values in EFFORTS.items()}
    assert options.pop("off").parallel is None
    assert options["medium"].parallel == ConsensusOptions()
    sizes = [options[effort].parallel.n for effort in ("low", "medium", "high")]
    assert sizes == sorted(set(sizes))


def test_sections_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        ConsensusOptions().n = 3


@pytest.mark.parametrize(
    ("options", "most"),
    [
        (SelfConsistencyOptions(n=9), 9),
        (AdaptiveConsistencyOptions(n=9), 1),
        (EscOptions(n=9, window=5), 5),
        (EscOptions(n=3, window=5), 3),
        (DeepConfOptions(n=64, warmup=16), 48),
        (DeepConfOptions(n=20, warmup=16), 16),
        (DeepConfOptions(n=8, warmup=16), 8),
        (ConsensusOptions(n=16), 8),
        (ConsensusOptions(n=64), 32),
        (ConsensusOptions(n=16, start=12), 12),
        (ConsensusOptions(n=4, start=12), 4),
        (DeepPruneOptions(n=12), 6),
        (DeepPruneOptions(n=64), 32),
        (DeepPruneOptions(n=16, start=12), 12),
        (DeepPruneOptions(n=4), 4),
        (DeepPruneOptions(n=64, when="prefix"), 64),
        (DeepPruneOptions(n=64, when="prefix", start=12), 12),
        (DeepPruneOptions(n=4, when="prefix", start=12), 4),
    ],
)
def test_most_traces_at_once(options, most):
    assert options.most_at_once == most


def test_every_setting_is_documented():
    table = settings_table()
    for policy, options in POLICY_OPTIONS.items():
        for name in options.model_fields.keys() - {"policy", "n", "temperature", "answer"}:
            assert f"| `parallel.{name}` ({policy}) |" in table
    for name in ("effort", "parallel.n", "presets", "server.max_n"):
        assert f"| `{name}` |" in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vote": "largest"}, "vote only with when = prefix, and when is finish"),
        ({"when": "prefix", "every": 5, "quorum": 0.5}, "every, quorum only with when = finish, and when is prefix"),
    ],
)
def test_deepprune_refuses_what_would_have_no_effect(options, message):
    with pytest.raises(RequestError) as refused:
        validate(Options, {"parallel": {"policy": "deepprune", **options}}, "reasonprune")
    assert refused.value.message == f"reasonprune.parallel: {message}."


def test_settings_are_read_back_as_they_were_written():
    for options in (DeepPruneOptions(), DeepPruneOptions(when="prefix", prefix=7), DeepPruneOptions(judge="cosine")):
        assert DeepPruneOptions.model_validate(options.model_dump()) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"judge_model": "minilm"}, "judge_model only with judge = encoder or cosine, and judge is probe"),
        ({"judge": "llm", "probe_tokens": 9}, "probe_tokens only with judge = probe, and judge is llm"),
    ],
)
def test_settings_of_another_judge_are_refused(options, message):
    with pytest.raises(RequestError) as refused:
        validate(Options, {"parallel": {"policy": "deepprune", **options}}, "reasonprune")
    assert refused.value.message == f"reasonprune.parallel: {message}."
