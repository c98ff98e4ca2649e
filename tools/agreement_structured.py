"""Published scorers of words, spans, numbers, entities, labels in JSON and located sounds beside ours."""

from __future__ import annotations

import ast
import json
import math
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from eval.harness.items import StructuredWant
from eval.kinds.base import Row
from eval.official.dcase import FRAMES_PER_SECOND, frames_2019
from eval.official.teleantifraud import FRAUD_TYPES, SCENES
from eval.scorers.events import Event, in_frames
from tools.agreement_common import Agreement, figure, item_of, row_of
from tools.agreement_official import functions, run_script


def _total(what: str, rows: Sequence[Row], official: float, ours: float, note: str = "") -> Agreement:
    """A figure of all rows together: either all agree or nobody can say which do not."""
    same = len(rows) if math.isclose(official, ours, rel_tol=1e-6, abs_tol=1e-6) else 0
    return Agreement(what, len(rows), same, official, ours, note)


# --- BLAB ---


def blab(checkout: Path, count: int) -> list[Agreement]:
    """The whole script, task by task, on the answers at which it does not stop."""
    lines = [_blab_lists(checkout, count, task, name) for task, name in LISTS.items()]
    return [*lines, *(_blab_numbers(checkout, count, task) for task in NUMBERS)]


LISTS = {"word_localization": "blab-words", "advertisement_localization": "blab-spans"}
NUMBERS = {
    "speaker_number_estimation": ("blab-count", "official", "accuracy"),
    "entire_duration": ("blab-duration", "official_offset", "accuracy_with_offset_2_seconds"),
    "event_duration": ("blab-duration", "official_offset", "accuracy_with_offset_2_seconds"),
}


