"""The one adapter to vLLM's server: an endpoint plugin that adds our middleware and wraps the engine client.

`reasonprune serve` loads it by itself. With plain vLLM: `VLLM_PLUGINS=reasonprune vllm serve MODEL`, settings by
`REASONPRUNE_CONFIG` (a TOML file) and `REASONPRUNE__*` variables.
"""

from __future__ import annotations

import asyncio
import logging
import os
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import Any

import vllm

from reasonprune.api.admission import Admission
from reasonprune.api.compress import attach as attach_compress
from reasonprune.api.context import PrunerService
from reasonprune.api.edge import Edge
from reasonprune.api.routes import router
from reasonprune.cot.history import History
from reasonprune.depth.choice import Programs
from reasonprune.depth.support import support_of
from reasonprune.engine.backend import EngineBackend
from reasonprune.engine.vllm import RaceClient, no_speculation
from reasonprune.graph.engine_model import EngineModel
from reasonprune.graph.route import graph_router
from reasonprune.graph.service import GraphService
from reasonprune.metrics import METRICS
from reasonprune.serve import CONFIG_VARIABLE
from reasonprune.settings import load
from reasonprune.speculative.metrics import watch

logger = logging.getLogger(__name__)

SUPPORTED = ((0, 32), (0, 33))


class EndpointPlugin:
    """Implements `vllm.plugins.endpoint_plugins.interface.EndpointPlugin`."""

    name = "reasonprune"
    required_tasks = ("generate",)

    def attach_router(self, app: Any) -> None:
        """Middleware added here is the innermost: vLLM's own authentication and CORS come first."""
        check_version(vllm.__version__)
        config = os.environ.get(CONFIG_VARIABLE)
        settings = load(Path(config) if config else None, os.environ, {})
        admission = Admission(settings.server.max_live_traces)
        METRICS.live_traces.set_function(lambda: admission.live)
        app.state.reasonprune_settings = settings
        pruner = PrunerService(settings.server.pruner)
        self._graphs = GraphService(settings.stores)
        app.include_router(router(pruner))
        app.include_router(graph_router(self._graphs, settings.graph))
        attach_compress(app, served_models)
        app.add_middleware(
            Edge,
            settings=settings,
            served=served_models,
            admission=admission,
            programs=programs_of,
            pruner=pruner,
            graphs=self._graphs,
        )

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Puts our client in the place of the engine's in every serving class that generates."""
        if engine_client is None:
            return
        settings = state.reasonprune_settings
        state.reasonprune_programs = programs = Programs.of(support_of(engine_client.vllm_config), settings.server)
        programs.check(settings)
        state.reasonprune_backend = EngineBackend(engine_client)
        state.reasonprune_history = History(state.reasonprune_backend)
        client = RaceClient(engine_client, programs)
        self._graphs.model = EngineModel(engine_client)
        if no_speculation(engine_client.vllm_config) is None:
            state.reasonprune_watch = asyncio.create_task(watch(engine_client))
        for serving in vars(state)["_state"].values():
            if getattr(serving, "engine_client", None) is engine_client:
                serving.engine_client = client


def served_models(app: Any) -> Collection[str]:
    """Names that requests may use: base models and adapters."""
    models = app.state.openai_serving_models
    return [*(path.name for path in models.base_model_paths), *models.lora_requests]


def programs_of(app: Any) -> Programs | None:
    """The layer programs of a server whose engine is up."""
    found: Programs | None = getattr(app.state, "reasonprune_programs", None)
    return found


def check_version(version: str) -> None:
    """A release that was not tried is named, not refused: most change nothing here."""
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if release not in SUPPORTED:
        known = ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
        logger.warning("reasonprune was tried with vLLM %s; this is %s.", known, version)
