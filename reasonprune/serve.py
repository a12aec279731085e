"""`reasonprune serve`: vLLM's own server, with our endpoint plugin and, on CPU, our worker."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reasonprune.depth.support import CONFIG_KEY
from reasonprune.engine.workers import GPU_WORKER, SEED_WORKER, announce
from reasonprune.errors import ModelError, RequestError
from reasonprune.models import resolve
from reasonprune.options import ServerOptions
from reasonprune.settings import FLAGS_VARIABLE, from_flags, load

PLUGIN = "reasonprune"
CONFIG_VARIABLE = "REASONPRUNE_CONFIG"
PLUGIN_GROUPS = (
    "vllm.general_plugins",
    "vllm.io_processor_plugins",
    "vllm.platform_plugins",
    "vllm.stat_logger_plugins",
)


@dataclass(frozen=True)
class Command:
    """A parsed command line: what is ours, and what goes on to vLLM."""

    model: str | None
    config: Path | None
    flags: dict[str, Any]
    vllm_arguments: list[str]


def parse(arguments: Sequence[str]) -> Command:
    """`MODEL [--config FILE.toml] [--reasonprune.KEY VALUE ...] [any vLLM flag ...]`.

    A `--config` that ends in .toml is ours; vLLM's own `--config` is YAML and passes on.
    """
    flags, rest = from_flags(arguments)
    model = rest.pop(0) if rest and not rest[0].startswith("-") else None
    config = None
    for i, argument in enumerate(rest):
        name, equals, value = argument.partition("=")
        value = value if equals else (rest[i + 1] if i + 1 < len(rest) else "")
        if name == "--config" and value.endswith(".toml"):
            config = Path(value).resolve()
            del rest[i : i + (1 if equals else 2)]
            break
    return Command(model, config, flags, rest)


def export(command: Command, environ: MutableMapping[str, str]) -> None:
    """Hand our settings to the server process(es), where the plugin reads them from the environment."""
    if command.config is not None:
        environ[CONFIG_VARIABLE] = str(command.config)
    # As one variable: mixed with those of the environment, flags would no longer outrank them.
    environ[FLAGS_VARIABLE] = json.dumps(command.flags)
    known = {entry.name for group in PLUGIN_GROUPS for entry in metadata.entry_points(group=group)}
    allowed = environ["VLLM_PLUGINS"].split(",") if "VLLM_PLUGINS" in environ else sorted(known)
    # vLLM loads endpoint plugins by name only; naming one would switch all others off, so they are named too.
    environ["VLLM_PLUGINS"] = ",".join(dict.fromkeys([*filter(None, allowed), PLUGIN]))


def serve(arguments: Sequence[str]) -> None:
    """Run the server until it is stopped. Exits with a message where settings, model or vLLM are not usable."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    command = parse(arguments)
    settings = load(command.config, os.environ, command.flags)
    if find_spec("vllm") is None:
        raise ModelError(
            "vLLM is not installed. Run `make setup`, or install `reasonprune[gpu]` on a machine with a GPU."
        )
    vllm_arguments = list(command.vllm_arguments)
    if command.model is not None:
        resolved = resolve(command.model)
        vllm_arguments.insert(0, resolved.path)
        if resolved.source == "catalog" and not any(a.startswith("--served-model-name") for a in vllm_arguments):
            vllm_arguments += ["--served-model-name", resolved.name]
    export(command, os.environ)
    export_datastore(settings.server, os.environ)
    if settings.server.draft_tokens is not None and not _given(vllm_arguments, "--speculative-config"):
        vllm_arguments += ["--speculative-config", json.dumps(retrieval_alone(settings.server.draft_tokens))]
    _run(vllm_arguments, settings.server.depth_slots)


def export_datastore(server: ServerOptions, environ: MutableMapping[str, str]) -> None:
    """Tell the engine's process where drafts are; a datastore that cannot be used ends the start here, by name."""
    if server.datastore is None:
        return
    from reasonprune.speculative.datastore import Datastore
    from reasonprune.speculative.engine_side import GROW_VARIABLE, STORE_VARIABLE

    folder = Path(server.datastore).resolve()
    Datastore(folder, verify=False)
    environ[STORE_VARIABLE] = str(folder)
    environ[GROW_VARIABLE] = "1" if server.datastore_grows else "0"


def retrieval_alone(tokens: int) -> dict[str, Any]:
    """vLLM's configuration of speculation without a draft model."""
    return {
        "method": "custom_class",
        "model": "reasonprune.speculative.proposer.RetrievalProposer",
        "num_speculative_tokens": tokens,
    }


def _given(arguments: Sequence[str], flag: str) -> bool:
    names = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    return flag in names or any(name.startswith(flag + ".") for name in names) or "-sc" in names


def _run(arguments: list[str], slots: int) -> None:
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.logger import configure_logging_from_args
    from vllm.platforms import current_platform
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    parser = make_arg_parser(FlexibleArgumentParser(prog="reasonprune serve", usage=USAGE))
    # vLLM's parser reads a YAML --config off sys.argv as well.
    sys.argv = ["reasonprune serve", *arguments]
    args = parser.parse_args(arguments)
    if args.worker_cls == "auto" and (current_platform.is_cpu() or args.speculative_config):
        args.worker_cls = SEED_WORKER if current_platform.is_cpu() else GPU_WORKER
        if args.speculative_config and args.async_scheduling is None:
            args.async_scheduling = False  # drafts are fused on the host, between two steps
    announce(args.worker_cls)
    args.additional_config = {CONFIG_KEY: slots, **(args.additional_config or {})}
    configure_logging_from_args(args)
    try:
        validate_parsed_serve_args(args)
    except (ValueError, TypeError) as error:
        raise RequestError(str(error)) from None
    ServeSubcommand.cmd(args)


USAGE = """reasonprune serve MODEL [--config reasonprune.toml] [--reasonprune.KEY VALUE ...] [any `vllm serve` flag ...]

MODEL is a short name (`reasonprune models`), a Hugging Face id or a folder.
Settings: flags (--reasonprune.parallel.n 8) > environment (REASONPRUNE__PARALLEL__N=8) > the TOML file.
All settings: `reasonprune settings`. All vLLM flags: `reasonprune serve --help=all`."""
