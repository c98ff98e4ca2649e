"""Lines of OpenAI's Batch API: chat requests with recordings in base64 in, chat responses out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from alm.errors import RecordError
from serve.api.openai_schema import AnswerMessage, ChatRequest, ChatResponse, Choice, Error, ErrorBody, UsageBody
from serve.api.recordings import Opener
from serve.batch.rows import Line, Row, Wishes
from serve.batch.stages import Ready

ENDPOINT = "/v1/chat/completions"
_MOST_TOKENS = 8192


def ready_request(line: Line) -> Ready:
    """The row of a request with its recordings opened; nothing is fetched from the network.

    Raises:
        RecordError: it is no chat request, or wants what a batch cannot give.
        AudioError: a recording cannot be used.
        ConversationError: roles are out of order.
    """
    request = _checked(line)
    messages = Opener().messages(request)
    recordings = [p["audio"] for m in messages if m["role"] == "user" for p in m["content"] if p["type"] == "audio"]
    wishes = Wishes(
        request.most_tokens, request.temperature, request.seed, request.top_p, request.stops, request.evidence
    )
    return Ready(Row(line.id, tuple(messages), (), wishes), recordings)


def response_line(line: Line, entry: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The output line of a request from its entry in the journal."""
    own = entry["row"][:32]
    if "error" in entry:
        ours = entry["error"]["type"] not in _ASKERS
        error = Error(message=entry["error"]["message"], type="server_error" if ours else "invalid_request_error")
        status, body = 500 if ours else 400, ErrorBody(error=error).model_dump()
    else:
        evidence = bool(line.fields["body"].get("include_evidence"))
        status, body = 200, _response(entry, f"chatcmpl-{own}", model, evidence)
    response = {"status_code": status, "request_id": own, "body": body}
    return {"id": f"batch_req_{own}", "custom_id": line.id, "response": response, "error": None}


_ASKERS = frozenset({"RecordError", "AudioError", "ConversationError", "ConfigError"})
"""Errors that are the asker's to mend."""


def _response(entry: Mapping[str, Any], own: str, model: str, evidence: bool) -> dict[str, Any]:
    message = AnswerMessage(content=entry["answer"], evidence=entry["evidence"] if evidence else None)
    choice = Choice(message=message, finish_reason="length" if entry["finish"] == "length" else "stop")
    usage = UsageBody.of(entry["usage"], entry["seconds"])
    return ChatResponse(id=own, created=entry["time"], model=model, choices=[choice], usage=usage).model_dump()


def _checked(line: Line) -> ChatRequest:
    if (method := line.fields.get("method", "POST")) != "POST":
        raise RecordError(f"{line.where}: the method is {str(method)[:40]!r}; requests of a batch are POST")
    if (url := line.fields.get("url", ENDPOINT)) != ENDPOINT:
        raise RecordError(f"{line.where}: the url is {str(url)[:80]!r}; a batch answers {ENDPOINT}")
    try:
        request = ChatRequest.model_validate(line.fields.get("body"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in ("body", *first["loc"]))
        raise RecordError(f"{line.where}: {place}: {first['msg']}") from None
    if request.stream:
        raise RecordError(f"{line.where}: asks for a stream; a batch answers in one piece, leave 'stream' out")
    if (request.most_tokens or 0) > _MOST_TOKENS:
        raise RecordError(f"{line.where}: max_tokens is {request.most_tokens}; the limit is {_MOST_TOKENS}")
    return request
