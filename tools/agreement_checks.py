"""Each published scorer beside ours on the same invented rows."""

from __future__ import annotations

import ast
import json
import math
import random
import re
import string
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from eval.harness.answers import Answered
from eval.harness.items import ChoiceWant, LabelWant, PairWant, TranscriptWant
from eval.kinds import KINDS
from eval.kinds.base import LabelSet, Row, Surroundings
from eval.kinds.embedded import ltu_phrase, similarities
from eval.kinds.label_measures import mean_average_precision
from eval.official.words import gender, helm_normalised, quasi_exact, quasi_prefix
from tools import agreement_structured as structured
from tools.agreement_common import NOWHERE, Agreement, figure, item_of, paired, row_of
from tools.agreement_official import functions, run_script, statements
from tools.agreement_rows import LETTERS, SOUNDS, Question, questions, sentences

# --- choices ---


def _asked(found: Sequence[Question], official: str) -> list[Row]:
    wants = [ChoiceWant(choices=q.choices, answer=q.answer) for q in found]
    return [row_of(item_of(w, official, n), q.said) for n, (w, q) in enumerate(zip(wants, found, strict=True))]


def _plain(said: str | None) -> str | None:
    """As the harness gives an answer to a rule: without blanks around it."""
    return None if said is None else said.strip()


