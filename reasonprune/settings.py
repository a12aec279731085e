"""From layers of settings to the options of one request: body > preset of `model@preset` > server default.

Within the server default: command line > environment > TOML file. A layer's `effort` replaces everything below it; its
sections are laid over what is left, key by key, or as a whole where they name another policy.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from reasonprune.errors import RequestError, UnknownModelError
from reasonprune.options import EFFORTS, TECHNIQUES, Options, ServerOptions, Settings, StoreOptions
from reasonprune.policy_options import DEFAULT_POLICY, POLICY_OPTIONS, PolicyOptions

ENV_PREFIX = "REASONPRUNE__"
FLAG_PREFIX = "--reasonprune."
FLAGS_VARIABLE = "REASONPRUNE_FLAGS"  # hands flags on to the server process as JSON; ranks as flags do


def overlay(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` laid over `lower`; both as JSON-like mappings that hold only what was set, and that may be wrong."""
    effort = upper.get("effort")
    merged = dict(lower)
    if isinstance(effort, str) and effort in EFFORTS:
        # A request's settings are replaced, not the server's presets and limits.
        merged = {key: value for key, value in lower.items() if key not in Options.model_fields} | EFFORTS[effort]
    for key, value in upper.items():
        below = merged.get(key)
        if not isinstance(value, Mapping):
            merged[key] = value
        elif key == "presets":
            merged[key] = _presets(below if isinstance(below, Mapping) else {}, value)
        elif isinstance(below, Mapping) and not (key == "parallel" and _another_policy(below, value)):
            merged[key] = {**(_without_idle(below, value) if key == "parallel" else below), **value}
        else:
            merged[key] = dict(value)
    return merged


