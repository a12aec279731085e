import json
from pathlib import Path

import pytest

from reasonprune.errors import RequestError, UnknownModelError
from reasonprune.options import EFFORTS, Options, Settings
from reasonprune.settings import (
    FLAGS_VARIABLE,
    from_environment,
    from_flags,
    from_toml,
    load,
    overlay,
    resolve,
    scalar,
    validate,
)


@pytest.fixture
def toml(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "reasonprune.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def parallel(options: Options) -> dict:
    assert options.parallel is not None
    return options.parallel.model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    ("lower", "upper", "merged"),
    [
        ({}, {}, {}),
        ({"parallel": {"n": 4}}, {}, {"parallel": {"n": 4}}),
        ({"parallel": {"n": 4}}, {"parallel": {"start": 2}}, {"parallel": {"n": 4, "start": 2}}),
        ({"parallel": {"n": 4}}, {"parallel": {"n": 8}}, {"parallel": {"n": 8}}),
        # The same policy, said or not.
        (
            {"parallel": {"policy": "esc", "n": 4}},
            {"parallel": {"policy": "esc", "window": 3}},
            {"parallel": {"policy": "esc", "n": 4, "window": 3}},
        ),
        (
            {"parallel": {"policy": "esc", "n": 4}},
            {"parallel": {"window": 3}},
            {"parallel": {"policy": "esc", "n": 4, "window": 3}},
        ),
        ({"parallel": {"n": 4}}, {"parallel": {"policy": "consensus"}}, {"parallel": {"n": 4, "policy": "consensus"}}),
        # Another policy replaces the section.
        ({"parallel": {"n": 4, "start": 2}}, {"parallel": {"policy": "esc"}}, {"parallel": {"policy": "esc"}}),
        ({"parallel": {"policy": "esc"}}, {"parallel": {"policy": "consensus"}}, {"parallel": {"policy": "consensus"}}),
        # An effort replaces everything below; what its own layer says is laid over it.
        ({"parallel": {"policy": "esc", "n": 9}}, {"effort": "off"}, {"effort": "off"}),
        (
            {"effort": "high", "parallel": {"start": 2}},
            {"effort": "low"},
            {"effort": "low", "parallel": {"policy": "consensus", "n": 4}},
        ),
        (
            {"parallel": {"start": 2}},
            {"effort": "low", "parallel": {"n": 6}},
            {"effort": "low", "parallel": {"policy": "consensus", "n": 6}},
        ),
        # ... but no presets and no limits of the server.
        (
            {"presets": {"a": {}}, "server": {"max_n": 8}, "parallel": {"n": 4}},
            {"effort": "off"},
            {"presets": {"a": {}}, "server": {"max_n": 8}, "effort": "off"},
        ),
        (
            {"presets": {"a": {"parallel": {"n": 4}}, "b": {}}, "server": {"max_n": 8, "keep_alive_s": 1.0}},
            {"presets": {"a": {"parallel": {"start": 2}}}, "server": {"max_n": 9}},
            {
                "presets": {"a": {"parallel": {"n": 4, "start": 2}}, "b": {}},
                "server": {"max_n": 9, "keep_alive_s": 1.0},
            },
        ),
        # What is wrong stays, to be named later.
        ({"parallel": {"n": 4}}, {"parallel": 3, "effort": ["low"]}, {"parallel": 3, "effort": ["low"]}),
        (
            {"parallel": 3, "presets": 4},
            {"parallel": {"n": 4}, "presets": {"a": 5}},
            {"parallel": {"n": 4}, "presets": {"a": 5}},
        ),
    ],
)
def test_overlay(lower, upper, merged):
    assert overlay(lower, upper) == merged


def test_overlay_leaves_its_arguments_alone():
    overlay({}, {"effort": "low", "parallel": {"n": 6}})
    assert EFFORTS["low"] == {"parallel": {"policy": "consensus", "n": 4}}


def test_flags_outrank_environment_outranks_toml(toml):
    config = toml("[parallel]\nn = 2\nstart = 2\nthreshold = 0.7\n[server]\nmax_n = 20\n")
    environ = {"REASONPRUNE__PARALLEL__N": "3", "REASONPRUNE__PARALLEL__START": "3", "PATH": "/bin"}
    settings = load(config, environ, {"parallel": {"n": 4}})
    assert parallel(settings) == {"n": 4, "start": 3, "threshold": 0.7}
    assert settings.server.max_n == 20


@pytest.mark.parametrize(
    ("environ", "flags"),
    [
        ({"REASONPRUNE__PARALLEL__START": "3"}, {"effort": "low"}),
        ({"REASONPRUNE__PARALLEL__THRESHOLD": "0.8"}, {"parallel": {"policy": "esc", "window": 3}}),
        ({"REASONPRUNE__EFFORT": "high"}, {"parallel": {"start": 3}}),
    ],
)
def test_flags_rank_the_same_when_handed_on(environ, flags):
    assert load(None, {**environ, FLAGS_VARIABLE: json.dumps(flags)}, {}) == load(None, environ, flags)


