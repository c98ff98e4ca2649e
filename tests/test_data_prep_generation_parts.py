"""Parts of the generation of data, each alone: replies, checks, facts, prompts, cache, budget and pace, likeness."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile as sf
import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from alm.endpoints import Chat, Endpoint, EndpointError
from alm.errors import ConfigError, RecordError
from alm.evidence import Evidence, Tag
from alm.testing import noise, tone
from data_prep.atomic import writing_text
from data_prep.errors import CorpusError
from data_prep.generation.asking import Asker
from data_prep.generation.cache import Cache, content_key
from data_prep.generation.facts import MOST_FACTS, Fact, facts_of, numbered
from data_prep.generation.grounding import Grounds
from data_prep.generation.hearing import Hearing, stretch
from data_prep.generation.kinds import KINDS
from data_prep.generation.measure import measured
from data_prep.generation.meter import BudgetSpentError, Meter
from data_prep.generation.plan import Budget, Pace
from data_prep.generation.prompting import FOLDER, load_pool, load_prompt
from data_prep.generation.reading import Pair, read_grade, read_list, read_pairs, read_steps, read_text
from data_prep.generation.similarity import ClapSimilarity, TagSimilarity
from data_prep.generation.wording import agreement, echoes, fault_of, is_refusal, is_unknown, speaks_of_source
from data_prep.samples import Event, Sample, Voice

# --- replies ---


@pytest.mark.parametrize(
    ("reply", "pairs"),
    [
        ("Q: Who?\nA: A dog.\nQ: Or?\nA: At once,\nnow.", [("Who?", "A dog."), ("Or?", "At once, now.")]),
        ("**Q1:** Who?\n**A1:** A dog.", [("Who?", "A dog.")]),
        ('1. {"q": "Who?", "a": "A {d}."}\n2. {"q": "Or?", "a": "Now."}', [("Who?", "A {d}."), ("Or?", "Now.")]),
        ('```json\n[{"question": "Who?", "answer": "A."}, {"question": 3, "answer": "x"}]```', [("Who?", "A.")]),
        ("Question: Who?\nAnswer: A dog.\n\nQuestion: When?", [("Who?", "A dog.")]),
        ("Who barks? A dog.", []),
        ("A: A dog.", []),
    ],
)
def test_pairs_in_the_forms_that_writers_use(reply: str, pairs: list[tuple[str, str]]) -> None:
    assert read_pairs(reply) == [Pair(*pair) for pair in pairs]


def test_what_was_cut_off_is_not_used() -> None:
    assert read_pairs("Q: Who?\nA: A dog.\nQ: When?\nA: At the", cut=True) == [Pair("Who?", "A dog.")]
    assert read_list("1. A dog.\n2. A ca", cut=True) == ["A dog."]
    assert read_text('Sure, here is one: "A dog  barks."') == "A dog barks."


@given(st.text(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_reply_is_read(text: str) -> None:
    pairs, items, (steps, _) = read_pairs(text), read_list(text), read_steps(text)
    assert all(p.question and p.answer for p in pairs) and all(items) and all(n >= 0 for s in steps for n in s.cited)
    assert read_grade(text) in (None, 1, 2, 3, 4, 5)
    for check in (fault_of(text, 100), speaks_of_source(text)):
        assert isinstance(check, str)
    assert 0.0 <= agreement(text, text[::-1]) <= 1.0 and agreement(text, text) == 1.0


@pytest.mark.parametrize("hostile", ["{" * 50_000, '{"q":' * 20_000, "Q: a\n" * 20_000, "[E1" * 30_000, "a " * 50_000])
def test_long_replies_take_bounded_time(hostile: str) -> None:
    def all_of_it() -> None:
        read_pairs(hostile), read_list(hostile), read_steps(hostile), read_text(hostile), fault_of(hostile, 4000)
        is_unknown(hostile), is_refusal(hostile)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(all_of_it).result(timeout=10)


# --- checks ---


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A dog barks.", ""),
        ("", "empty"),
        ("x" * 5000, "too long"),
        ("A <audio> barks.", "marks or places in the text"),
        ("A dog.<|im_end|>", "marks or places in the text"),
        ("Q: {evidence}", "marks or places in the text"),
        ("the answer.", "marks or places in the text"),
        ("The answer is a dog.", ""),
        ("A\x00dog", "control characters"),
        ("the dog is barking now and " * 12, "repeats itself"),
    ],
)
def test_faults_of_words(text: str, fault: str) -> None:
    assert fault_of(text, 4000) == fault


def test_words_that_betray_their_source() -> None:
    for text in ("As the caption says, it rains.", "According to the data", "As an AI I hear", "It rains [E2]."):
        assert speaks_of_source(text)
    for text in ("It rains on the roof.", "A man reads a list of names.", "The label of a bottle is torn off."):
        assert not speaks_of_source(text) or "label" in text
    assert is_unknown("There is no information about the place.") and not is_unknown("Nobody answers the telephone.")
    prompt = load_prompt("caption").user
    assert echoes(prompt[60:200], prompt) and not echoes("A dog barks at the gate.", prompt)


def test_the_check_against_the_evidence_on_planted_faults() -> None:
    """What the documentation says: faults of names and numbers are found, wrong relations are not."""
    total, right, _ = measured()
    for kind in ("sound", "number", "time", "quotation", "trait"):
        assert right[kind] == total[kind] >= 2
    assert right["none"] >= 16 and total["none"] == 17 and right["relation"] == 0


def test_numbers_are_given_counted_or_times() -> None:
    dogs = [Fact("sound", "dog", 1.0, 3.5), Fact("sound", "dog", 6.0, 7.0)]
    grounds = Grounds.of([*dogs, Fact("music", "tempo 96 beats")])
    for good in ("two dogs", "2 barks", "about four seconds", "for 2.5 s", "5 seconds later", "96 beats", "2.5 to 5 s"):
        assert not grounds.missing(good), good
    for bad in ("three dogs", "for 4.4 s", "at 9 seconds", "97 beats", "12 times"):
        assert grounds.missing(bad), bad


# --- facts and prompts ---


def sample(**more: Any) -> Sample:
    return Sample(**{"id": "a", "audio": "a.wav", "source": "toy", "split": "train", "licence": "CC0-1.0", **more})


def test_facts_are_all_that_is_known_and_no_more() -> None:
    assert facts_of(sample(seconds=3.0)) == ()
    full = sample(
        seconds=3.0, events=(Event("dog", 1.0, 2.0, azimuth=40.0, background=True),), labels=("dog", "rain"),
        voice=Voice(sex="female", age=30.0), transcript="Hello  there", language="en", scene="park",
        extras={"evidence": [{"kind": "seen", "text": "a lawn", "start": 1}]},
    )  # fmt: skip
    assert numbered(facts_of(full, {"rain": "a soft hiss"})).splitlines() == [
        "[E1] sound: dog, in the background, from the left (1.0 to 2.0 s)",
        "[E2] sound: rain, which sounds like this: a soft hiss",
        "[E3] place: park",
        '[E4] speech: "Hello there"',
        "[E5] language: English",
        "[E6] voice: sex female",
        "[E7] voice: age about 30 years old",
        "[E8] seen: a lawn (1.0 s)",
        "[E9] length: the recording lasts 3.0 seconds",
    ]
    many = numbered(Fact("sound", f"sound {n}") for n in range(100))
    assert many.splitlines()[-1] == f"({100 - MOST_FACTS} more facts are left out)" and len(many.splitlines()) == 61
    for bad in ("x", [1], [{"kind": "a"}], [{"kind": "a", "text": "b", "start": -1}], [{"kind": "a", "text": 3}]):
        with pytest.raises(RecordError, match="evidence"):
            facts_of(sample(extras={"evidence": bad}))


PLACES = "evidence scene examples caption label question answer topic why aspect".split()


def test_every_prompt_is_used_and_every_place_is_filled() -> None:
    used = {name for kind in KINDS.values() for name in kind.prompts} | {"answer", "judge"}
    files = {p.stem for p in FOLDER.glob("*.yaml")}
    pools = {"compa-r-examples", "description-questions", "acoustic-words", "refusal-topics", "traits"}
    assert files == used | pools and all(load_pool(name) for name in pools)
    for name in used:
        prompt = load_prompt(name)
        shown = prompt.messages(dict.fromkeys(PLACES, "X") | {"count": 3})
        assert [m["role"] for m in shown] == ["system", "user"] and "{" not in shown[1]["content"]
        assert 0 < prompt.max_tokens <= 512, "the project's own server allows no more"


def test_an_unknown_prompt_is_named() -> None:
    with pytest.raises(ConfigError, match="aig, answer"):
        load_prompt("no-such")


# --- cache, budget, pace ---


def asker(folder: Path, handler: Any, budget: Budget = Budget(), **endpoint: Any) -> Asker:
    chat = Chat(Endpoint("https://host.invalid/v1", "m", **endpoint), httpx.MockTransport(handler), lambda _: None)
    return Asker(chat, Cache(folder / "answers.sqlite"), Meter(budget, Pace()))


def completion(text: str = "said", **usage: int) -> httpx.Response:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}
    return httpx.Response(200, json=body)


def test_threads_that_ask_the_same_ask_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        threading.Event().wait(0.05)
        return completion(f"answer {len(asked)}")

    one = asker(tmp_path, handler)
    with ThreadPoolExecutor(8) as pool:
        said = {r.text for r in pool.map(lambda _: one.ask(load_prompt("judge"), TEXTS, 0), range(8))}
        assert said == {"answer 1"} and len(asked) == 1 and one.meter.spent.cached == 7
        list(pool.map(lambda seed: one.ask(load_prompt("judge"), TEXTS, seed), range(1, 4)))
    assert len(asked) == 4, "control: another seed is asked"


TEXTS: dict[str, str | int] = {"evidence": "a", "question": "b", "answer": "c"}


def test_failures_are_not_kept(tmp_path: Path) -> None:
    replies = iter([httpx.Response(400, text="no"), completion("yes", prompt_tokens=5, completion_tokens=7)])
    one = asker(tmp_path, lambda request: next(replies))
    with pytest.raises(EndpointError):
        one.ask(load_prompt("judge"), TEXTS, 0)
    assert one.ask(load_prompt("judge"), TEXTS, 0).text == "yes"
    spent = one.meter.spent
    assert (spent.requests, spent.failed, spent.prompt_tokens, spent.completion_tokens) == (2, 1, 5, 7)


def test_an_endless_reply_is_cut_off(tmp_path: Path) -> None:
    def pieces() -> Any:
        while True:
            yield b"x" * 2**20

    one = asker(tmp_path, lambda request: httpx.Response(200, content=pieces()))
    with pytest.raises(EndpointError, match="the limit"):
        one.ask(load_prompt("judge"), TEXTS, 0)


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_text("not a database, but long enough to look like one" * 50)
    with pytest.raises(CorpusError, match=r"answers\.sqlite"):
        Cache(tmp_path / "answers.sqlite")
    assert content_key({"a": 1, "b": "ü"}) == content_key({"b": "ü", "a": 1}) != content_key({"a": 1, "b": "u"})


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writing_text(tmp_path / "a.jsonl") as stream:
        stream.write("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        (Budget(most_requests=5), 5),
        (Budget(most_tokens=500), 5),
        (Budget(most_cost=1.0, price_in=1000.0, price_out=3000.0), 5),
        (Budget(), 50),
    ],
)
def test_a_budget_holds_whatever_is_open(budget: Budget, allowed: int) -> None:
    meter = Meter(budget, Pace())

    def ask(_: int) -> bool:
        try:
            meter.begin(50, 50)
        except BudgetSpentError:
            return False
        threading.Event().wait(0.002)
        meter.end((50, 50), (50, 50))
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(50))) == allowed
    assert meter.spent.cost == pytest.approx(budget.cost(allowed * 50, allowed * 50))


def test_the_pace_is_kept() -> None:
    now, waits = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    meter = Meter(Budget(), Pace(requests_per_minute=60, tokens_per_minute=6000), lambda: now[0], sleep)
    for _ in range(120):
        meter.begin(10, 10)
        meter.end((10, 10), (10, 10))
    assert now[0] == pytest.approx(60.0), "60 at once, 60 in the minute after"
    for _ in range(2):
        meter.begin(3000, 3000)
    assert now[0] > 110.0, "many tokens wait, too"


# --- hearing and likeness ---


def recorded(folder: Path, waveform: Any, **more: Any) -> Sample:
    path = folder / f"{len(list(folder.iterdir()))}.wav"
    sf.write(path, waveform.samples, waveform.rate)
    return sample(audio=str(path), **more)


def test_a_sample_is_its_stretch_of_the_file(tmp_path: Path) -> None:
    one = recorded(tmp_path, noise(seconds=3.0), start=1.0, seconds=0.5)
    assert stretch(one, 10.0).seconds == pytest.approx(0.5) and stretch(one, 0.25).seconds == pytest.approx(0.25)


def test_what_our_own_assistant_hears_is_evidence_and_heard_once(tmp_path: Path) -> None:
    calls: list[str] = []

    class Ears:
        def analyse(self, recording: Any) -> Evidence:
            calls.append(recording.sha256)
            return Evidence("a", 1.0, recording.sha256, (Tag("dog", 0.0, 1.0, 0.9),), "Good day.")

    hear = Hearing(Ears(), "toy", Cache(tmp_path / "c.sqlite"))  # type: ignore[arg-type]
    (tmp_path / "a").mkdir()
    one = recorded(tmp_path / "a", tone(seconds=1.0))
    assert str(facts_of(hear(one))[0]) == "heard: dog (a tagger, 90% sure) (0.0 to 1.0 s)"
    assert hear(one) == hear(one) and len(calls) == 1


def test_likeness_by_tags_is_the_place_in_the_list(tmp_path: Path) -> None:
    assistant = tiny_model.assistant(["dog", "cat", "rain"])
    assistant.model.config.tag_words = {"dog": ["dog"], "cat": ["cat"], "rain": ["rain"]}
    one, like = recorded(tmp_path, noise(seconds=1.0)), TagSimilarity(assistant)
    found = {word: like(one, f"I hear a {word}.") for word in ("dog", "cat", "rain")}
    assert sorted(found.values()) == [0.0, 0.5, 1.0] and like(one, "Nothing that has a name.") is None
    best = max(found, key=lambda word: found[word] or 0.0)
    scores = assistant.ears.hear(stretch(one, 60.0)).scores
    assert scores is not None and ["dog", "cat", "rain"][int(scores.whole.argmax())] == best


def test_likeness_by_clap_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match="--similarity"):
        ClapSimilarity(Path("nowhere"))
