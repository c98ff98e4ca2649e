"""Text of an answer piece by piece while its tokens come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

_TORN = "\ufffd"


@dataclass
class TextPieces:
    """Decodes what is new; whole characters only, and nothing of a stop sequence.

    Only the last tokens are decoded again for the next piece, so that a long answer costs no more a token than a short
    one.
    """

    tokenizer: PreTrainedTokenizerBase
    stop: Sequence[str] = ()
    text: str = ""
    """What was given out so far."""
    stopped: bool = False
    """A stop sequence was met."""
    _held: str = ""
    """Decoded, but perhaps the beginning of a stop sequence."""
    _before: int = 0
    _read: int = 0

    def add(self, ids: Sequence[int], last: bool) -> str:
        """The next piece.

        Args:
            ids: all tokens of the answer so far.
            last: no more will come.
        """
        if self.stopped:
            return ""
        self._held += self._decoded(ids, last)
        if not self.text:
            self._held = self._held.lstrip()
        places = [at for s in self.stop if s and (at := self._held.find(s)) >= 0]
        if places:
            self.stopped = True
            return self._given(min(places))
        keep = 0 if last else max((_overlap(self._held, s) for s in self.stop), default=0)
        return self._given(len(self._held) - keep)

    def _given(self, count: int) -> str:
        piece, self._held = self._held[:count], self._held[count:]
        self.text += piece
        return piece

    def _decoded(self, ids: Sequence[int], last: bool) -> str:
        known = self._decode(ids[self._before : self._read])
        now = self._decode(ids[self._before :])
        if now.endswith(_TORN) and not last:
            return ""  # a character of several tokens
        self._before, self._read = self._read, len(ids)
        return now[len(known) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` might begin `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
