"""The forms of structured answers by name; `StructuredWant.form` names one."""

from __future__ import annotations

from eval.kinds.forms.base import Form
from eval.kinds.forms.entities import Entities
from eval.kinds.forms.events import Events
from eval.kinds.forms.labels import Labels
from eval.kinds.forms.numbers import Number, Range
from eval.kinds.forms.spans import Spans, Words

FORMS: dict[str, Form] = {
    "number": Number(),
    "range": Range(),
    "spans": Spans(),
    "words": Words(),
    "events": Events(),
    "entities": Entities(),
    "labels": Labels(),
}
