"""What models are asked. The words are ours, since few benchmarks publish theirs; the card of each prepared benchmark
records the templates that it was made with, and another template is another test.

`$audio` is where the recordings go, `$one` and `$two` are places of single ones; the other slots are filled from the
official rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from eval.harness.items import AUDIO_MARK, Message

CHOICE = Template(
    "$audio$question\nOptions:\n$options\n"
    "Choose the one option that is right and answer with exactly its text, nothing else."
)
CHOICE_LETTER = Template("$audio$question\n$options\nAnswer with the letter of the right option only.")
QUESTION = Template("$audio$question")
QUESTION_SHORT = Template("$audio$question\nAnswer with one word.")
QUESTION_YES_NO = Template("$audio$question\nAnswer yes or no.")
QUESTION_BRIEF = Template("$audio$question\nGive the final answer only. If it cannot be known, say unanswerable.")
REASONED_CHOICE = Template(
    "$audio$question\nOptions:\n$options\n"
    "First write down step by step what is heard and what follows from it. "
    "Then write a last line 'Answer:' with the text of the one option that is right."
)
FOLLOW = Template("${audio}Do what the speaker in the recording asks for.")

LISTED = Template(
    "$audio$question Choose one of these labels: $labels. Answer with exactly that label, nothing else."
)
LISTED_MULTI = Template(
    "$audio$question Choose all that apply from these labels: $labels. "
    "Answer with exactly those labels, separated by semicolons, nothing else."
)
DESCRIBE = Template("${audio}Write a caption of what is heard in this recording.")
LABEL = Template("$audio$question Answer with a label.")

CAPTION = Template("${audio}Describe in one sentence what is heard in this recording.")
TRANSCRIBE = Template("${audio}Write down what is said in $language, word for word and nothing else.")
TRANSLATE = Template(
    "${audio}Translate what is said from $language into $target. Write down the translation, nothing else."
)
SUMMARISE = Template("${audio}Summarise this talk: a title line, then an abstract of a few sentences.")

ENTITIES = Template(
    "${audio}List the named entities that are spoken, in order. Answer with a JSON list of objects "
    '{"tag": ..., "phrase": ...}; the tag is one of $labels, the phrase is as spoken, in lower case. '
    "Answer [] if there is none."
)
ENTITY_SPANS = Template(
    "${audio}When are named entities spoken? Answer with a JSON list of objects "
    '{"entity": ..., "start": seconds, "end": seconds}. Answer [] if there is none.'
)
ANSWER_SPANS = Template(
    "The first recording is a question, the second a document that answers it.\n${audio}"
    "Where in the second recording is the answer spoken? Answer with a JSON list of objects "
    '{"start": seconds, "end": seconds}.'
)
WORDS = Template(
    '$audio$question\nAnswer with a JSON list of objects {"word": ..., "start": seconds, "end": seconds}.'
)
SPANS = Template(
    '$audio$question\nAnswer with a JSON list of objects {"$key": ..., "start": seconds, "end": seconds}.'
)
NUMBER = Template("$audio$question\nAnswer with one number$unit, nothing else.")
SOUND_EVENTS = Template(
    "${audio}The recording is first-order ambisonics of a room. Which sounds are heard, when and from where? "
    'Answer with a JSON list of objects {"class": ..., "start": seconds, "end": seconds, "azimuth": degrees, '
    '"elevation": degrees}. The class is one of $labels. Azimuth is counted from the front, positive to the left, '
    "from -180 to 180; elevation is positive upwards, from -40 to 40."
)

SARCASM = Template(
    "Context:\n$one\nUtterance:\n$two\nGiven the context, is the utterance sarcastic?\n$options\n"
    "Answer with the letter of the right option only."
)
WHICH_CAPTION = "Which description fits the recording?"
WHICH_RECORDING = 'Which of the two recordings fits the description "{}"?'

FRAUD_SCENE = Template(
    "${audio}这段通话属于哪个场景？可选：$labels。先在<think></think>中写出分析，再在<answer></answer>中"
    '只写JSON：{"scene": 场景, "reason": 理由, "confidence": 0到1的数}。'
)
FRAUD_PRESENT = Template(
    "${audio}这段通话是否涉及诈骗？先在<think></think>中写出分析，再在<answer></answer>中"
    '只写JSON：{"reason": 理由, "confidence": 0到1的数, "is_fraud": true或false}。'
)
FRAUD_TYPE = Template(
    "${audio}这段诈骗通话属于哪种类型？可选：$labels。先在<think></think>中写出分析，再在<answer></answer>中"
    '只写JSON：{"fraud_type": 类型, "reason": 理由, "confidence": 0到1的数}。'
)


def asked(template: Template, recordings: int = 1, **slots: str) -> tuple[Message, ...]:
    """One user's turn; a mark of recordings in the official text is a word there, not a recording's place."""
    clean = {name: text.replace(AUDIO_MARK, "[audio]") for name, text in slots.items()}
    marks = (AUDIO_MARK + "\n") * recordings
    places = {"audio": marks, "one": AUDIO_MARK, "two": AUDIO_MARK}
    return (Message(role="user", content=template.substitute(clean, **places)),)


def lines(options: Sequence[str]) -> str:
    """Options one a line, as they are."""
    return "\n".join(options)


def lettered(options: Sequence[str], form: str = "{}. {}") -> str:
    """Options one a line, each with a letter.

    >>> lettered(["dog", "cat"], "({}) {}")
    '(A) dog\\n(B) cat'
    """
    return "\n".join(form.format(chr(ord("A") + i), text) for i, text in enumerate(options))