def mmau(checkout: Path, count: int, script: str = "evaluation.py", name: str = "mmau") -> list[Agreement]:
    """The script's total, and its matcher row by row."""
    found = list(questions(count))
    rows = _asked(found, name)
    match = functions(checkout / script, "string_match", re=re)["string_match"]
    fields = {"model_output": "mmau", "answer_prediction": "mmar"}
    key = next(k for k, v in fields.items() if v == name)
    lines = [
        {
            "id": str(n), "answer": q.choices[q.answer], "choices": q.choices, "task": "sound", "difficulty": "easy",
            "modality": "sound", "category": "Signal Layer", **({} if q.said is None else {key: _plain(q.said)}),
        }
        for n, q in enumerate(found)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        path.write_text(json.dumps(lines))
        printed = run_script(checkout / script, "--input", str(path), folder=Path(folder))
    total = re.search(r"Total Accuracy: ([\d.]+)% over (\d+)", printed)
    assert total, printed[-300:]
    given = [(q, r) for q, r in zip(found, rows, strict=True) if q.said is not None]
    same = sum(match(q.choices[q.answer], _plain(q.said), q.choices) == bool(r.scored.official) for q, r in given)
    note = f"the script counts {total[2]} of {count} rows; ours over all: {100 * figure(rows, 'official'):.2f}"
    ours = 100 * figure(rows, "official_kept")
    return [Agreement(f"{name}: word sets", len(given), same, float(total[1]), ours, note)]


def mmar(checkout: Path, count: int) -> list[Agreement]:
    return mmau(checkout, count, "code/evaluation.py", "mmar")


def air(checkout: Path, count: int) -> list[Agreement]:
    """Each row is a task of its own beside a row that always counts: the script cannot end a task without any."""
    found = [q for q in questions(count, most=4, missing=0.0) if len(set(q.choices)) == len(q.choices)]
    rows = _asked(found, "air-foundation")
    lines = []
    for number, question in enumerate(found):
        own = dict(zip(("choice_a", "choice_b", "choice_c", "choice_d"), question.choices, strict=False))
        line = {**own, "answer_gt": question.choices[question.answer], "task_name": str(number), "dataset_name": "x"}
        lines += [{**line, "response": question.said}, {**line, "response": LETTERS[question.answer]}]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "Foundation_result_modelx.jsonl"
        place.write_text("".join(json.dumps(line) + "\n" for line in lines))
        printed = run_script(checkout / "score_foundation.py", folder=Path(folder))
    each = re.findall(r"^(\d+)_x: Sum=(\d), correct=(\d)", printed, re.MULTILINE)
    told = {int(n): (int(s) - 1, int(c) - 1) for n, s, c in each}
    ours = {n: (1 - int("left_out" in r.scored.parts), int(r.scored.official or 0)) for n, r in enumerate(rows)}
    counted, right = (sum(t[k] for t in told.values()) for k in (0, 1))
    note = f"the script counts {counted} of {len(rows)} rows; ours over all: {100 * figure(rows, 'official'):.2f}"
    same = sum(told[n] == ours[n] for n in ours)
    official, kept = 100 * right / counted, 100 * figure(rows, "official_kept")
    return [Agreement("air-foundation: first character", len(rows), same, official, kept, note)]


WORDS = tuple(dict.fromkeys(w for s in SOUNDS for w in s.lower().split()))


def toy(texts: Sequence[str]) -> Any:
    """A stand-in for an embedder, for both sides: which words occur, and how often each letter."""
    letters = string.ascii_letters
    rest = [0.01 + 0.003 * n for n in range(len(letters))]  # no two options are equally near by chance
    spelt = [[0.1 * t.count(c) + r for c, r in zip(letters, rest, strict=True)] for t in texts]
    table = [[*(w in t.lower() for w in WORDS), *own] for t, own in zip(texts, spelt, strict=True)]
    vectors = np.array(table, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class _Encoder:
    """As the script calls NV-Embed."""

    def encode(self, texts: Sequence[str], **_: Any) -> Any:
        import torch

        return torch.tensor(np.asarray(toy(texts)))


def mmau_pro(checkout: Path, count: int) -> list[Agreement]:
    """The closed route with one stand-in embedder on both sides."""
    import torch

    found = list(questions(count, missing=0.0))
    script = checkout / "evaluate_mmau_pro_comprehensive.py"
    nearest = functions(
        script, "evaluate_closedended_with_nvembed", torch=torch, F=torch.nn.functional, tqdm=iter, print=_silent
    )["evaluate_closedended_with_nvembed"]
    said = [_plain(q.said) or "" for q in found]
    golds = [q.choices[q.answer] for q in found]
    picks, _ = nearest(_Encoder(), golds, [list(q.choices) for q in found], golds, said, golds)
    items = [item_of(ChoiceWant(choices=q.choices, answer=q.answer), "mmau-pro", n) for n, q in enumerate(found)]
    answers = [Answered(id=i.id, key="", text=s) for i, s in zip(items, said, strict=True)]
    near = {j.id: j for j in similarities(zip(items, answers, strict=True), NOWHERE, toy, "stand-in")}
    rows = [row_of(i, s, judged=[near[i.id]] if i.id in near else []) for i, s in zip(items, said, strict=True)]
    asked = [n for n, r in enumerate(rows) if r.scored.official is not None and said[n]]
    empty = sum(not s for s in said)
    refused = len(rows) - len(asked) - empty
    note = f"empty answers ({empty}) and refusals ({refused}) get an option from the script and none from ours"
    pairs = [(picks[n] == golds[n], bool(rows[n].scored.official)) for n in asked]
    return [paired("mmau-pro: nearest option", pairs, note)]


def _silent(*_: object) -> None:
    """Scripts print much."""


def blab(checkout: Path, count: int) -> list[Agreement]:
    script = checkout / "src/metrics/all_tasks_metrics.py"
    pick = functions(script, "extract_final_choice", re=re)["extract_final_choice"]
    found = list(questions(count, missing=0.0))
    told = [pick(_plain(q.said), LETTERS[: len(q.choices)]) == LETTERS[q.answer] for q in found]
    ours = [bool(r.scored.official) for r in _asked(found, "blab-emotion")]
    return [paired("blab-emotion: last letter", list(zip(told, ours, strict=True)))]


def helm(checkout: Path, count: int) -> list[Agreement]:
    import jiwer

    script = checkout / "src/helm/benchmark/metrics/evaluate_reference_metrics.py"
    names = ("normalize_text", "quasi_exact_match", "quasi_prefix_exact_match", "wer_score")
    told = functions(script, *names, re=re, string=string)
    found = [(q.choices[q.answer], _plain(q.said) or "") for q in questions(count, missing=0.0)]
    lines = []
    for name, ours in (("quasi_exact_match", quasi_exact), ("quasi_prefix_exact_match", quasi_prefix)):
        pairs = [(bool(told[name](gold, said)), ours(gold, said)) for gold, said in found]
        lines.append(paired(f"ahelm: {name}", pairs))
    heard = list(sentences(count))
    rates = [told["wer_score"](r, h) for r, h in heard]
    rows = [row_of(item_of(TranscriptWant(reference=r), "ahelm-wer", n), h) for n, (r, h) in enumerate(heard)]
    same = sum(told["normalize_text"](r, False) == helm_normalised(r, True) for r, _ in heard)
    corpus = jiwer.wer([helm_normalised(r, True) for r, _ in heard], [helm_normalised(h, True) for _, h in heard])
    note = f"mean of rates, silence perfect; the corpus rate of the same words is {100 * corpus:.2f}"
    mean = 100 * sum(rates) / count
    return [*lines, Agreement("ahelm-wer", count, same, mean, 100 * figure(rows, "official"), note)]


# --- labels ---


def ltu(checkout: Path, count: int) -> list[Agreement]:
    folder = checkout / "src/ltu/eval"
    gender_script = checkout / "src/ltu_as/eval/eval_voxceleb_gender.py"
    return [
        *_ltu_closed(folder / "eval_esc.py", count),
        _ltu_precision(folder / "stats.py", count),
        _ltu_gender(gender_script, count),
    ]


def _ltu_closed(script: Path, count: int) -> list[Agreement]:
    """The script's way from an answer to a class, with one stand-in embedder on both sides."""
    names = [s.lower() for s in SOUNDS[:20]]
    around = Surroundings({"sounds": LabelSet("sounds", dict.fromkeys(names, ()))})
    given = {
        "np": np, "math": math, "num_class": len(names), "embed_cache": {}, "text_embed_setting": "gpt",
        "get_gpt_embedding": lambda text: list(toy([text])[0]),
    }  # fmt: skip
    pick = functions(script, "cosine_similarity", "get_pred", **given)["get_pred"]
    phrase = statements(script, lambda s: isinstance(s, ast.If) and ast.unparse(s.test) == "llm_task == 'caption'")
    labels = {n: list(toy(["sound of " + n])[0]) for n in names}
    rng, pairs, phrases = random.Random(1), [], 0
    for number, (_, heard) in enumerate(sentences(count, seed=2)):
        gold = rng.choice(names)
        named = rng.choice((gold, rng.choice(names)))
        said = f"Audio caption: {rng.choice(('', 'a ', 'some '))}{named} {heard}".strip()
        steps = phrase(llm_task="caption", eval_data=[{"pred": said}], i=0)["cur_pred_list"]
        phrases += steps == [ltu_phrase(said)]
        item = item_of(LabelWant(labels=(gold,), label_set="sounds", mode="open"), "ltu-closed", number)
        judged = list(similarities([(item, Answered(id=item.id, key="", text=said))], around, toy, "stand-in"))
        told = names[int(pick(steps, labels))] == gold
        pairs.append((told, bool(row_of(item, said, around, judged).scored.official)))
    note = f"the embedded phrases are the same in {phrases} of {count} rows"
    return [paired("ltu-closed: nearest label", pairs, note)]


def _ltu_precision(script: Path, count: int) -> Agreement:
    import torch
    from scipy import stats
    from sklearn import metrics

    calculate = functions(script, "calculate_stats", np=np, stats=stats, metrics=metrics, torch=torch, print=_silent)
    rng = np.random.default_rng(0)
    truth, scores = rng.random((count, 12)) < 0.2, rng.random((count, 12)).round(2)
    told = [s["AP"] for s in calculate["calculate_stats"](scores, truth.astype(float))]
    gold = [[int(k) for k in np.flatnonzero(row)] for row in truth]
    ours = mean_average_precision(gold, scores, range(count)).value
    same = count if math.isclose(float(np.mean(told)), ours, abs_tol=1e-9) else 0
    note = "labels without a right item: 0 in the script's mean, left out of ours"
    return Agreement("ltu: mean average precision", count, same, 100 * float(np.mean(told)), 100 * ours, note)


def _ltu_gender(script: Path, count: int) -> Agreement:
    told = functions(script, "gender_cla")["gender_cla"]
    rng = random.Random(3)
    said = ("A female speaker", "male", "The woman", "FEMALE.", "I cannot tell", "", "a male, not a female", "females")
    drawn = [(rng.choice(("male", "female")), rng.choice(said)) for _ in range(count)]
    return paired("ltu-gender", [(told(g, s), gender(g) == gender(s)) for g, s in drawn])


def clotho_aqa(checkout: Path, count: int) -> list[Agreement]:
    """AquaNet's accuracy over class indexes, one row at a time as it is called there, against equal strings."""
    told = functions(checkout / "utils.py", "multiclass_classification_accuracy", np=np)
    words = sorted(set(WORDS))
    around = Surroundings({"words": LabelSet("words", dict.fromkeys(words, ()))})
    rng, pairs = random.Random(4), []
    for number in range(count):
        gold = rng.choice(words)
        said = gold if rng.random() < 0.5 else rng.choice(words)
        scores = np.array([[float(w == said) for w in words]])
        right = told["multiclass_classification_accuracy"](scores, np.array([[words.index(gold)]]))
        item = item_of(LabelWant(labels=(gold,), label_set="words"), "clotho-aqa-exact", number)
        pairs.append((bool(right), bool(row_of(item, said, around).scored.official)))
    return [paired("clotho-aqa-exact: top 1", pairs, "AquaNet chooses a class; here the answer is the word itself")]


# --- pairs and transcripts ---


def compa(checkout: Path, count: int) -> list[Agreement]:
    """The script's loop over groups with random vectors, ours with their cosines."""
    import torch
    import torch.nn.functional as functional

    script = checkout / "evaluation/benchmark_eval.py"
    loop = statements(script, lambda s: isinstance(s, ast.For) and "sim_0_0" in ast.unparse(s), F=functional)
    torch.manual_seed(0)
    vectors = [[torch.randint(-2, 3, (1, 3)).float() for _ in range(count)] for _ in range(4)]
    names = ("text_emb_list", "audio_emb_list", "rev_text_emb_list", "rev_audio_emb_list")
    told = loop(f_score=[], g_score=[], h_score=[], **dict(zip(names, vectors, strict=True)))
    rows: list[Row] = []
    for number, (text, audio, other_text, other_audio) in enumerate(zip(*vectors, strict=True)):
        for a, heard in enumerate((audio, other_audio)):
            for t, said in enumerate((text, other_text)):
                want = PairWant(mode="matrix", cell=f"audio{a}/text{t}")
                near = float(functional.cosine_similarity(said.squeeze(0), heard.squeeze(0), dim=0))
                item = item_of(want, "compa", len(rows), str(number))
                answered = Answered(id=item.id, key="", loglik=(near,))
                rows.append(Row(item, answered, KINDS["pair"].score(item, answered, (), NOWHERE)))
    lines = []
    for key, name in (("f_score", "official_text"), ("g_score", "official_audio"), ("h_score", "official")):
        each = [bool(figure(rows[4 * n : 4 * n + 4], name)) for n in range(count)]
        lines.append(paired(f"compa: {name}", [(bool(t), o) for t, o in zip(told[key], each, strict=True)]))
    return lines


def _edits(first: str, second: str) -> int:
    """What the package `editdistance` gives the script."""
    row = list(range(len(second) + 1))
    for place, letter in enumerate(first, start=1):
        above, row[0] = row[0], place
        for column, other in enumerate(second, start=1):
            least = min(row[column] + 1, row[column - 1] + 1, above + (letter != other))
            above, row[column] = row[column], least
    return row[-1]


def slue(checkout: Path, count: int) -> list[Agreement]:
    from eval.kinds.speech_text import normalised

    loop = statements(
        checkout / "slue_toolkit/eval/eval_whisper_wer.py",
        lambda s: isinstance(s, ast.For) and "editdistance.eval" in ast.unparse(s),
        editdistance=SimpleNamespace(eval=_edits),
    )
    heard = [(r, h) for r, h in sentences(count, seed=5)]
    pairs = [(normalised(r, "whisper-en"), normalised(h, "whisper-en")) for r, h in heard]
    told = loop(gt_texts=[r for r, _ in pairs], hyp_texts=[h for _, h in pairs], err=0, total_len=0)
    rows = [row_of(item_of(TranscriptWant(reference=r), "slue-asr", n), h) for n, (r, h) in enumerate(heard)]
    rate = 100 * figure(rows, "robust")
    note = f"edits of characters over characters; the word error rate of the same rows is {rate:.2f}"
    official, ours = 100 * told["err"] / told["total_len"], 100 * figure(rows, "official")
    same = count if math.isclose(official, ours, abs_tol=1e-9) else 0
    return [Agreement("slue-asr", count, same, official, ours, note)]


def _blab(checkout: Path, count: int) -> list[Agreement]:
    return [*blab(checkout, count), *structured.blab(checkout, count)]


def _slue(checkout: Path, count: int) -> list[Agreement]:
    return [*slue(checkout, count), *structured.slue_ner(checkout, count)]


CHECKS: dict[str, Callable[[Path, int], list[Agreement]]] = {
    "mmau": mmau,
    "mmar": mmar,
    "mmau-pro": mmau_pro,
    "air": air,
    "helm": helm,
    "blab": _blab,
    "ltu": ltu,
    "clotho-aqa": clotho_aqa,
    "compa": compa,
    "slue": _slue,
    "teleantifraud": structured.teleantifraud,
    "seld-2019": structured.seld_2019,
    "seld-2020": structured.seld_2020,
}
