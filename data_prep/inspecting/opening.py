"""Reading the records, then serving the page until it is interrupted."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from alm.errors import ConfigError
from alm.terminal import printable, reporter
from data_prep.copies.recordings import record_files
from data_prep.inspecting.flags import FlagFile
from data_prep.inspecting.sound import Players
from data_prep.inspecting.statistics import read_all
from data_prep.inspecting.stored import is_shards
from data_prep.shards.layout import read_index
from data_prep.steps import progress

# Gradio's own scripts are inline and use eval-like loading, so those two stay allowed; other hosts are not.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
_OWN = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class PageSettings:
    """Where and for whom the page opens."""

    host: str = "127.0.0.1"
    port: int = 7861
    auth: str | None = None
    """USER:PASSWORD."""
    open_browser: bool = True


def open_page(place: Path, flags: Path | None, settings: PageSettings) -> None:
    """Serve the page until it is interrupted.

    Raises:
        CorpusError: there are no records at `place`.
        ConfigError: the port is taken, or the address cannot be listened on.
    """
    auth = _auth(settings)
    total = _bytes(place)
    with progress() as bars:
        task = bars.add_task("bytes of records", total=total)
        table, found = read_all(place, advance=lambda count: bars.advance(task, count))
    marks = FlagFile(flags or table.folder / "flags.jsonl")
    with tempfile.TemporaryDirectory(prefix="alm-inspect-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        from data_prep.inspecting.page import InspectPage

        page = InspectPage(table, found, marks, Players(Path(folder)))
        signal.signal(signal.SIGTERM, _interrupted)  # or the decoded recordings would stay behind
        _launch(page.blocks, settings, auth, Path(folder))


def _bytes(place: Path) -> int:
    """What will be read."""
    if is_shards(place):
        return read_index(place).total("parquet_bytes")
    return sum(path.stat().st_size for path in record_files(place)) if place.exists() else 0


def _launch(blocks: Any, settings: PageSettings, auth: tuple[str, str] | None, players: Path) -> None:
    from gradio.themes import Soft

    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]  # nothing is fetched
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]
    try:
        _, address, _ = blocks.launch(
            server_name=settings.host,
            server_port=settings.port or _free_port(settings.host),
            auth=auth,
            inbrowser=settings.open_browser,
            allowed_paths=[str(players)],
            run_history=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
            enable_monitoring=False,
            ssr_mode=False,
            theme=Soft(primary_hue="teal", neutral_hue="slate", font=sans, font_mono=mono),
            css=_asset("page.css"),
            head=_head(),
            app_kwargs={"docs_url": None, "redoc_url": None},
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port} ({error}); choose another with --port, or 0 for any"
        ) from None
    reporter()(f"The page is open on {address} - stop it with Ctrl-C")
    blocks.block_thread()


def _head() -> str:
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    return f"{policy}<style>{_asset('frame.css')}</style><script>{_asset('page.js')}</script>"


def _asset(name: str) -> str:
    return resources.files("data_prep.inspecting").joinpath(name).read_text(encoding="utf-8")


def _auth(settings: PageSettings) -> tuple[str, str] | None:
    if settings.auth is None:
        if settings.host not in _OWN:
            shown = printable(settings.host, keep="")
            reporter()(f"Note: the page on {shown} is open to everybody who reaches this machine; see --auth")
        return None
    user, colon, password = settings.auth.partition(":")
    if not (user and colon and password):
        raise ConfigError("--auth needs USER:PASSWORD, both not empty")
    return user, password


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
