"""Counters and gauges for Prometheus, in a registry of the server's own."""

from __future__ import annotations

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from alm.conversation import Answer
from serve.engines.jobs import Engine

PATHS = ("/v1/chat/completions", "/v1/models", "/v1/audio/transcriptions", "/health", "/metrics")
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class Metrics:
    """What `/metrics` shows."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        labels = ["path", "status"]
        self.requests = Counter("alm_requests", "Requests by path and status", labels, registry=self.registry)
        self.tokens = Counter("alm_tokens", "Tokens by kind", ["kind"], registry=self.registry)
        self.audio = Counter("alm_audio_seconds", "Seconds of audio in answered requests", registry=self.registry)
        self.first = Histogram(
            "alm_first_token_seconds", "From a request to its first word", buckets=SECONDS, registry=self.registry
        )
        self.seconds = Histogram(
            "alm_answer_seconds", "From a request to its whole answer", buckets=SECONDS, registry=self.registry
        )
        for name, text in (("running", "Answers that are being written"), ("waiting", "Requests that wait")):
            gauge = Gauge(f"alm_{name}", text, registry=self.registry)
            gauge.set_function(lambda name=name: getattr(engine.state(), name))  # type: ignore[misc]

    def requested(self, path: str, status: int) -> None:
        """Count a request; unknown paths are one, so that nobody can fill the memory with names."""
        known = next((p for p in PATHS if path == p or path.startswith(p + "/")), "other")
        self.requests.labels(known, str(status)).inc()

    def answered(self, answer: Answer, seconds: float) -> None:
        """Note an answer's cost."""
        used = answer.usage
        self.tokens.labels("prompt").inc(used.prompt_tokens)
        self.tokens.labels("cached").inc(used.reused_tokens)
        self.tokens.labels("audio").inc(used.audio_tokens)
        self.tokens.labels("answer").inc(used.new_tokens)
        self.audio.inc(seconds)
        self.first.observe(used.first_token_seconds)
        self.seconds.observe(used.seconds)

    def exported(self) -> Response:
        """The page of `/metrics`."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)
