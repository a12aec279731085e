import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("shared-machine", deadline=None)  # how long an example takes says nothing there
hypothesis.settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Data sets of others, which the project does not hold: REASONPRUNE_DATA, or `shared/data` beside the project."""
    folder = Path(os.environ.get("REASONPRUNE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the data sets are not here; set REASONPRUNE_DATA to their folder")
    return folder


class FixedAnswer(HTTPServer):
    """Answers every POST with `answer` (status and body, JSON unless bytes) and keeps what it was asked last.

    For the faults of other servers, which ours does not show.
    """

    answer: tuple[int, Any] = (200, {})
    asked: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        server.asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, body = server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def fixed_answer() -> Iterator[FixedAnswer]:
    with FixedAnswer(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
