"""Ways to ask and to answer. Every task has at least eight phrasings for train and others for test; dev uses train's.

`{x}`, `{y}` are noun phrases ("a dog barking"), `{options}` a list of options, `{list}` an enumeration.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator


@dataclass(frozen=True)
class Questions:
    """Phrasings of one question by split."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def pick(self, rng: Generator, split: str) -> str:
        """One phrasing for the split."""
        pool = self.test if split == "test" else self.train
        return pool[int(rng.integers(len(pool)))]


def _q(train: str, test: str) -> Questions:
    """Phrasings, one a line."""
    lines = tuple(tuple(line.strip() for line in text.strip().splitlines()) for text in (train, test))
    return Questions(*lines)


QUESTIONS: dict[str, Questions] = {
    "label": _q(
        """What do you hear?
        What is this sound?
        What can be heard in this recording?
        Which sound is this?
        Tell me what you hear.
        What is making this sound?
        Describe the sound in a few words.
        Please name the sound in the recording.
        What does the recording contain?
        What is going on in this clip?
        Identify the sound.""",
        """Which sound do you recognise in this audio?
        What is the sound in this clip?
        What are you hearing here?
        Say briefly what is to be heard.""",
    ),
    "label_short": _q(
        """What is this sound? Answer with a few words only.
        Name the sound. Give only the name.
        Which sound is it? Just the name, please.
        Label this recording with one sound.
        Give the sound's name and nothing else.
        What do you hear? Reply with the label only.
        In at most five words: what is the sound?
        One short label for this sound, please.""",
        """Name what you hear in a few words.
        What is the label of this sound?
        Reply only with the name of the sound in this audio.""",
    ),
    "yes_no": _q(
        """Can you hear {x}?
        Do you hear {x} in this recording?
        Does this recording contain the sound of {x}?
        Is the sound of {x} in this clip?
        Yes or no: do you hear {x}?
        Is this the sound of {x}?
        Would you say that {x} can be heard here?
        Tell me whether you hear {x}.
        Answer yes or no. Is the sound of {x} present?
        I wonder whether {x} can be heard. Is that so?""",
        """Is it possible to hear {x} in the audio?
        Does the audio include the sound of {x}?
        Do you notice the sound of {x}? Answer yes or no.
        Are we listening to {x} here?""",
    ),
    "choice": _q(
        """Which of these sounds do you hear?{options}
        Choose the sound that is in the recording.{options}
        What is in this recording?{options}
        Pick the right answer: which sound is this?{options}
        Which option describes the recording best?{options}
        Select the sound that you hear.{options}
        One of these can be heard. Which one?{options}
        Which one is it?{options}
        Listen and choose.{options}""",
        """Which one of the following is heard in the audio?{options}
        What sound is this, of the following?{options}
        Decide which sound the clip contains.{options}""",
    ),
    "checklist": _q(
        """Which of these can be heard? Say yes or no for each: {options}.
        Say for each sound whether you hear it: {options}.
        Go through this list and say yes or no: {options}.
        Check each of these sounds: {options}.
        Yes or no for each of these: {options}.
        Tell me of every sound whether it is in the recording: {options}.
        Are these to be heard, yes or no? {options}.
        Mark each sound with yes or no: {options}.""",
        """For every one of these sounds, answer yes or no: {options}.
        State for each whether the audio has it: {options}.
        Yes or no, one after the other: {options}.""",
    ),
    "first": _q(
        """Which sound comes first, {x} or {y}?
        What do you hear first, {x} or {y}?
        Which is heard earlier: {x} or {y}?
        Two of the sounds are {x} and {y}. Which one comes first?
        Which begins first, {x} or {y}?
        Tell me which comes earlier, {x} or {y}.
        Of {x} and {y}, which one is heard first?
        What comes before the other, {x} or {y}?""",
        """Which of the two starts earlier, {x} or {y}?
        Is {x} or {y} heard first?
        In this audio, what occurs first, {x} or {y}?""",
    ),
    "after": _q(
        """What do you hear right after {x}?
        Which sound follows {x}?
        What comes after {x}?
        After {x}, what can be heard next?
        Which sound is next after {x}?
        Name the sound that follows {x}.
        Once you have heard {x}, what do you hear next?
        What is the next sound after {x}?""",
        """Which sound is heard directly after {x}?
        What follows {x} in the audio?
        What can be heard next, once {x} has been heard?""",
    ),
    "list": _q(
        """List the sounds in the order in which you hear them.
        What do you hear, in order?
        Name all sounds from first to last.
        Which sounds are there, and in which order?
        Tell me the sequence of sounds.
        Put the sounds of this recording in order.
        What happens first, and what happens then?
        Go through the recording and name each sound in turn.""",
        """In what order do the sounds occur?
        Enumerate the sounds as they come.
        Which sounds follow one another here?""",
    ),
    "count": _q(
        """How many times do you hear {x}?
        How often can you hear {x}?
        Count how many times you hear {x}.
        How many times is the sound of {x} heard?
        Please count: how often does the sound of {x} occur?
        The sound is that of {x}. How many times does it come?
        Give the number of times you hear {x}.
        How many repetitions of {x} are in the recording?""",
        """What is the number of times that {x} is heard?
        How often is the sound of {x} repeated in this audio in total?
        Count the occurrences of {x}.""",
    ),
    "count_sounds": _q(
        """How many different sounds do you hear?
        How many kinds of sound are in this recording?
        Count the different sounds.
        How many distinct sounds can be heard?
        Are there two, three or four different sounds?
        Tell me the number of different sounds.
        How many sound sources can you make out?
        What is the number of different sounds here?""",
        """How many distinct kinds of sound does the audio have?
        Of how many different sounds does this clip consist?
        Give the count of different sounds.""",
    ),
    "caption": _q(
        """Describe this recording in one sentence.
        Write a caption for this audio.
        What happens in this recording?
        Describe what you hear.
        Give a short description of the audio.
        Summarise the sounds in this clip.
        Caption this clip.
        Please describe all that you can hear.
        What is to be heard here, from beginning to end?""",
        """Put what you hear into one sentence.
        Provide a caption for the clip.
        How would you describe this audio?""",
    ),
    "when": _q(
        """When do you hear {x}?
        At what time do you first hear {x}?
        At which second does the sound of {x} start?
        When does the sound of {x} begin?
        How many seconds into the recording do you hear {x}?
        Tell me the time at which {x} can first be heard.
        After how many seconds does the sound of {x} come?
        Give the start time of {x}.""",
        """At what second can {x} be heard first?
        From what point in time on do you hear {x}?
        What is the start time, in seconds, of the sound of {x}?""",
    ),
    "background": _q(
        """What is in the background?
        Which sound is in the background?
        What can be heard behind the main sound?
        Name the background sound.
        What goes on in the background?
        There is a sound in the background. Which one?
        Tell me what the background sound is.
        What do you hear underneath?""",
        """Which background sound does the audio have?
        What sound lasts throughout in the background?
        What is heard behind it all?""",
    ),
    "transcribe": _q(
        """What is being said?
        Write down what the speaker says.
        Transcribe the speech.
        What does the person say?
        Please transcribe this recording.
        What are the words?
        Give me the spoken text.
        Turn the speech into text.
        What did the speaker say?""",
        """Provide a transcript of the audio.
        Which words are spoken here?
        Note down the spoken words.""",
    ),
    "language": _q(
        """Which language is spoken?
        What language is this?
        Which language do you hear?
        In which language is the person speaking?
        Identify the language.
        What is the language of this recording?
        Tell me the spoken language.
        The person speaks a certain language. Which one?""",
        """Can you name the language being spoken?
        Which language does the speaker use?
        In what language is this said?""",
    ),
    "sex": _q(
        """Is the speaker a man or a woman?
        Do you hear a man or a woman?
        Is this a male or a female voice?
        Who is speaking, a man or a woman?
        Does the voice belong to a man or a woman?
        Is it a woman or a man who speaks?
        Is the voice female or male?
        Man or woman: who do you hear?""",
        """Would you say the voice is a man's or a woman's?
        Is a woman or a man talking in the audio?
        Does it sound like a male or like a female speaker?""",
    ),
    "kind": _q(
        """Is this speech, music or another sound?
        Do you hear speech, music or some other sound?
        What kind of audio is it: speech, music or a sound?
        Is it music, speech or something else?
        Sort this recording: speech, music or other sound.
        Speech, music or other sound: which is it?
        Tell me whether this is speech, music or another sound.
        Which of the three is it: music, speech, other sound?""",
        """Would you call this speech, music or another sound?
        Which kind of recording is this: speech, music or some other sound?
        Does the clip hold music, speech or some other sound?""",
    ),
    "instrument": _q(
        """Which instrument is playing?
        What instrument do you hear?
        Which musical instrument is this?
        Name the instrument.
        What is the instrument in this recording?
        On which instrument is this played?
        Identify the musical instrument.
        Tell me which instrument this is.""",
        """Can you tell which instrument sounds here?
        What musical instrument can be heard?
        Which instrument makes this sound?""",
    ),
    "same": _q(
        """Do both recordings have the same kind of sound?
        Are these two the same kind of sound?
        Is the second recording the same kind of sound as the first?
        Compare the two recordings: same sound or different ones?
        Do you hear the same kind of sound twice?
        Same or different: what about these two recordings?
        Is the same thing heard in both clips?
        Are the two clips of one kind?""",
        """Would you say that both clips hold the same kind of sound?
        Do the first and second audio have the same sort of sound?
        Are the sounds in these two clips alike in kind?""",
    ),
    "which": _q(
        """Which recording has {x}, the first or the second?
        In which of the two recordings do you hear {x}?
        Where do you hear {x}: in the first or in the second recording?
        One of the two has {x}. Which one?
        Is {x} to be heard in the first or in the second recording?
        Which of the two clips contains {x}?
        First or second: where is {x}?
        Tell me which recording contains {x}.""",
        """Of these two clips, which one has {x}?
        Does the first or the second audio contain {x}?
        Which audio has the sound of {x}?""",
    ),
    "absent": _q(
        """When does the sound of {x} start?
        How many times do you hear {x}?
        What do you hear right after {x}?
        How loud is {x} in this recording?
        What comes before {x}?
        Describe the sound of {x} in this recording.
        For how long can you hear {x}?
        Where in the recording is {x}?
        Tell me more about {x} in this clip.""",
        """At which second do you hear {x}?
        How often is {x} repeated?
        What can you tell me about {x} in this audio?""",
    ),
}

