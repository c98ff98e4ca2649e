"""Requests made up from the served schema: whatever comes, the answer is one that the schema names, and never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import tiny_model
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from alm.transcription import Transcriber
from serve.api.app import create_app
from serve.api.recordings import Opener, RequestLimits
from serve.api.settings import ServerSettings
from serve.engines.transformers import TransformersEngine

LIMITS = RequestLimits(max_body_megabytes=1, max_recordings=3, max_file_megabytes=1, max_seconds=15)


@pytest.fixture(scope="module")
def app() -> Iterator[FastAPI]:
    engine = TransformersEngine(tiny_model.assistant(["dog", "cat"]))
    # Its speech gate needs no weights, and noise does not pass it.
    yield create_app(engine, ServerSettings("miniature", (), 16, 4, Opener(LIMITS)), Transcriber(Path("nowhere")))
    engine.close()


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


OPERATIONS = [
    ("POST", "/v1/chat/completions"), ("POST", "/v1/audio/transcriptions"), ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"), ("GET", "/health"), ("GET", "/metrics"),
]  # fmt: skip


def test_every_operation_is_tried(served: Any) -> None:
    found = {(result.ok().method.upper(), result.ok().path) for result in served.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_schema_holds(served: Any, method: str, path: str) -> None:
    # Not `served.parametrize()`: it reaches into pytest's own fields, which pytest 9.2 no longer has.
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=served[path][method].as_strategy())
    def check(case: Any) -> None:
        # Not every rule fits into a schema (roles take turns, base64 is audio), so valid data may be refused.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()


def test_the_check_sees_a_server_error(app: FastAPI) -> None:
    """Control: a route that fails is found."""
    broken = FastAPI()

    @broken.get("/fails")
    async def fails() -> dict[str, int]:
        return {"value": 1 // 0}

    own = schemathesis.openapi.from_asgi("/openapi.json", broken)
    case = own["/fails"]["GET"].Case()
    with pytest.raises((ZeroDivisionError, AssertionError, BaseExceptionGroup)):
        case.call_and_validate()
