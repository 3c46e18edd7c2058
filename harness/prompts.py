"""Synthetic prompts of a wanted length: seeded words, never a text that a person wrote."""

from __future__ import annotations

import random
from dataclasses import dataclass

BUCKETS = {"short": 256, "medium": 2048, "long": 8192, "very-long": 32768}  # tokens
_WORDS = """
    time year people way day man thing woman life child world school state family student group country problem hand part place
    case week company system program question work number night point home water room mother area money story fact month lot right
    study book eye job word business issue side kind head house service friend father power hour game line end member law car city
    community name president team minute idea body information back parent face others level office door health person art war
    history party result change morning reason research girl guy moment air teacher force education foot boy age policy music"""
WORDS = tuple(_WORDS.split())


@dataclass(frozen=True, slots=True)
class Prompter:
    """Makes prompts for one tokenizer: tokens = `per_word` × words + `around`, as a server counted them.

    No two prompts of a `seed` begin alike, so that no server answers from what it has cached.
    """

    seed: int
    per_word: float = 1.0
    around: float = 0.0

    def prompt(self, tokens: int, number: int) -> str:
        """The text of the `number`-th prompt of about this many tokens."""
        return text(self.seed, number, max(1, round((tokens - self.around) / self.per_word)))

    def fitted(self, short: tuple[int, int], long: tuple[int, int]) -> Prompter:
        """For a server that counted two prompts, each (words, tokens)."""
        per_word = (long[1] - short[1]) / (long[0] - short[0])
        return Prompter(self.seed, per_word, short[1] - per_word * short[0])


def text(seed: int, number: int, words: int) -> str:
    """So many words, the same for the same seed and number: the whole list in an order of its own, again and again.

    All prompts then hold nearly the same words, so that a tokenizer finds as many tokens in each as were wanted.
    """
    drawn, found = random.Random(f"{seed}/{number}"), list[str]()
    while len(found) < words:
        found += drawn.sample(WORDS, len(WORDS))
    return " ".join(found[:words])
