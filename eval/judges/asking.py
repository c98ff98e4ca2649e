"""What a judge is asked about an answer."""

from __future__ import annotations

from collections.abc import Sequence

from eval.harness.answers import Answered
from eval.harness.items import AUDIO_MARK, Item, JudgeSpec, OpenWant, PairWant
from eval.harness.judging import JudgeQuestion
from eval.judges.prompting import JudgePrompt, filled, judge_prompt
from eval.judges.reading import reader
from eval.kinds.arrived import arrived


def spec_of(item: Item) -> JudgeSpec | None:
    return item.want.judge if isinstance(item.want, OpenWant | PairWant) else None


def judged_text(item: Item, answered: Answered, prompt: JudgePrompt) -> str:
    """The answer as the judge reads it, with its reasoning where that is judged; empty: nothing is to be judged."""
    came = arrived(answered)
    if came.status not in (None, "refused") or (came.status == "refused" and not prompt.refusals):
        return ""
    return answered.text if prompt.reads == "points" or prompt.name == "teleantifraud" else came.text


def questions(item: Item, answered: Answered) -> Sequence[JudgeQuestion]:
    """One for each rater and order; none where the item has no judge or the answer is nothing."""
    if (spec := spec_of(item)) is None:
        return []
    prompt = judge_prompt(spec.prompt)
    if not (said := judged_text(item, answered, prompt)):
        return []
    points = len(item.want.rubric) if isinstance(item.want, OpenWant) else 0
    found = []
    for order in (0, 1) if prompt.swap else (0,):
        text = filled(prompt, _texts(item, said, order))
        read = reader(prompt, order, points)
        found += [
            JudgeQuestion(text, read, order, repeat, prompt.max_tokens, prompt.temperature)
            for repeat in range(prompt.raters)
        ]
    return found


def _texts(item: Item, said: str, order: int) -> dict[str, str]:
    """What fills the places of a prompt; the reference is shown first, unless the order is the other."""
    want = item.want
    question = "\n".join(m.content.replace(AUDIO_MARK, "").strip() for m in item.messages if m.role == "user")
    reference = "\n".join(want.references) if isinstance(want, OpenWant) else ""
    if isinstance(want, PairWant):
        reference = "\n".join(want.choices[:1])
    pair = (reference, said) if order == 0 else (said, reference)
    texts = {"question": question, "reference": reference, "answer": said, "first": pair[0], "second": pair[1]}
    if isinstance(want, OpenWant):
        texts["context"] = want.context
        texts["rubric"] = "\n".join(f"{n}. {point}" for n, point in enumerate(want.rubric, start=1))
    return texts
