"""Continuous batching: requests that join and leave at any time are answered as if each were alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny_model
import torch

from alm.audio import Waveform
from alm.batching import BatchDecoder, Request, Sampling
from alm.errors import ConfigError
from alm.prefix_cache import PrefixCache
from alm.reading import Pass
from alm.testing import click_train, noise, tone

SCHEMES = [
    {"scheme": "delayed"},
    {"scheme": "keys_values"},
    {"scheme": "prefix", "start_layer": 0},
    {"scheme": "cross_attention", "cross_every": 2},
]


def talker(scheme: dict[str, Any] | None = None) -> tiny_model.Assistant:
    settings = tiny_model.config(None, **(scheme or {}))
    made = tiny_model.assistant()
    made.model = tiny_model.model(settings)
    made.ears.model = made.model
    return made


def messages(text: str, *audio: Waveform) -> list[dict[str, Any]]:
    parts = [{"type": "audio", "audio": a} for a in audio]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def prompts(a: tiny_model.Assistant) -> list[Any]:
    """Text alone, one recording, two recordings, several turns; of unequal lengths."""
    spoken = [*messages("First?", tone(seconds=3.0)), {"role": "assistant", "content": "A tone."}]
    return [
        a.encode(m)
        for m in (
            messages("Hello"),
            messages("What is this?", tone(seconds=3.0)),
            messages("Compare these two for me", noise(), click_train()),
            [*spoken, *messages("And now something longer than before?")],
            messages("What else?", tone(seconds=3.0)),
            messages("A text that is a good deal longer than the first one was"),
        )
    ]


def alone(a: tiny_model.Assistant, prompt: Any, count: int) -> list[int]:
    """What stock `generate` says, without the end."""
    ids = torch.tensor([prompt.ids])
    given = {} if (tokens := a.audio_tokens(prompt)) is None else {"audio_embeds": tokens}
    mask = torch.ones_like(ids)
    made = a.model.generate(ids, attention_mask=mask, max_new_tokens=count, do_sample=False, **given)
    said: list[int] = made[0, ids.shape[1] :].tolist()
    return said[:-1] if said[-1] in a.end_ids else said


def run(decoder: BatchDecoder, requests: list[Request], every: int = 2) -> list[Request]:
    """A request joins every few steps; gives them in the order they were done in."""
    done, waiting = [], list(requests)
    while waiting or decoder.running:
        if waiting:
            decoder.add(waiting[0])
            if waiting[0].finish:
                done.append(waiting[0])
            waiting.pop(0)
        for _ in range(every):
            done += decoder.step()
    return done


@pytest.mark.parametrize("scheme", SCHEMES, ids=[s["scheme"] for s in SCHEMES])
def test_joining_and_leaving_changes_no_answer(scheme: dict[str, Any]) -> None:
    a = talker(scheme)
    requests = [Request(p, Sampling(max_new_tokens=n)) for p, n in zip(prompts(a), (14, 4, 9, 5, 16, 7), strict=True)]
    done = run(BatchDecoder(a), requests)
    assert len(done) == len(requests) and done != requests, "control: some overtake others"
    for request in requests:
        assert request.new_ids == alone(a, request.prompt, request.sampling.max_new_tokens), scheme
        assert request.finish in ("stop", "length")


@pytest.mark.parametrize("scheme", SCHEMES, ids=[s["scheme"] for s in SCHEMES])
def test_prompts_read_in_one_pass_are_answered_as_if_alone(scheme: dict[str, Any]) -> None:
    """Twice: the second time all of them go on from what is known."""
    a = talker(scheme)
    decoder, longer = BatchDecoder(a), messages("And what is that, then?", noise())
    for made in (prompts(a), [*prompts(a)[::-1], a.encode(longer)]):
        requests = [Request(p, Sampling(max_new_tokens=5 + n)) for n, p in enumerate(made)]
        done = decoder.add(*requests)
        while decoder.running:
            done += decoder.step()
        assert sorted(map(id, done)) == sorted(map(id, requests))
        for request in requests:
            assert request.new_ids == alone(a, request.prompt, request.sampling.max_new_tokens), scheme


def test_padding_between_what_is_known_and_what_is_new_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of the test before: a mask that shows the padding gives other answers."""
    a = talker()
    whole = Pass.of.__func__  # type: ignore[attr-defined]

    def shown(cls: type[Pass], rows: Any) -> Pass:
        made: Pass = whole(cls, rows)
        return replace(made, mask=torch.ones_like(made.mask))

    monkeypatch.setattr(Pass, "of", classmethod(shown))
    requests = [Request(p, Sampling(max_new_tokens=9)) for p in prompts(a)]
    decoder = BatchDecoder(a)
    decoder.add(*requests)
    while decoder.running:
        decoder.step()
    monkeypatch.undo()
    assert any(r.new_ids != alone(a, r.prompt, 9) for r in requests)


def test_questions_about_one_recording_read_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    a = talker()
    asked = [a.encode(messages(f"What is this{'?' * n}", noise(seconds=18.0))) for n in range(1, 5)]
    audio, passed = a.model.config.audio_token_id, list[int]()
    forward = a.model.forward

    def counting(ids: Any, **given: Any) -> Any:
        passed.append(int((ids == audio).sum()))
        return forward(ids, **given)

    monkeypatch.setattr(a.model, "forward", counting)
    requests = [Request(p, Sampling(max_new_tokens=2)) for p in asked]
    BatchDecoder(a).add(*requests)
    assert sum(passed) == asked[0].ids.count(audio) and len(passed) <= 3
    assert [r.reused_tokens > asked[0].ids.index(audio) for r in requests] == [False, True, True, True]