def test_a_body_outranks_a_preset_outranks_the_default():
    settings = load(
        None,
        {},
        {"parallel": {"n": 2, "start": 2, "threshold": 0.7}, "presets": {"mine": {"parallel": {"n": 3, "start": 3}}}},
    )
    assert parallel(resolve(settings)) == {"n": 2, "start": 2, "threshold": 0.7}
    assert parallel(resolve(settings, "mine")) == {"n": 3, "start": 3, "threshold": 0.7}
    assert parallel(resolve(settings, "mine", {"parallel": {"n": 4}})) == {"n": 4, "start": 3, "threshold": 0.7}
    assert parallel(resolve(settings, None, {"effort": "low"})) == {"policy": "consensus", "n": 4}
    assert resolve(settings, "mine", {"effort": "off"}).parallel is None


def test_a_body_may_adjust_the_policy_of_the_server():
    settings = load(None, {}, {"parallel": {"policy": "esc", "n": 8}})
    assert parallel(resolve(settings, None, {"parallel": {"window": 3}})) == {"policy": "esc", "n": 8, "window": 3}


def test_nothing_set_is_nothing_done():
    assert resolve(Settings()) == Options()
    assert resolve(Settings(), None, {}) == Options()
    assert resolve(Settings(), None, {"parallel": {}}).parallel.policy == "consensus"


def test_presets_come_from_toml(toml):
    settings = load(toml('[presets.fast]\neffort = "low"\n[presets.deep.parallel]\npolicy = "esc"\nn = 10\n'), {}, {})
    assert resolve(settings, "fast").parallel.n == 4
    assert parallel(resolve(settings, "deep")) == {"policy": "esc", "n": 10}


@pytest.mark.parametrize(("presets", "known"), [({}, "none"), ({"b": {}, "a": {}}, "a, b")])
def test_an_unknown_preset(presets, known):
    with pytest.raises(UnknownModelError, match=f"'fast' does not exist. Presets of this server: {known}") as caught:
        resolve(load(None, {}, {"presets": presets}), "fast")
    assert (caught.value.status, caught.value.param) == (404, "model")


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"parallel": {"n": "8"}}, "parallel.n", ["valid integer", '"8"']),
        ({"parallel": {"n": 0}}, "parallel.n", ["greater than or equal to 1", "it is 0"]),
        ({"parallel": {"n": True}}, "parallel.n", ["valid integer", "it is true"]),
        ({"parallel": {"n": 2.5}}, "parallel.n", ["valid integer", "2.5"]),
        ({"parallel": {"threshold": 2}}, "parallel.threshold", ["less than 1", "it is 2"]),
        ({"parallel": {"policy": "esc", "window": 1}}, "parallel.window", ["greater than or equal to 2"]),
        ({"parallel": {"nn": 8}}, "parallel.nn", ["not known", "'n'", "Keys of the policy 'consensus': answer, n,"]),
        (
            {"parallel": {"policy": "esc", "windov": 3}},
            "parallel.windov",
            ["Did you mean 'window'?", "Keys of the policy 'esc'"],
        ),
        ({"parallel": {"policy": "esc", "threshold": 0.9}}, "parallel.threshold", ["not known", "policy 'esc'"]),
        (
            {"parallel": {"policy": "ecs"}},
            "parallel.policy",
            ['"ecs", not a policy', "Did you mean 'esc'?", "consensus"],
        ),
        ({"parallel": {"policy": 3}}, "parallel.policy", ["is 3, not a policy", "self_consistency"]),
        ({"parallel": "consensus"}, "parallel", ["must be an object", '"consensus"']),
        ({"paralel": {}}, "paralel", ["Did you mean 'parallel'?", "Keys of reasonprune: "]),
        ({"consensus": {}}, "consensus", ["not known", "Keys of reasonprune: "]),
        ({"xyz": 1}, "xyz", ["not known. Keys of reasonprune: "]),
        ({"presets": {}}, "presets", ["not known"]),
        ({"effort": "max"}, "effort", ["'off', 'low', 'medium' or 'high'", '"max"']),
        ({"effort": ["low"]}, "effort", ["low"]),
        ({"parallel": {"n": 65}}, "parallel.n", ["65", "at most 64", "server.max_n"]),
        ({"parallel": {"answer": "x" * 200}}, "parallel.answer", ["xxx..."]),
    ],
)
def test_wrong_bodies(body, param, words):
    with pytest.raises(RequestError) as caught:
        resolve(Settings(), None, body)
    assert caught.value.status == 400
    assert caught.value.param == f"reasonprune.{param}"
    assert caught.value.message.startswith(f"reasonprune.{param}")
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize("body", [3, "low", [], True])
def test_a_body_must_be_an_object(body):
    with pytest.raises(RequestError, match="must be an object") as caught:
        resolve(Settings(), None, body)
    assert caught.value.param == "reasonprune"


