"""Run the server until it is interrupted."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import uvicorn

from alm.errors import ConfigError
from serve.engine import TransformersEngine
from serve.server import create_app
from serve.server_settings import ServerSettings

if TYPE_CHECKING:
    from alm.assistant import Assistant


def launch(assistant: Assistant, settings: ServerSettings, host: str, port: int, rows: int, most_waiting: int) -> None:
    """Serve on `host` and `port`.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    engine = TransformersEngine(assistant, rows, most_waiting)
    app = create_app(engine, settings, assistant.ears.transcriber)
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=host, port=port, access_log=False, log_level="warning",
            timeout_graceful_shutdown=10, h11_max_incomplete_event_size=64 * 2**10,
        )
    )  # fmt: skip
    try:
        server.run()
    except SystemExit:
        raise ConfigError(f"cannot listen on {host} port {port}; is it taken? Choose another with --port") from None
    finally:
        engine.close()