def test_a_pass_that_fails_is_tried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    a = talker()
    requests = [Request(p, Sampling(max_new_tokens=3)) for p in prompts(a)]
    forward, bad = a.model.forward, requests[2].prompt.ids

    def failing(ids: Any, **given: Any) -> Any:
        if any(row.tolist()[-len(bad) :] == bad for row in ids):
            raise RuntimeError("no memory")
        return forward(ids, **given)

    monkeypatch.setattr(a.model, "forward", failing)
    decoder = BatchDecoder(a)
    decoder.add(*requests)
    while decoder.running:
        decoder.step()
    monkeypatch.undo()
    assert str(requests[2].error) == "no memory" and not decoder._processors
    for request in requests[:2] + requests[3:]:
        assert request.error is None and request.new_ids == alone(a, request.prompt, 3)


def test_the_place_of_a_row_counts_its_own_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of the test before: rows that count the padding of others answer otherwise."""
    a = talker()
    forward = a.model.forward

    def counting_columns(*args: Any, **kwargs: Any) -> Any:
        if (places := kwargs.get("position_ids")) is not None:
            kwargs["position_ids"] = torch.full_like(places, kwargs["attention_mask"].shape[1] - 1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(a.model, "forward", counting_columns)
    requests = [Request(p, Sampling(max_new_tokens=14)) for p in prompts(a)]
    run(BatchDecoder(a), requests)
    monkeypatch.undo()
    assert any(r.new_ids != alone(a, r.prompt, 14) for r in requests)


def test_a_later_turn_reads_only_what_is_new_and_answers_the_same() -> None:
    a = talker()
    decoder, first = BatchDecoder(a), messages("What is this?", tone(seconds=3.0))
    opening = Request(a.encode(first), Sampling(max_new_tokens=6))
    run(decoder, [opening])
    said = {"role": "assistant", "content": "", "token_ids": opening.new_ids}
    later = a.encode([*first, said, *messages("And how many times?")])
    again = Request(later, Sampling(max_new_tokens=6))
    run(decoder, [again])
    assert again.reused_tokens >= len(opening.prompt.ids) + len(opening.new_ids) - 1
    assert again.new_ids == alone(a, later, 6)
    other = a.encode(messages("What is this?", noise(seconds=3.0)))
    assert len(other.ids) == len(opening.prompt.ids)
    stranger = Request(other, Sampling(max_new_tokens=6))
    run(decoder, [stranger])
    assert stranger.reused_tokens < other.ids.index(a.model.config.audio_token_id) + 1
    assert stranger.new_ids == alone(a, other, 6), "control: the same ids, another sound"


def test_without_room_the_oldest_prefix_goes() -> None:
    a = talker()
    decoder = BatchDecoder(a, PrefixCache(a.model.config, most_bytes=1))
    request = Request(a.encode(messages("What?", tone())), Sampling(max_new_tokens=3))
    run(decoder, [request, Request(a.encode(messages("Hello")), Sampling(max_new_tokens=3))])
    again = Request(request.prompt, Sampling(max_new_tokens=3))
    run(decoder, [again])
    assert again.reused_tokens == 0 and again.new_ids == request.new_ids


def test_who_leaves_early_disturbs_nobody() -> None:
    a = talker()
    decoder, made = BatchDecoder(a), prompts(a)
    requests = [Request(p, Sampling(max_new_tokens=12)) for p in made[1:5]]
    for request in requests:
        decoder.add(request)
    decoder.step()
    requests[1].cancelled = True
    done = []
    while decoder.running:
        done += decoder.step()
    assert requests[1].finish == "cancelled" and len(requests[1].new_ids) < 12
    for request in requests[:1] + requests[2:]:
        assert request.new_ids == alone(a, request.prompt, 12)
    assert not decoder._processors and not decoder._generators


def test_sampling_depends_on_the_seed_alone() -> None:
    a = talker()
    made = prompts(a)

    def sampled(seed: int, company: bool) -> list[int]:
        wanted = Request(made[1], Sampling(max_new_tokens=10, temperature=1.0, seed=seed))
        others = [Request(p, Sampling(max_new_tokens=10, temperature=1.0, seed=9)) for p in made[2:4]]
        run(BatchDecoder(a), [*others, wanted] if company else [wanted])
        return wanted.new_ids

    assert sampled(1, company=False) == sampled(1, company=True)
    assert sampled(1, company=False) != sampled(2, company=False), "control: another seed says something else"


def test_settings_of_a_row_are_its_own() -> None:
    a = talker()
    prompt = prompts(a)[1]
    plain = Request(prompt, Sampling(max_new_tokens=6))
    barred = Request(prompt, Sampling(max_new_tokens=6, settings={"suppress_tokens": list(range(200))}))
    run(BatchDecoder(a), [plain, barred])
    assert plain.new_ids == alone(a, prompt, 6) and all(i >= 200 for i in barred.new_ids)
    wrong, right = Request(prompt, Sampling(settings={"num_beams": 3})), Request(prompt, Sampling(max_new_tokens=6))
    decoder = BatchDecoder(a)
    assert wrong in decoder.add(wrong, right) and isinstance(wrong.error, ConfigError)
    assert "num_beams" in str(wrong.error) and right.new_ids == plain.new_ids[: len(right.new_ids)]
