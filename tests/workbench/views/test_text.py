"""Text from outside is shown letter by letter, and days are the same in every locale."""

from __future__ import annotations

from datetime import date

from markdown_it import MarkdownIt

from tests.laws import each
from workbench.views.text import day_name, literal

HOSTILE = [
    "**bold** and _it_ and ~~gone~~",
    "[here](https://example.org) ![](https://example.org/pixel.png)",
    "<script>alert(1)</script> <b>x</b> &amp;",
    "# heading\n- list\n1. one\n> quote\n\n---\n\n| a | b |\n|---|---|",
    "`code` ``` fence",
    "$x^2$ and $$y$$",
    "https://example.org and www.example.org and ada@example.org",
    "back\\slash \\* \\_",
]


@each("text", HOSTILE)
def test_text_from_outside_is_nothing_but_text(text: str) -> None:
    """By a Markdown parser that is not the browser's; the browser test shows addresses too."""
    (_, line, _) = MarkdownIt().enable(["table", "strikethrough"]).parse(literal(text))
    assert line.children is not None
    assert {token.type for token in line.children} <= {"text", "text_special"}
    assert "".join(token.content for token in line.children).replace("\u2060", "") == " ".join(text.split())


@each("text", [":smile:", ":material/home:", ":red[x]", "a:b:c"])
def test_no_icon_and_no_colour_is_found_after_the_parsing(text: str) -> None:
    (_, line, _) = MarkdownIt().parse(literal(text))
    assert text not in "".join(token.content for token in line.children or [])


def test_a_day_in_words() -> None:
    assert day_name(date(2026, 3, 2)) == "Mon 2 March 2026"