def _presets(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    presets = dict(lower)
    for name, options in upper.items():
        below = presets.get(name)
        presets[name] = (
            overlay(below if isinstance(below, Mapping) else {}, options) if isinstance(options, Mapping) else options
        )
    return presets


def _without_idle(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`lower` without what `upper` leaves without effect: nobody is to blame for what another layer has set."""
    kept = dict(lower)
    options = POLICY_OPTIONS.get(str(lower.get("policy", DEFAULT_POLICY)), PolicyOptions)
    for setting, (on, values) in options.needs.items():
        if on in upper and setting not in upper and upper[on] not in values:
            kept.pop(setting, None)
    return kept


def _another_policy(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> bool:
    return "policy" in upper and upper["policy"] != lower.get("policy", DEFAULT_POLICY)


def explicit(options: Options) -> dict[str, Any]:
    """What was set in `options`, as `overlay` takes it."""
    return options.model_dump(exclude_unset=True, include=set(Options.model_fields))


def resolve(settings: Settings, preset: str | None = None, body: Any = None) -> Options:
    """The options of one request.

    Raises:
        UnknownModelError: no such preset.
        RequestError: an unknown key, a wrong type or an impossible value; names the field and the remedy.
    """
    merged = overlay({}, explicit(settings))
    if preset is not None:
        if preset not in settings.presets:
            known = ", ".join(sorted(settings.presets)) or "none"
            raise UnknownModelError(f"The preset '{preset}' does not exist. Presets of this server: {known}.", "model")
        merged = overlay(merged, explicit(settings.presets[preset]))
    if body is not None:
        if not isinstance(body, Mapping):
            raise RequestError('reasonprune must be an object, such as {"effort": "medium"}.', "reasonprune")
        _refuse_paths(body)
        merged = overlay(merged, body)
    options: Options = validate(Options, merged, "reasonprune")
    if options.parallel and options.parallel.n > settings.server.max_n:
        raise RequestError(
            f"reasonprune.parallel.n is {options.parallel.n}; this server allows at most {settings.server.max_n}"
            " (server.max_n). Ask for fewer traces.",
            "reasonprune.parallel.n",
        )
    return options


def _refuse_paths(body: Mapping[str, Any]) -> None:
    """A client must not make the server open a folder or fetch a model of the client's choice."""
    parallel = body.get("parallel")
    for setting in ("judge_model", "self_eval_model"):
        if isinstance(parallel, Mapping) and setting in parallel:
            raise RequestError(
                f"reasonprune.parallel.{setting} names a file of the server, so only the server's configuration may"
                " set it: as a default or in a preset, which a request chooses by `model@preset`.",
                f"reasonprune.parallel.{setting}",
            )


def validate(model: type[BaseModel], value: Any, root: str) -> Any:
    """`value` as `model`, or a RequestError that names the first wrong field below `root`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _as_request_error(error, model, root) from None


def _as_request_error(error: ValidationError, model: type[BaseModel], root: str) -> RequestError:
    first = error.errors()[0]
    given = first["input"]
    parts = [root, *map(str, first["loc"])]
    section, policy = _section(model, parts)
    path, above = ".".join(parts), ".".join(parts[:-1])
    if first["type"] == "extra_forbidden":
        known = sorted(section.model_fields)
        where = f"the policy '{policy}'" if policy else above
        hint = _near(parts[-1], known)
        return RequestError(f"{path} is not known.{hint} Keys of {where}: {', '.join(known)}.", path)
    if first["type"].startswith("union_tag"):
        if not isinstance(given, Mapping):
            example = '{"policy": "consensus", "n": 8}'
            return RequestError(f"{path} must be an object, such as {example}, but it is {_shown(given)}.", path)
        path, named, known = f"{path}.policy", given.get("policy"), sorted(POLICY_OPTIONS)
        hint = _near(str(named), known)
        return RequestError(f"{path} is {_shown(named)}, not a policy.{hint} Policies: {', '.join(known)}.", path)
    if first["type"] == "value_error":  # settings that do not go together; the message names them
        return RequestError(f"{path}: {first['ctx']['error']}.", path)
    return RequestError(f"{path}: {first['msg']}, but it is {_shown(given)}.", path)


def _section(model: type[BaseModel], parts: list[str]) -> tuple[type[BaseModel], str | None]:
    """The section that holds the field at `parts`, and its policy, whose tag, not written by anyone, is taken out."""
    start = 3 if parts[1:2] == ["presets"] else 1
    if parts[start : start + 1] == ["parallel"] and len(parts) > start + 1:
        policy = parts.pop(start + 1)
        return POLICY_OPTIONS[policy], policy
    if len(parts) > start + 1 and parts[start] in TECHNIQUES:
        return TECHNIQUES[parts[start]], None
    if parts[1:2] == ["server"]:
        return ServerOptions, None
    if parts[1:2] == ["stores"] and len(parts) > 3:
        return StoreOptions, None
    return (Options if start == 3 else model), None


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def scalar(text: str) -> Any:
    """A word of the environment or command line as JSON where it is JSON, else as a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(target: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for depth, key in enumerate(path[:-1], start=1):
        inner = target.setdefault(key, {})
        if not isinstance(inner, dict):
            section = ".".join(path[:depth])
            raise RequestError(f"{'.'.join(path)} is set, but {section} is {_shown(inner)}, not a section.", section)
        target = inner
    target[path[-1]] = value


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`REASONPRUNE__PARALLEL__N=8` as `{"parallel": {"n": 8}}`."""
    found: dict[str, Any] = {}
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX):
            _put(found, name.removeprefix(ENV_PREFIX).lower().split("__"), scalar(environ[name]))
    return found


def from_flags(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """`--reasonprune.parallel.n 8` (or `=8`) as settings, and the arguments that are not ours."""
    found: dict[str, Any] = {}
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith(FLAG_PREFIX):
            rest.append(argument)
            continue
        name, equals, value = argument.partition("=")
        if not equals:
            value = next(remaining, "--")
            if value.startswith("--"):
                raise RequestError(f"{name} needs a value.", name)
        _put(found, name.removeprefix(FLAG_PREFIX).replace("-", "_").split("."), scalar(value))
    return found, rest


def from_toml(path: Path) -> dict[str, Any]:
    """Raises RequestError where the file cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"The configuration {path} cannot be read: {error.strerror}.", str(path)) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"The configuration {path} is not valid TOML: {error}.", str(path)) from None


def load(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The server's settings from all three places; raises RequestError naming the wrong field."""
    merged: dict[str, Any] = {}
    handed_on = json.loads(environ.get(FLAGS_VARIABLE, "{}"))
    for layer in (from_toml(config) if config else {}, from_environment(environ), handed_on, flags):
        merged = overlay(merged, layer)
    settings: Settings = validate(Settings, merged, "settings")
    for preset in (None, *settings.presets):
        where = f"settings.presets.{preset}" if preset is not None else "settings"
        try:
            resolve(settings, preset)  # as a request will: a preset may not fit the server's default or its limits
        except RequestError as error:
            raise RequestError(f"{where}: {error.message}", where) from None
    return settings
