"""Who is asked: our engine with random weights, and an endpoint played by a program in this process."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness_helpers as toys
import httpx
import pytest
import soundfile as sf
import tiny_model
from harness_helpers import toy, toy_run

from alm.endpoints import Chat, Endpoint, EndpointError
from alm.errors import ConfigError
from eval.harness.answers import Answered
from eval.harness.asking import Asked, Asking
from eval.harness.endpoint import EndpointModel
from eval.harness.generate import generate
from eval.harness.grading import rater_name
from eval.harness.items import Item, LabelWant, Message
from eval.harness.making import ModelWish, asking_of
from eval.harness.ours import OwnModel, PresetModel
from eval.harness.recordings import Opener
from eval.harness.windows import windows


def questions(folder: Path, count: int = 6, candidates: tuple[str, ...] = ()) -> list[Asked]:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    made = [asks_of_its_own(i) for i in toys.items(folder / "data", count)]
    prepared = toy(folder, made=made)
    opener = Opener(prepared, Asking())
    return [opener.asked(item, f"key {item.id}", candidates) for item in prepared.items]


def asks_of_its_own(item: Item) -> Item:
    """Random weights do not tell tones apart, but words."""
    said = Message(role="user", content=f"<audio>Which animal? {item.id[-2:]}")
    return item.model_copy(update={"messages": (said,)})


# --- ours ---


@pytest.fixture(scope="module")
def own() -> Iterator[OwnModel]:
    assistant = tiny_model.assistant()
    made = OwnModel("miniature", {"weights": "random"}, lambda: assistant, rows=3)
    yield made
    made.close()


def test_our_engine_answers_as_a_conversation_does(own: OwnModel, tmp_path: Path) -> None:
    asked = questions(tmp_path)
    found = {a.id: a for a in own.answers(asked)}
    for one in asked:
        question = one.messages[-1]["content"][-1]["text"]
        said = own.assistant.conversation().ask(question, audio=list(one.recordings), max_new_tokens=8)
        answered = found[one.item.id]
        assert (answered.text, answered.finish, answered.error) == (said.text, said.finish, "")
        assert answered.key == one.key and answered.audio_seconds == pytest.approx(0.2)
    assert len({a.text for a in found.values()}) > 1, "control: answers differ"


@pytest.mark.parametrize("rows", [1, 2, 16])
def test_how_many_are_answered_in_step_changes_nothing(own: OwnModel, tmp_path: Path, rows: int) -> None:
    asked = questions(tmp_path)
    other = OwnModel("miniature", {}, lambda: own.assistant, rows=rows)
    try:
        assert {a.id: a.text for a in other.answers(asked)} == {a.id: a.text for a in own.answers(asked[::-1])}
    finally:
        other.close()


def test_likelihoods_are_those_of_the_assistant(own: OwnModel, tmp_path: Path) -> None:
    one = questions(tmp_path, 1, ("dog", "a long answer", "cat"))[0]
    system = {"role": "system", "content": own.assistant.preset_config.system}
    plain = [system, {"role": "user", "content": one.item.messages[-1].content}]
    wanted = own.assistant.score(plain, one.recordings, one.candidates)
    assert own.loglik(one) == pytest.approx(wanted, abs=1e-3)
    answered = next(iter(own.answers([one])))
    assert answered.loglik == pytest.approx(wanted, abs=1e-3) and answered.finish in ("stop", "length")
    other = questions(tmp_path / "b", 2, one.candidates)[1]
    assert own.loglik(other) != pytest.approx(wanted, abs=1e-3), "control: another question"


def test_ranked_labels_need_no_words(own: OwnModel, tmp_path: Path) -> None:
    want = LabelWant(labels=("dog",), label_set="pets", mode="loglik")
    data = tmp_path / "data"
    data.mkdir()
    prepared = toy(tmp_path, made=toys.items(data, 3, 2, lambda n: want))
    run = toy_run(tmp_path / "run", prepared)
    assert generate(run, own).done == 3
    for answered in run.answers("heard", run.keys("heard", prepared.items)).values():
        assert answered.text == "" and answered.loglik is not None and len(answered.loglik) == 3


def test_a_question_that_does_not_fit_fails_alone(own: OwnModel, tmp_path: Path) -> None:
    asked = questions(tmp_path, 2, ("dog",))
    long = asked[0].item.model_copy(update={"id": "long"})
    big = Asked(
        long, "heard", "big", ({"role": "user", "content": "x" * 3000},), (), 8, candidates=("dog",)
    )  # fmt: skip
    found = {a.id: a for a in own.answers([asked[0], big, asked[1]])}
    assert "ContextError" in found["long"].error and not found["q00000"].error and not found["q00001"].error


def test_leaving_early_leaves_the_engine_usable(own: OwnModel, tmp_path: Path) -> None:
    asked = questions(tmp_path, 12)
    answers = own.answers(asked)
    first = next(answers)
    answers.close()
    assert {a.id for a in own.answers(asked)} == {a.item.id for a in asked} and first.text


def test_a_preset_is_identified_without_loading_it(tmp_path: Path) -> None:
    plain, none = PresetModel("tiny").identity(), PresetModel("tiny", adapter=False, evidence=False).identity()
    assert plain["adapter_sha256"] and plain["evidence"] is True and none["adapter_sha256"] is None
    copy = tmp_path / "adapter"
    copy.mkdir()
    (copy / "alm_adapter.json").write_text("{}")
    assert PresetModel("tiny", adapter=copy).identity()["adapter_sha256"] not in (None, plain["adapter_sha256"])
    with pytest.raises(ConfigError, match="no such folder"):
        ModelWish(adapter=str(tmp_path / "none-here")).made()
    assert ModelWish(max_audio_seconds=7.0).made().max_audio_seconds == 7.0


def test_windows_read_nothing_ahead() -> None:
    taken: list[int] = []
    some = windows((taken.append(n) or n for n in range(10)), 3)  # type: ignore[func-returns-value]
    assert next(some) == (0, 1, 2) and taken == [0, 1, 2]


# --- endpoints ---


def endpoint_model(
    handler: Callable[[httpx.Request], httpx.Response], **more: Any
) -> tuple[EndpointModel, list[float]]:
    waits: list[float] = []
    endpoint = Endpoint("https://host.invalid/v1/", "judge-2026-01-31", **more)
    chat = Chat(endpoint, httpx.MockTransport(handler), waits.append)
    return EndpointModel(chat, concurrency=3), waits


def completion(text: str | None, finish: str = "stop") -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": text}, "finish_reason": finish}]})


def test_an_endpoint_hears_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_TEST_KEY", "sesame")
    bodies: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url == "https://host.invalid/v1/chat/completions"
        assert request.headers["authorization"] == "Bearer sesame"
        bodies.append(json.loads(request.content))
        return completion("dog")

    model, _ = endpoint_model(handler, key_variable="HARNESS_TEST_KEY")
    asked = questions(tmp_path, 2)
    found = list(model.answers(asked))
    model.close()
    assert {a.text for a in found} == {"dog"} and {a.finish for a in found} == {"stop"}
    audio, text = bodies[0]["messages"][-1]["content"]
    samples, rate = sf.read(io.BytesIO(base64.b64decode(audio["input_audio"]["data"])))
    assert audio["input_audio"]["format"] == "wav" and len(samples) / rate == pytest.approx(0.2)
    assert text["text"].startswith("Which animal?") and bodies[0]["max_tokens"] == 8
    assert bodies[0]["temperature"] == 0.0 and bodies[0]["model"] == "judge-2026-01-31"
    assert "sesame" not in json.dumps(model.identity)


def test_a_passing_trouble_is_waited_for(tmp_path: Path) -> None:
    replies = iter([
        httpx.Response(503, text="busy"), httpx.Response(429, headers={"retry-after": "7"}), completion("dog")
    ])  # fmt: skip
    model, waits = endpoint_model(lambda request: next(replies))
    (answered,) = model.answers(questions(tmp_path, 1))
    assert answered.text == "dog" and len(waits) == 2 and 0.5 <= waits[0] <= 1.0 and waits[1] == 7.0


def test_a_lasting_trouble_is_an_error_of_that_question(tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if "q-bad" in request.content.decode():
            return httpx.Response(400, text="content filter\n" * 100)
        raise httpx.ConnectError("no route")

    model, waits = endpoint_model(handler, tries=3)
    asked = questions(tmp_path, 2)
    bad = Asked(asked[0].item, "heard", "k", ({"role": "user", "content": "q-bad"},), (), 8)
    found = {a.key: a for a in model.answers([bad, asked[1]])}
    assert "HTTP 400" in found["k"].error and len(found["k"].error) <= 500
    assert "no route" in found["key q00001"].error and len(waits) == 2


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_address_ends_the_run(tmp_path: Path, status: int) -> None:
    model, waits = endpoint_model(lambda request: httpx.Response(status, text="no"))
    with pytest.raises(ConfigError, match=f"HTTP {status}.*--endpoint"):
        list(model.answers(questions(tmp_path, 2)))
    assert not waits


@pytest.mark.parametrize("reply", [httpx.Response(200, text="<html>"), httpx.Response(200, json={"choices": []})])
def test_what_is_no_completion_is_an_error(tmp_path: Path, reply: httpx.Response) -> None:
    model, _ = endpoint_model(lambda request: reply)
    assert "no chat completion" in next(iter(model.answers(questions(tmp_path, 1)))).error


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://elsewhere.invalid/"})

    model, _ = endpoint_model(handler)
    assert "HTTP 302" in next(iter(model.answers(questions(tmp_path, 1)))).error
    assert seen == ["host.invalid"]


def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    model, _ = endpoint_model(lambda request: completion(None, "length"))
    answered = next(iter(model.answers(questions(tmp_path, 1))))
    assert isinstance(answered, Answered) and (answered.text, answered.finish, answered.error) == ("", "length", "")


def test_questions_are_open_together_but_not_more_than_said(tmp_path: Path) -> None:
    import threading

    running, most = 0, 0
    lock = threading.Lock()

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.02)
        with lock:
            running -= 1
        return completion("dog")

    model, _ = endpoint_model(handler)
    assert len(list(model.answers(questions(tmp_path, 9)))) == 9 and 1 < most <= 3


def test_what_an_endpoint_cannot_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = endpoint_model(lambda request: completion("dog"))
    with pytest.raises(EndpointError, match="no log-likelihoods"):
        model.loglik(questions(tmp_path, 1)[0])
    with pytest.raises(ConfigError, match="--loglik"):
        asking_of(Asking(loglik=True), model)
    with pytest.raises(ConfigError, match="--adapter and --evidence"):
        ModelWish("m", endpoint="https://host.invalid/v1", evidence=True).made()
    monkeypatch.delenv("HARNESS_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="HARNESS_TEST_KEY is not set"):
        ModelWish("m", endpoint="https://host.invalid/v1", key_env="HARNESS_TEST_KEY").made()
    for address in ("host/v1", "file:///etc/passwd", "https://user:word@host.invalid/v1"):
        with pytest.raises(ConfigError, match="--endpoint"):
            Endpoint(address, "m")


def test_a_judge_has_a_date(tmp_path: Path) -> None:
    model, _ = endpoint_model(lambda request: completion("5"))
    assert rater_name(model) == "judge-2026-01-31"
    undated = ModelWish("big-judge", endpoint="https://host.invalid/v1").made()
    with pytest.raises(ConfigError, match="--judge-revision"):
        rater_name(undated)
    assert rater_name(undated, "r2") == "big-judge@r2"