ANSWERS: dict[str, tuple[str, ...]] = {
    "label": ("I hear {x}.", "This is the sound of {x}.", "It is {x}.", "You can hear {x}.", "The recording has {x}."),
    "yes": ("Yes, I hear {x}.", "Yes.", "Yes, the sound of {x} is there."),
    "no": ("No, I hear {y}.", "No.", "No, I do not hear {x}.", "No. What I hear is {y}."),
    "no_nothing": ("No, there is no clear sound.", "No.", "No, I do not hear {x}."),
    "first": ("{X} comes first.", "{X}.", "First comes {x}."),
    "after": ("{Y}.", "After that I hear {y}.", "Then comes {y}."),
    "count": ("{N} times.", "{N}.", "I hear it {n} times."),
    "count_one": ("Once.", "One time.", "I hear it once."),
    "count_sounds": ("{N}: {list}.", "{N}.", "I hear {n} different sounds: {list}."),
    "when": ("At about {t} seconds.", "It starts at about {t} seconds.", "After about {t} seconds."),
    "background": ("In the background I hear {x}.", "{X}.", "The background sound is {x}."),
    "language": ("The language is {x}.", "{x}.", "It is {x}.", "The person speaks {x}."),
    "sex": ("It is {x}.", "{X}.", "I hear {x}."),
    "kind": ("{X}.", "This is {x}.", "It is {x}."),
    "instrument": ("It is {x}.", "{X}.", "I hear {x}.", "The instrument is {x}."),
    "same": ("Yes, both have {x}.", "Yes.", "They are the same kind: {x}."),
    "different": ("No, the first has {x} and the second has {y}.", "No.", "They differ: first {x}, then {y}."),
    "which": ("The {n} one.", "In the {n} recording.", "The {n} recording has {x}."),
    "absent": (
        "I do not hear {x} in this recording; I hear {y}.",
        "There is no sound of {x} here. What I hear is {y}.",
        "I cannot hear {x}. The recording has {y}.",
        "That sound is not in this recording. I hear {y}.",
    ),
    "silence": (
        "I hear nothing: the recording is silent.",
        "Nothing. The recording is silent.",
        "There is only silence.",
    ),
    "noise": ("I hear only noise, no clear sound.", "Only noise.", "There is nothing but noise."),
}


def answer(name: str, rng: Generator, split: str, **words: str) -> str:
    """A filled answer; test and dev always use the first form, which says most.

    `{X}` is `{x}` with a capital first letter, likewise `{Y}` and `{N}`.
    """
    forms = ANSWERS[name]
    form = forms[int(rng.integers(len(forms)))] if split == "train" else forms[0]
    return form.format(**words, **{key.upper(): capital(value) for key, value in words.items() if len(key) == 1})


def capital(text: str) -> str:
    """First letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def enumeration(parts: list[str]) -> str:
    """'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def sequence(parts: list[str]) -> str:
    """'a, then b, and finally c'."""
    if len(parts) < 3:
        return ", followed by ".join(parts)
    return f"{', then '.join(parts[:-1])}, and finally {parts[-1]}"
