from importlib import metadata
from pathlib import Path

import pytest

from reasonprune import serve
from reasonprune.errors import DatastoreError, ModelError, RequestError
from reasonprune.options import ServerOptions
from reasonprune.serve import CONFIG_VARIABLE, Command, export, export_datastore, parse
from reasonprune.settings import load
from reasonprune.speculative.datastore import Datastore


@pytest.fixture
def plugins(monkeypatch):
    """The plugins of others that are installed, by group."""
    found = {"vllm.general_plugins": ["theirs"]}
    entry = metadata.EntryPoint
    monkeypatch.setattr(
        serve.metadata, "entry_points", lambda group: [entry(name, "x:y", group) for name in found.get(group, [])]
    )
    return found


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["m"], Command("m", None, {}, [])),
        (["m", "--port", "80"], Command("m", None, {}, ["--port", "80"])),
        (["--model", "m"], Command(None, None, {}, ["--model", "m"])),
        (["--reasonprune.effort", "low", "m", "--port=80"], Command("m", None, {"effort": "low"}, ["--port=80"])),
        (["m", "--config", "theirs.yaml"], Command("m", None, {}, ["--config", "theirs.yaml"])),
        (["m", "--config=theirs.yaml"], Command("m", None, {}, ["--config=theirs.yaml"])),
        (["m", "--config"], Command("m", None, {}, ["--config"])),
        ([], Command(None, None, {}, [])),
    ],
)
def test_what_is_ours_is_taken_out(arguments, command):
    assert parse(arguments) == command


@pytest.mark.parametrize("ours", [["--config", "ours.toml"], ["--config=ours.toml"]])
def test_a_toml_configuration_is_ours(ours):
    command = parse(["m", *ours, "--config", "theirs.yaml"])
    assert command.config == Path("ours.toml").resolve()
    assert command.vllm_arguments == ["--config", "theirs.yaml"]


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ([], {}),
        (["--reasonprune.parallel.n", "8", "--reasonprune.parallel.policy=esc"], {}),
        (["--reasonprune.parallel.temperature", "null"], {"REASONPRUNE__PARALLEL__TEMPERATURE": "0.5"}),
        (["--reasonprune.effort", "low"], {"REASONPRUNE__PARALLEL__START": "3"}),
        (["--reasonprune.parallel.policy", "esc"], {"REASONPRUNE__PARALLEL__THRESHOLD": "0.8"}),
        (["--reasonprune.presets.Fast.effort", "low"], {}),
    ],
)
def test_the_server_process_sees_the_settings_that_were_checked(plugins, arguments, environ):
    command = parse(["m", *arguments])
    checked = load(None, environ, command.flags)
    export(command, environ)
    assert load(None, environ, {}) == checked


def test_the_configuration_is_handed_on(plugins, tmp_path):
    environ: dict[str, str] = {}
    export(Command("m", tmp_path / "ours.toml", {}, []), environ)
    assert environ[CONFIG_VARIABLE] == str(tmp_path / "ours.toml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "theirs,reasonprune"),
        ("", "reasonprune"),
        ("other", "other,reasonprune"),
        ("reasonprune,other", "reasonprune,other"),
    ],
)
def test_our_plugin_is_added_to_those_allowed(plugins, before, after):
    environ = {} if before is None else {"VLLM_PLUGINS": before}
    export(Command("m", None, {}, []), environ)
    assert environ["VLLM_PLUGINS"] == after


@pytest.mark.parametrize("arguments", [[], ["-h"], ["m", "--help"]])
def test_help(capsys, arguments):
    serve.serve(arguments)
    assert capsys.readouterr().out.startswith("reasonprune serve MODEL")


def test_wrong_settings_stop_before_anything_is_started(monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: pytest.fail("settings come first"))
    with pytest.raises(RequestError, match=r"settings\.parallel\.n"):
        serve.serve(["m", "--reasonprune.parallel.n", "0"])


def test_a_machine_without_vllm(monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="make setup"):
        serve.serve(["m"])


def test_a_datastore_is_handed_to_the_engine(tmp_path):
    environ = {}
    export_datastore(ServerOptions(), environ)
    assert environ == {}
    Datastore.create(tmp_path / "store", "test", "print", 100)
    export_datastore(ServerOptions(datastore=str(tmp_path / "store"), datastore_grows=True), environ)
    assert environ == {"REASONPRUNE_DATASTORE": str(tmp_path / "store"), "REASONPRUNE_DATASTORE_GROWS": "1"}
    with pytest.raises(DatastoreError, match="not a datastore"):
        export_datastore(ServerOptions(datastore=str(tmp_path)), environ)
