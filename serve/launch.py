"""Run the server until it is interrupted."""

from __future__ import annotations

import logging
import sys

import uvicorn

from alm.errors import ConfigError
from serve.engine import Engine
from serve.server import ServerSettings, create_app


def launch(engine: Engine, settings: ServerSettings, host: str, port: int) -> None:
    """Serve on `host` and `port`; the engine is closed at the end.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(engine, settings), host=host, port=port, access_log=False, log_level="warning",
            timeout_graceful_shutdown=10, h11_max_incomplete_event_size=64 * 2**10,
        )
    )  # fmt: skip
    try:
        server.run()
    except SystemExit:
        raise ConfigError(f"cannot listen on {host} port {port}; is it taken? Choose another with --port") from None
    finally:
        engine.close()