@pytest.mark.parametrize(
    ("wrong", "param", "words"),
    [
        ({"server": {"max_m": 8}}, "server.max_m", ["Did you mean 'max_n'?", "Keys of settings.server: keep_alive_s,"]),
        ({"server": {"max_n": 0}}, "server.max_n", ["greater than or equal to 1"]),
        (
            {"presets": {"esc": {"efort": "low"}}},
            "presets.esc.efort",
            ["Did you mean 'effort'?", "settings.presets.esc:"],
        ),
        ({"presets": {"esc": {"parallel": {"m": 1}}}}, "presets.esc.parallel.m", ["Keys of the policy 'consensus'"]),
        ({"presets": {"a": 3}}, "presets.a", ["it is 3"]),
        ({"efort": "low"}, "efort", ["Did you mean 'effort'?", "parallel, presets, server"]),
    ],
)
def test_wrong_settings(wrong, param, words):
    with pytest.raises(RequestError) as caught:
        load(None, {}, wrong)
    assert caught.value.param == f"settings.{param}"
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize(
    ("wrong", "where", "words"),
    [
        ({"parallel": {"n": 9}}, "", "n is 9; this server allows at most 8"),
        ({"effort": "high"}, "", "n is 32; this server allows at most 8"),
        ({"presets": {"deep": {"parallel": {"n": 9}}}}, ".presets.deep", "n is 9; this server allows at most 8"),
        ({"presets": {"deep": {"effort": "high"}}}, ".presets.deep", "n is 32; this server allows at most 8"),
        (
            {"parallel": {"policy": "esc", "n": 8}, "presets": {"safe": {"parallel": {"threshold": 0.95}}}},
            ".presets.safe",
            "threshold is not known. Keys of the policy 'esc'",
        ),
    ],
)
def test_defaults_and_presets_that_no_request_could_use(wrong, where, words):
    with pytest.raises(RequestError) as caught:
        load(None, {}, {**wrong, "server": {"max_n": 8}})
    assert caught.value.param == f"settings{where}"
    assert caught.value.message.startswith(f"settings{where}: ")
    assert words in caught.value.message


def test_a_preset_is_judged_over_the_default():
    layers = {"parallel": {"n": 8}, "presets": {"few": {"parallel": {"start": 2}}}, "server": {"max_n": 8}}
    assert parallel(resolve(load(None, {}, layers), "few")) == {"n": 8, "start": 2}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("8", 8),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("esc", "esc"),
        ('"8"', "8"),
        ('{"n": 8}', {"n": 8}),
        ("", ""),
    ],
)
def test_words_are_json_or_strings(word, value):
    assert scalar(word) == value


def test_environment():
    environ = {
        "REASONPRUNE__EFFORT": "low",
        "REASONPRUNE__PARALLEL": '{"n": 4}',
        "REASONPRUNE__PARALLEL__START": "2",
        "REASONPRUNE__SERVER__MAX_N": "8",
        "REASONPRUNE_CONFIG": "elsewhere",
        "HOME": "/",
    }
    assert from_environment(environ) == {
        "effort": "low",
        "parallel": {"n": 4, "start": 2},
        "server": {"max_n": 8},
    }


def test_a_word_where_a_section_belongs():
    environ = {"REASONPRUNE__PARALLEL": "consensus", "REASONPRUNE__PARALLEL__N": "2"}
    with pytest.raises(RequestError, match=r'parallel\.n is set, but parallel is "consensus", not a section'):
        from_environment(environ)


@pytest.mark.parametrize(
    ("arguments", "flags", "rest"),
    [
        ([], {}, []),
        (["m", "--port", "80"], {}, ["m", "--port", "80"]),
        (["--reasonprune.parallel.n", "8", "m"], {"parallel": {"n": 8}}, ["m"]),
        (["--reasonprune.parallel.n=8", "m"], {"parallel": {"n": 8}}, ["m"]),
        (["--reasonprune.server.max-n=8"], {"server": {"max_n": 8}}, []),
        (["--reasonprune.parallel.n=-1"], {"parallel": {"n": -1}}, []),
        (["--reasonprune.effort", "low", "--reasonprune.effort", "high"], {"effort": "high"}, []),
        (["--reasonprunex", "1"], {}, ["--reasonprunex", "1"]),
    ],
)
def test_flags(arguments, flags, rest):
    assert from_flags(arguments) == (flags, rest)


@pytest.mark.parametrize("rest", [[], ["--port", "80"]])
def test_a_flag_without_its_value(rest):
    with pytest.raises(RequestError, match=r"--reasonprune\.effort needs a value") as caught:
        from_flags(["--reasonprune.effort", *rest])
    assert caught.value.param == "--reasonprune.effort"


@pytest.mark.parametrize("content", [b"n = = 3", b"\xff"])
def test_bad_toml(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"bad\.toml is not valid TOML"):
        from_toml(path)


def test_an_unreadable_file(tmp_path):
    with pytest.raises(RequestError, match=r"none\.toml cannot be read: No such file"):
        load(tmp_path / "none.toml", {}, {})


def test_validate_names_the_root():
    with pytest.raises(RequestError, match=r"options\.parallel\.n"):
        validate(Options, {"parallel": {"n": 0}}, "options")
