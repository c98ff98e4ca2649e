"""Serves the chat page for browser tests: `python chat_server.py PORT DELAY [USER:PASSWORD [TURNS]]`.

With a delay below 0 it is the real assistant's page, else the stand-in's, which waits so long between words
and whose context holds so many turns.
Ends when its standard input closes, so that it never outlives the test that started it.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import assistant_double
import engine_double

from alm.cli import load_assistant
from serve.chat.command import parse_auth
from serve.chat.limits import ChatLimits
from serve.chat.models import Models, Offer, Served
from serve.chat.page import PageSettings, open_page
from serve.engines.starting import start_engine


def main() -> None:
    port, delay = int(sys.argv[1]), float(sys.argv[2])
    limits = ChatLimits(max_file_megabytes=2, max_recordings=4, max_seconds=60.0)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    auth = parse_auth(sys.argv[3], "127.0.0.1") if len(sys.argv) > 3 and sys.argv[3] else None
    page = PageSettings(port=port, auth=auth, open_browser=False, feedback=Path("feedback.jsonl").absolute())
    most_turns = int(sys.argv[4]) if len(sys.argv) > 4 else 1000
    double = assistant_double.Assistant(delay_seconds=delay, most_turns=most_turns)
    models = real_models() if delay < 0 else engine_double.models(double, offers=("double", "other"))
    open_page(models, limits, page)


def real_models() -> Models:
    def start(_: Offer) -> Served:
        assistant = load_assistant("tiny")
        return Served(assistant, start_engine("transformers", assistant, 4, 8))

    return Models([Offer.of("tiny")], start)


if __name__ == "__main__":
    main()
