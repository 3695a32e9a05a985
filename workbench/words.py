"""The field's words, each with its one definition: what help, pages and documents say where a word first appears."""

from __future__ import annotations

import re
import textwrap

WORDS = {
    "tick": "one closed day, counted from 0; each series has one released number a tick",
    "flip": "a user begins or ceases to be counted: a start or an end of a presence run",
    "W_BOUND": "the most flips that the protected change may cause",
    "μ": "what the protected change moves at most, divided by the standard deviation of the noise",
    "deletion": "a retracted event (operation -) or an erasure (operation erase)",
    "seeded bug": "a deliberate mistake, which a check must catch, in what is then called a broken twin",
    "empirical lower bound": "an ε or μ that an attack proves a mechanism has at least, at a stated confidence",
}
"""Word → meaning; docs/notation.md has these and all others."""

_ALSO = {"deletion": "retract|eras(e|ure)", "seeded bug": "broken twin"}
"""Word → other words for the same."""

HELP_WIDTH = 76


def glossary(text: str | None = None) -> str:
    """The words that a text uses, or all of them: a line each, for the end of a help page; "" for none."""
    used = [word for word in WORDS if text is None or _uses(text, word)]
    lines = [
        textwrap.fill(f"{word}: {WORDS[word]}", HELP_WIDTH, initial_indent="  ", subsequent_indent="    ")
        for word in used
    ]
    return "\n".join(["\b", "Words (docs/notation.md has all):", *lines]) if lines else ""


def _uses(text: str, word: str) -> bool:
    other = f"|{_ALSO[word]}" if word in _ALSO else ""
    return re.search(rf"\b({re.escape(word)}{other})", " ".join(text.split()), re.IGNORECASE) is not None
