"""Text for pages: days in words, and text from outside shown as it is."""

from __future__ import annotations

import re
from datetime import date

from dp.questions import Cell, Question
from experiments.engine.numbers import power_of_ten

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$&=@])")
_POWER = re.compile(r"\b\d+(?:\.\d+)?e[+-]?\d+\b")
# Whatever Streamlit finds in the text of a document that is parsed already.
_FOUND_LATER = re.compile(r":|@|www(?=\.)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def day_name(day: date) -> str:
    """A day in words, the same in every locale of the server: Mon 2 March 2026."""
    return f"{day:%a} {day.day} {day:%B %Y}"


def with_powers(text: str) -> str:
    """A text whose numbers such as 3e-06 are written as powers of ten."""
    return _POWER.sub(lambda found: power_of_ten(float(found[0])), text)


def literal(text: str) -> str:
    """Text from outside, so that Markdown shows it letter by letter: no emphasis, link, image, icon, formula or HTML.

    Line breaks and tabs become blanks. After each colon and @, and between www and its dot, stands an invisible word
    joiner: icons (`:name:`) and addresses are looked for after backslashes are gone.
    """
    joined = _FOUND_LATER.sub(rf"\g<0>{_WORD_JOINER}", " ".join(text.split()))
    return _MARKDOWN.sub(r"\\\1", joined)


def cell_words(cell: Cell) -> str:
    """What a cell of time is called: MAU, MAU flows, Weeks."""
    if cell.window is None:
        return f"{cell.kind.capitalize()}s"
    return f"{cell.metric.upper()} flows" if cell.kind == "flows" else cell.metric.upper()


def question_words(question: Question) -> str:
    """What a question is called: MAU by platform. A breakdown's name comes from outside; see `literal`."""
    by = f" by {question.breakdown.name}" if question.breakdown else ""
    return cell_words(question.cell) + by


def percent_text(share: float) -> str:
    """A share in per cent: 0.9512 → "95.1 %"."""
    return f"{100 * share:.1f} %"


def users_text(value: float) -> str:
    """A number of users with a digit behind the point; small ones have three significant digits."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"