def _ran(checkout: Path, task: str, gold: list[dict[str, Any]], said: list[dict[str, Any]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("gold.json", "said.json")]
        for place, rows in zip(places, (gold, said), strict=True):
            place.write_text(json.dumps(rows))
        arguments = ("--groundtruth_file", str(places[0]), "--predictions_file", str(places[1]))
        printed = run_script(checkout / "compute_task_metrics.py", "--task", task, *arguments, folder=checkout)
    found = re.findall(r"Metrics are: (\{.*\})", printed)
    numbers: dict[str, float] = ast.literal_eval(re.sub(r"np\.float64\(([^)]*)\)", r"\1", found[-1]))
    return numbers


def _blab_lists(checkout: Path, count: int, task: str, rule: str) -> Agreement:
    rng = random.Random(7)
    words = rule == "blab-words"
    gold, said, rows = [], [], []
    for number in range(count):
        wanted = _stretches(rng, "word" if words else "text")
        text = _said_list(rng, wanted, "word" if words else "advertisement")
        keyed = wanted if words else {"ads_segment": wanted, "word_timestamp": _stamps(wanted)}
        gold.append({"audio": f"{number}.wav", "question": "When?", "groundtruth": keyed})
        said.append({"audio": f"{number}.wav", "prompt": "When?", "prediction": text})
        options = {} if words else {"words_end": 29.5}
        want = StructuredWant(form="words" if words else "spans", answer=wanted, options=options)
        rows.append(row_of(item_of(want, rule, number), text))
    told = _ran(checkout, task, gold, said)
    official = next(v for k, v in told.items() if k.lower().startswith(("f1", "frame_f1", "frame-f1")))
    scale = 100.0 if official <= 1 else 1.0
    return _total(f"{rule}: F1", rows, scale * official, 100 * figure(rows, "official"))


def _stretches(rng: random.Random, key: str) -> list[dict[str, Any]]:
    starts = sorted(rng.sample(range(25), rng.randint(1, 5)))
    return [{key: f"w{s}", "start": s + 0.25, "end": s + rng.choice((0.5, 0.75, 1.0))} for s in starts]


def _stamps(wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Words of the recording; `#` marks those of a wanted span, which a word without it ends."""
    found = []
    for one in wanted:
        found.append({"word": "#" + one["text"], "start": one["start"], "end": one["end"]})
        found.append({"word": "x", "start": one["end"], "end": one["end"]})
    return [*found, {"word": "x", "start": 29.0, "end": 29.5}]


def _said_list(rng: random.Random, wanted: Sequence[dict[str, Any]], key: str) -> str:
    if rng.random() < 0.1:
        return rng.choice(("", "[]", "I cannot tell.", "None"))
    name = "word" if key == "word" else "text"
    found = []
    for one in wanted:
        if rng.random() < 0.8:
            shift = rng.choice((0.0, 0.1, -0.1, 0.3, 0.5))
            found.append({key: one[name], "start": one["start"] + shift, "end": one["end"] + shift})
    if rng.random() < 0.3:
        found.append({key: "other", "start": 26.0, "end": 27.5})
    text = json.dumps(found)
    return f"```json\n{text}\n```" if rng.random() < 0.3 else text


def _blab_numbers(checkout: Path, count: int, task: str) -> Agreement:
    rule, key, told_key = NUMBERS[task]
    rng, gold, said, rows = random.Random(8), [], [], []
    dropped = 0
    for number in range(count):
        want, keyed, text = _number(rng, task)
        row = row_of(item_of(want, rule, number), text)
        if row.scored.parts.get("left_out"):
            dropped += 1
            continue
        asked = f"How long? {number}"
        gold.append({"audio": f"{number}.wav", "question": asked, **keyed})
        suffix = ". Provide only the numeric value as an integer without any explanation. Do not use the MM:SS format."
        said.append({"audio": f"{number}.wav", "prompt": asked + suffix, "prediction": text})
        rows.append(row)
    told = _ran(checkout, task, gold, said)
    note = f"the script stops at {dropped} of {count} answers, left out here"
    return _total(f"{rule}: {task}", rows, told[told_key], 100 * figure(rows, key), note)


def _number(rng: random.Random, task: str) -> tuple[StructuredWant, dict[str, Any], str]:
    value = rng.randint(1, 90)
    near = value + rng.choice((0, 0, 0, 1, 2, 3, -2, 7))
    forms = ("{n}", "{n} ", "about {n} seconds", "0:{n:02d}", "{n}.0", "three", "{n} or 3", "1:02:03", "{n}s", "")
    text = rng.choice(forms).format(n=max(0, near))
    if task == "speaker_number_estimation":
        if rng.random() < 0.3:
            ends = [value, value + 2]
            return StructuredWant(form="range", answer=ends), {"groundtruth": str(ends)}, text
        return StructuredWant(form="number", answer=value), {"groundtruth": value}, text
    if task == "entire_duration":
        return StructuredWant(form="number", answer=value, unit="s"), {"groundtruth": value}, text
    unit = rng.choice(("seconds", "minutes"))
    seconds = value * (60 if unit == "minutes" else 1)
    want = StructuredWant(form="number", answer=seconds, unit="s", options={"asked_unit": unit})
    return want, {"groundtruth": str(value), "answer_type": unit}, text


# --- SLUE, TeleAntiFraud ---


TAGS = ("PLACE", "WHEN")


def slue_ner(checkout: Path, count: int) -> list[Agreement]:
    script = checkout / "slue_toolkit/eval/eval_utils_ner.py"
    names = ("get_ner_stats", "safe_divide", "get_metrics", "get_ner_scores")
    told = functions(script, *names, np=np, defaultdict=defaultdict)["get_ner_scores"]
    rng, golds, saids, rows = random.Random(9), [], [], []
    for number in range(count):
        gold = [(rng.choice(TAGS), rng.choice(("france", "today", "eu"))) for _ in range(rng.randint(0, 4))]
        said = [g for g in gold if rng.random() < 0.7] + [("QUANT", "two")] * rng.randint(0, 1)
        rng.shuffle(said)
        golds.append(_copies(gold))
        saids.append(_copies(said))
        text = json.dumps([{"label": tag, "text": phrase} for tag, phrase in said])
        want = StructuredWant(form="entities", answer=[list(g) for g in gold])
        rows.append(row_of(item_of(want, "slue-ner", number), text))
    official = 100 * float(told(golds, saids)["overall_micro"]["fscore"])
    return [_total("slue-ner: micro F1", rows, official, 100 * figure(rows, "official"))]


def _copies(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """Tag, phrase, and which copy of the two it is."""
    seen: dict[tuple[str, str], int] = defaultdict(int)
    found = []
    for pair in pairs:
        found.append((*pair, seen[pair]))
        seen[pair] += 1
    return found


def teleantifraud(checkout: Path, count: int) -> list[Agreement]:
    script = checkout / "evaluation/compute_classification_metrics.py"
    tasks = {
        "scene": ("scene", SCENES, "teleantifraud-scene"),
        "fraud": ("is_fraud", (True, False), "teleantifraud-fraud"),
        "fraud_type": ("fraud_type", FRAUD_TYPES, "teleantifraud-type"),
    }
    lines = []
    for task, (key, labels, rule) in tasks.items():
        rng, records, rows = random.Random(10), [], []
        for number in range(count):
            gold, pick = rng.choice(labels), rng.choice(labels)
            text = _fraud_answer(rng, key, gold if rng.random() < 0.6 else pick)
            records.append({"answer": gold, "prediction": text})
            want = StructuredWant(form="labels", answer={key: gold})
            rows.append(row_of(item_of(want, rule, number), text))
        told = _fraud_metrics(script, task, records)
        lines += [
            _total(f"{rule}: {name}", rows, 100 * told[theirs], 100 * figure(rows, ours))
            for name, theirs, ours in (
                ("accuracy", "accuracy", "official"),
                ("macro F1", "macro_f1", "official_macro_f1"),
                ("weighted F1", "weighted_f1", "official_weighted_f1"),
            )
        ]
    return lines


def _fraud_answer(rng: random.Random, key: str, value: Any) -> str:
    whole = json.dumps({key: value, "reason": "x", "confidence": 0.9}, ensure_ascii=False)
    plain = f"{key} is {str(value).lower()}" if isinstance(value, bool) else f"应该是{value}。"
    forms = (whole, f"<answer>{whole}</answer>", f"```json\n{whole}\n```", whole[:-9], plain, "无法判断", "{}", "true")
    return rng.choice(forms)


def _fraud_metrics(script: Path, task: str, records: Sequence[dict[str, Any]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        place, out = Path(folder) / "rows.jsonl", Path(folder) / "out.json"
        place.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
        run_script(script, "--input", str(place), "--output", str(out), "--task", task, folder=Path(folder))
        found: dict[str, float] = json.loads(out.read_text())
    return found


# --- DCASE ---

CLASSES, SECONDS = ("dog", "knock", "speech"), 12.0


def _events(rng: random.Random) -> list[Event]:
    """Of one class never two at once, which the 2019 arrays cannot hold."""
    found = []
    for label in CLASSES:
        at = 0.0
        while (start := at + rng.random() * 4) < SECONDS - 2:
            at = start + 0.5 + rng.random() * 2
            azimuth, elevation = rng.randrange(-18, 18) * 10, rng.randrange(-4, 5) * 10
            found.append(Event(label, round(start, 2), round(at, 2), azimuth, elevation))
            at += 0.2
    return found


def _heard(rng: random.Random, events: Sequence[Event]) -> list[Event]:
    kept = [e for e in events if rng.random() < 0.8]
    moved = [(e, rng.choice((0, 0, 10, 20, 40))) for e in kept]
    return [Event(e.label, e.start, round(e.end - 0.1, 2), e.azimuth + by, e.elevation) for e, by in moved]


def _as_object(event: Event) -> dict[str, Any]:
    return {
        "class": event.label, "start": event.start, "end": event.end, "azi": event.azimuth, "ele": event.elevation,
    }  # fmt: skip


def _scenes(count: int, rule: str) -> tuple[list[tuple[list[Event], list[Event]]], list[Row]]:
    rng, scenes, rows = random.Random(11), [], []
    for number in range(count):
        gold = _events(rng)
        said = _heard(rng, gold)
        options = {"classes": CLASSES, "seconds": SECONDS}
        want = StructuredWant(form="events", answer=[_as_object(e) for e in gold], options=options)
        rows.append(row_of(item_of(want, rule, number), json.dumps([_as_object(e) for e in said])))
        scenes.append((gold, said))
    return scenes, rows


def seld_2019(checkout: Path, count: int) -> list[Agreement]:
    """Arrays of all recordings one after another, as the challenge's script fills them."""
    script = checkout / "metrics/evaluation_metrics.py"
    names = (
        "reshape_3Dto2D", "f1_overall_framewise", "er_overall_framewise", "f1_overall_1sec", "er_overall_1sec",
        "compute_sed_scores", "compute_doa_scores_regr", "distance_between_gt_pred",
        "distance_between_spherical_coordinates_rad", "compute_seld_metric",
    )  # fmt: skip
    told = functions(script, *names, np=np, eps=np.finfo(float).eps, linear_sum_assignment=linear_sum_assignment)
    scenes, rows = _scenes(max(500, count // 4), "seld-2019")
    gold, said = (np.concatenate([_array(s[k]) for s in scenes]) for k in (0, 1))
    size = len(CLASSES)
    er, f = told["compute_sed_scores"](said[:, :size], gold[:, :size], FRAMES_PER_SECOND)
    doa = told["compute_doa_scores_regr"](said[:, size:], gold[:, size:], said[:, :size], gold[:, :size])
    both = told["compute_seld_metric"]([er, f], doa[:2])
    pairs = (
        ("error rate", er, "official_er", 1), ("F1", f, "official_f", 1), ("DOA error", doa[0], "official_doa", 1),
        ("frame recall", doa[1], "official_fr", 1), ("score", both, "official", 1),
    )  # fmt: skip
    return [_total(f"seld-2019: {name}", rows, float(v), figure(rows, key)) for name, v, key, _ in pairs]


def _array(events: Sequence[Event]) -> Any:
    """`[frames, classes]` of who is there, then azimuths, then elevations in radians."""
    size, frames = len(CLASSES), round(SECONDS * FRAMES_PER_SECOND)
    table = np.zeros((frames, 3 * size))
    for one in frames_2019(events, frames):
        place = CLASSES.index(one.label)
        table[one.first : one.end, place] = 1
        table[one.first : one.end, size + place] = math.radians(one.azimuth)
        table[one.first : one.end, 2 * size + place] = math.radians(one.elevation)
    return table


def seld_2020(checkout: Path, count: int) -> list[Agreement]:
    from eval.kinds.forms.events import JOINT_FRAMES_PER_SECOND as RATE

    script = checkout / "metrics/SELD_evaluation_metrics.py"
    old = SimpleNamespace(**{n: getattr(np, n) for n in dir(np) if not n.startswith("_")}, float=float)
    names = ("SELDMetrics", "distance_between_spherical_coordinates_rad", "least_distance_between_gt_pred")
    told = functions(script, *names, np=old, eps=np.finfo(float).eps, linear_sum_assignment=linear_sum_assignment)
    metrics = told["SELDMetrics"](nb_classes=len(CLASSES), doa_threshold=20)
    scenes, rows = _scenes(max(500, count // 4), "seld-2020")
    for gold, said in scenes:
        metrics.update_seld_scores(_blocks(said, RATE), _blocks(gold, RATE))
    figures = metrics.compute_seld_scores()
    keys = ("official_er_20", "official_f_20", "official_le_cd", "official_lf_cd")
    return [
        _total(f"seld-2020: {key.removeprefix('official_')}", rows, float(value), figure(rows, key))
        for key, value in zip(keys, figures, strict=True)
    ]


def _blocks(events: Sequence[Event], rate: int) -> dict[int, dict[int, Any]]:
    """By second and class: frames, and for each the directions."""
    found: dict[int, dict[int, Any]] = {n: {} for n in range(round(SECONDS))}
    for one in sorted(in_frames(events, rate, round(SECONDS * rate)), key=lambda e: e.first):
        for frame in range(one.first, one.end):
            second, place = divmod(frame, rate)
            own = found[second].setdefault(CLASSES.index(one.label), [[[], []]])
            own[0][0].append(place)
            own[0][1].append([[one.azimuth, one.elevation]])
    return found
