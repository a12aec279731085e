"""From layers of settings to the options of one request: body > preset of `model@preset` > server default.

Within the server default: command line > environment > TOML file. A layer's `effort` replaces everything below it; its
sections are laid over what is left, key by key, or as a whole where they name another policy.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from reasonprune.errors import RequestError, UnknownModelError
from reasonprune.options import EFFORTS, POLICY_OPTIONS, Options, Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENV_PREFIX = "REASONPRUNE__"
FLAG_PREFIX = "--reasonprune."


def overlay(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` laid over `lower`; both as JSON-like mappings that hold only what was set."""
    effort = upper.get("effort")
    merged = dict(EFFORTS[effort]) if effort in EFFORTS else dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            another_policy = "policy" in value and value["policy"] != below.get("policy", value["policy"])
            merged[key] = dict(value) if another_policy else {**below, **value}
        else:
            merged[key] = value
    return merged


def explicit(options: Options) -> dict[str, Any]:
    """What was set in `options`, as `overlay` takes it."""
    return options.model_dump(exclude_unset=True, include={"effort", "parallel"})


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
        validate(Options, body, "reasonprune")  # on its own first, so that an error names what the client wrote
        merged = overlay(merged, body)
    options = validate(Options, merged, "reasonprune")
    if options.parallel and options.parallel.n > settings.server.max_n:
        raise RequestError(
            f"reasonprune.parallel.n is {options.parallel.n}; this server allows at most {settings.server.max_n}"
            " (server.max_n). Ask for fewer traces.",
            "reasonprune.parallel.n",
        )
    return options


def validate(model: type[BaseModel], value: Any, root: str) -> Any:
    """`value` as `model`, or a RequestError that names the first wrong field below `root`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise as_request_error(error, root) from None


def as_request_error(error: ValidationError, root: str) -> RequestError:
    first = error.errors()[0]
    # pydantic puts the tag of the union's branch into the path; the client did not write it.
    policy = next((part for part in first["loc"] if part in POLICY_OPTIONS), None)
    path = ".".join([root, *(str(part) for part in first["loc"] if part not in POLICY_OPTIONS)])
    if first["type"] == "extra_forbidden":
        known = sorted(POLICY_OPTIONS[str(policy)].model_fields if policy else _keys_at(root))
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        where = f"the policy '{policy}'" if policy else root
        return RequestError(f"{path} is not known.{hint} Keys of {where}: {', '.join(known)}.", path)
    if first["type"].startswith("union_tag"):
        path += ".policy"
        known = sorted(POLICY_OPTIONS)
        return RequestError(f"{path} is not a policy of this server. Policies: {', '.join(known)}.", path)
    message = first["msg"].removeprefix("Value error, ")
    return RequestError(f"{path}: {message}, but it is {_shown(first['input'])}.", path)


def _keys_at(root: str) -> list[str]:
    return list((Options if root == "reasonprune" else Settings).model_fields)


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
    for key in path[:-1]:
        inner = target.setdefault(key, {})
        target = inner if isinstance(inner, dict) else target.setdefault(key, {})
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
            following = next(remaining, None)
            if following is None:
                raise RequestError(f"{name} needs a value.", name)
            value = following
        _put(found, name.removeprefix(FLAG_PREFIX).replace("-", "_").split("."), scalar(value))
    return found, rest


def from_toml(path: Path) -> dict[str, Any]:
    """Raises RequestError where the file cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"The configuration {path} cannot be read: {error.strerror}.", str(path)) from None
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"The configuration {path} is not valid TOML: {error}.", str(path)) from None


def load(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The server's settings from all three places; raises RequestError naming the wrong field."""
    merged: dict[str, Any] = from_toml(config) if config else {}
    for layer in (from_environment(environ), flags):
        merged = overlay(merged, layer)
    settings: Settings = validate(Settings, merged, "settings")
    return settings
