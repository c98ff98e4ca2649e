"""`alm data generate`: a language model behind an endpoint writes, the project checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

KINDS_HELP = "aig, compa-r, captions, descriptions, rewrite, rationale, no-answer, refusal; may be given again."


def generate(
    samples: Annotated[Path, typer.Argument(help="JSON lines of samples (data_prep.samples.to_json).")],
    out: Annotated[Path, typer.Option("--out", help="Folder for records, rejected texts, cache and report.")],
    kind: Annotated[list[str], typer.Option("--kind", help=KINDS_HELP)],
    model: Annotated[str, typer.Option("--model", help="Name that the server knows; part of the cache's key.")],
    endpoint: Annotated[str, typer.Option("--endpoint", help="OpenAI-compatible server, up to and with /v1.")],
    key_env: Annotated[str, typer.Option("--key-env", help="Environment variable that holds its key.")] = "",
    judge_model: Annotated[str, typer.Option("--judge-model", help="Judge; the writer itself if not given.")] = "",
    judge_endpoint: Annotated[str, typer.Option("--judge-endpoint", help="Its server, if another.")] = "",
    judge_key_env: Annotated[str, typer.Option("--judge-key-env", help="Its key's variable.")] = "",
    listener_model: Annotated[
        str, typer.Option("--listener-model", help="Model that hears recordings, for captions; none if not given.")
    ] = "",
    listener_endpoint: Annotated[str, typer.Option("--listener-endpoint", help="Its server, if another.")] = "",
    listener_key_env: Annotated[str, typer.Option("--listener-key-env", help="Its key's variable.")] = "",
    hear: Annotated[str, typer.Option("--hear", help="Preset whose events and transcript join the evidence.")] = "",
    similarity: Annotated[
        str, typer.Option("--similarity", help="Filter of captions: tags, or a folder with a CLAP model.")
    ] = "",
    descriptions: Annotated[
        Path | None, typer.Option("--descriptions", help="descriptions.json of an earlier run, for the evidence.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option("--prompts", help="Folder of prompts of your own.")] = None,
    per_sample: Annotated[int, typer.Option("--per-sample", help="Items asked for at a time.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other texts.")] = 0,
    draws: Annotated[int, typer.Option("--draws", help="Self-consistency: new answers to each question.")] = 0,
    agree: Annotated[float, typer.Option("--agree", help="Share of them that must agree.")] = 0.5,
    least_grade: Annotated[int, typer.Option("--least-grade", help="Judge's grade, 1 to 5; 0: no judge.")] = 0,
    least_similarity: Annotated[float, typer.Option("--least-similarity", help="On the measure's scale.")] = 0.5,
    tries: Annotated[int, typer.Option("--tries", help="How often a caption is written until it fits.")] = 3,
    grounding: Annotated[bool, typer.Option(help="Refuse sounds, times and numbers that the evidence lacks.")] = True,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Samples worked on at the same time.")] = 4,
    requests_per_minute: Annotated[float, typer.Option("--requests-per-minute", help="0: no limit.")] = 0.0,
    tokens_per_minute: Annotated[float, typer.Option("--tokens-per-minute", help="0: no limit.")] = 0.0,
    max_requests: Annotated[int, typer.Option("--max-requests", help="Of this run; 0: no limit.")] = 0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Of this run; 0: no limit.")] = 0,
    max_cost: Annotated[float, typer.Option("--max-cost", help="Of this run; 0: no limit.")] = 0.0,
    price_in: Annotated[float, typer.Option("--price-in", help="Of a million tokens of prompts.")] = 0.0,
    price_out: Annotated[float, typer.Option("--price-out", help="Of a million tokens of answers.")] = 0.0,
    tokens_field: Annotated[
        str, typer.Option("--tokens-field", help="max_tokens, or max_completion_tokens where a server wants it.")
    ] = "max_tokens",
    timeout_seconds: Annotated[float, typer.Option("--timeout-seconds", help="Of one request.")] = 300.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask nothing; say what it would take at most.")] = False,
) -> None:
    """Let a model write open-ended records about samples, check them, and write OUT/records.jsonl.

    Interrupt it at any time and run it again: what was answered is in OUT/answers.sqlite and is not asked again.

    \b
    alm data generate samples.jsonl --kind aig --kind rationale --out generated \\
      --endpoint http://127.0.0.1:8000/v1 --model tiny
    """
    from alm.endpoints import Endpoint
    from data_prep.cli import guarded
    from data_prep.generation import running
    from data_prep.generation.plan import Budget, Checks, GenerationPlan, Pace

    def server(name: str, address: str, key: str) -> Endpoint | None:
        return Endpoint(address or endpoint, name, key or key_env, timeout_seconds) if name else None

    with guarded():
        plan = GenerationPlan(
            tuple(kind), seed, per_sample,
            Budget(max_requests, max_tokens, max_cost, price_in, price_out),
            Pace(requests_per_minute, tokens_per_minute, concurrency),
            Checks(grounding, draws, agree, least_grade, least_similarity, tries),
            tokens_field, prompts, running.read_descriptions(descriptions),
        )  # fmt: skip
        if dry_run:
            running.show_estimate(samples, plan)
            return
        writer = server(model, "", "")
        assert writer is not None
        asked = running.Asked(
            writer, server(judge_model, judge_endpoint, judge_key_env),
            server(listener_model, listener_endpoint, listener_key_env), hear, similarity,
        )  # fmt: skip
        running.run(samples, plan, asked, out)
