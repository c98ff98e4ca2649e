"""Run the server until it is interrupted."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import uvicorn

from alm.errors import ConfigError
from serve.api.app import create_app
from serve.api.settings import ServerSettings
from serve.engines.jobs import Engine

if TYPE_CHECKING:
    from alm.transcription import Transcriber


def launch(
    engine: Engine, transcriber: Transcriber | None, settings: ServerSettings, host: str, port: int
) -> None:
    """Serve on `host` and `port`; the engine is closed at the end.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    app = create_app(engine, settings, transcriber)
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
