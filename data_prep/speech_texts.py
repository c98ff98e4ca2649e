"""Sentences to be spoken, written from templates, and the facts that a listener can be asked about them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NAMES = {
    "train": (
        "Alice Peter Martha George Helen Victor Nora Simon Clara Oscar Ruth Leon Emma Frank Julia Hugo Sarah Martin "
        "Diana Walter"
    ).split(),
    "test": "Monica Edward Laura Philip Susan Robert Carol Thomas Anna Daniel".split(),
}
PLACES = {
    "train": "London Berlin Madrid Oslo Dublin Vienna Boston Chicago Lisbon Prague Glasgow Toronto".split(),
    "test": "Paris Rome Denver Helsinki Athens Bristol Geneva".split(),
}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ITEMS = {
    "train": "coffee tea soup bread milk apples cheese rice juice pancakes sandwiches tomatoes".split(),
    "test": "pizza salad oranges butter water noodles".split(),
}
WEATHER = "sunny rainy cloudy windy foggy snowy stormy".split()
COLOURS = "red blue green yellow black white brown".split()
THINGS = "car bicycle umbrella jacket notebook suitcase lamp key".split()
ROOMS = "kitchen garden office garage bedroom library".split()
SERVICES = "sales support billing reservations technical-help deliveries".split()


@dataclass(frozen=True)
class Fact:
    """A question about a sentence and its answer in full and in short."""

    question: str
    answer: str
    short: str


@dataclass(frozen=True)
class Spoken:
    """One sentence with what can be asked about it."""

    text: str
    topic: str
    facts: tuple[Fact, ...]


def number_words(value: int) -> str:
    """0..9999 in English words."""
    if not 0 <= value <= 9999:
        raise ValueError(f"{value} is outside 0..9999")
    if value < 20:
        return ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")
    unit, word = (1000, "thousand") if value >= 1000 else (100, "hundred")
    head, rest = divmod(value, unit)
    return f"{number_words(head)} {word}" + (f" {number_words(rest)}" if rest else "")


def plain(text: str) -> str:
    """A text without case and punctuation, for comparing."""
    return " ".join(re.findall(r"[\w']+", text.lower()))


@dataclass(frozen=True)
class _Words:
    """Random choices out of the word lists of one split."""

    rng: Generator
    split: str

    def pick(self, words: list[str]) -> str:
        return words[int(self.rng.integers(len(words)))]

    def two(self, words: list[str]) -> tuple[str, str]:
        first, second = self.rng.choice(len(words), 2, replace=False)
        return words[int(first)], words[int(second)]

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    @property
    def name(self) -> str:
        return self.pick(NAMES[self.split])

    @property
    def place(self) -> str:
        return self.pick(PLACES[self.split])

    @property
    def item(self) -> str:
        return self.pick(ITEMS[self.split])


def _appointment(words: _Words) -> Spoken:
    name, day, hour = words.name, words.pick(DAYS), words.number(1, 12)
    text = f"{name} has an appointment on {day} at {number_words(hour)} o'clock."
    facts = (
        Fact("Who has an appointment?", f"{name} has an appointment.", name),
        Fact("On which day is the appointment?", f"The appointment is on {day}.", day),
        Fact("At what time is the appointment?", f"It is at {number_words(hour)} o'clock.", number_words(hour)),
    )
    return Spoken(text, "an appointment", facts)


def _order(words: _Words) -> Spoken:
    count, item, name = words.number(2, 12), words.item, words.name
    text = f"{name} would like to order {number_words(count)} portions of {item}."
    facts = (
        Fact("What is being ordered?", f"{name} orders {item}.", item),
        Fact("How many portions are ordered?", f"{number_words(count).capitalize()} portions.", number_words(count)),
        Fact("Who is ordering?", f"{name} is ordering.", name),
    )
    return Spoken(text, "an order", facts)


def _weather(words: _Words) -> Spoken:
    place, day, sky, degrees = words.place, words.pick(DAYS), words.pick(WEATHER), words.number(2, 35)
    warmth = number_words(degrees)
    text = f"On {day} it will be {sky} in {place}, with {warmth} degrees."
    facts = (
        Fact("What will the weather be like?", f"It will be {sky}.", sky),
        Fact("Which city is the forecast for?", f"It is for {place}.", place),
        Fact("How many degrees are announced?", f"{warmth.capitalize()} degrees.", warmth),
    )
    return Spoken(text, "the weather", facts)


def _train(words: _Words) -> Spoken:
    place, platform, minutes = words.place, words.number(1, 20), words.number(2, 55)
    spoken = number_words(platform), number_words(minutes)
    text = f"The train to {place} leaves from platform {spoken[0]} in {spoken[1]} minutes."
    facts = (
        Fact("Where does the train go?", f"It goes to {place}.", place),
        Fact("From which platform does the train leave?", f"It leaves from platform {spoken[0]}.", spoken[0]),
        Fact("In how many minutes does the train leave?", f"In {spoken[1]} minutes.", spoken[1]),
    )
    return Spoken(text, "a train departure", facts)


def _menu(words: _Words) -> Spoken:
    service, digit = words.pick(SERVICES).replace("-", " "), number_words(words.number(0, 9))
    text = f"For {service}, please press {digit}."
    facts = (
        Fact(f"Which number must be pressed for {service}?", f"You must press {digit}.", digit),
        Fact("What is the option for?", f"It is for {service}.", service),
    )
    return Spoken(text, "a telephone menu", facts)


def _lost(words: _Words) -> Spoken:
    colour, thing, room, name = words.pick(COLOURS), words.pick(THINGS), words.pick(ROOMS), words.name
    text = f"{name} left the {colour} {thing} in the {room}."
    facts = (
        Fact(f"Where is the {thing}?", f"It is in the {room}.", room),
        Fact(f"What colour is the {thing}?", f"The {thing} is {colour}.", colour),
        Fact("What was left behind?", f"The {colour} {thing} was left behind.", thing),
    )
    return Spoken(text, "a thing left behind", facts)


def _call(words: _Words) -> Spoken:
    name, digits = words.name, [words.number(0, 9) for _ in range(words.number(3, 4))]
    spoken = " ".join(ONES[digit] for digit in digits)
    text = f"Please call {name} back at extension {spoken}."
    facts = (
        Fact("Who should be called back?", f"{name} should be called back.", name),
        Fact("What is the extension?", f"The extension is {spoken}.", spoken),
    )
    return Spoken(text, "a call back", facts)


def _meeting(words: _Words) -> Spoken:
    before, after = words.two(DAYS)
    text = f"The meeting has been moved from {before} to {after}."
    facts = (
        Fact("On which day is the meeting now?", f"It is now on {after}.", after),
        Fact("On which day was the meeting planned at first?", f"It was planned for {before}.", before),
    )
    return Spoken(text, "a meeting", facts)


def _price(words: _Words) -> Spoken:
    thing, price = words.pick(THINGS), number_words(words.number(2, 990))
    article = "An" if thing[0] in "aeiou" else "A"
    text = f"The price of the {thing} is {price} dollars."
    facts = (
        Fact(f"How much does the {thing} cost?", f"It costs {price} dollars.", price),
        Fact("What is for sale?", f"{article} {thing} is for sale.", thing),
    )
    return Spoken(text, "a price", facts)


def _choice(words: _Words) -> Spoken:
    wanted, other = words.two(ITEMS[words.split])
    name = words.name
    text = f"{name} wants {wanted}, not {other}."
    facts = (
        Fact(f"What does {name} want?", f"{name} wants {wanted}.", wanted),
        Fact(f"What does {name} not want?", f"{name} does not want {other}.", other),
    )
    return Spoken(text, "a wish", facts)


def _number(words: _Words) -> Spoken:
    value = words.number(0, 9999)
    text = f"The number is {number_words(value)}."
    return Spoken(text, "a number", (Fact("Which number is said?", text, str(value)),))


TEMPLATES: dict[str, Callable[[_Words], Spoken]] = {
    "appointment": _appointment,
    "order": _order,
    "weather": _weather,
    "train": _train,
    "menu": _menu,
    "lost": _lost,
    "call": _call,
    "meeting": _meeting,
    "price": _price,
    "choice": _choice,
    "number": _number,
}


def spoken_sentence(rng: Generator, split: str) -> Spoken:
    """A random sentence; train and test use different names, places and goods. Dev counts as train."""
    maker = list(TEMPLATES.values())[int(rng.integers(len(TEMPLATES)))]
    return maker(_Words(rng, "test" if split == "test" else "train"))
