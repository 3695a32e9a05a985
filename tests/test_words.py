"""The field's words are defined once, where they first appear: in the documents, the pages and every command's help."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from tests.laws import each
from tests.places import ROOT
from workbench.cli.main import main
from workbench.words import WORDS, glossary

COMMANDS = {name: command for name, command in main.commands.items() if not isinstance(command, click.Group)}


def plain(text: str) -> str:
    """A text in one line, without marks of emphasis."""
    return " ".join(text.replace("*", "").split())


@pytest.mark.parametrize("document", ["README.md", "docs/mechanisms.md"])
def test_no_word_stands_before_its_definition(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    before, _, after = text.partition("<!-- begin words -->")
    assert "notation.md" in before
    for word, meaning in WORDS.items():
        assert re.search(rf"\b{re.escape(word)}", before) is None, word
        assert after.count(f"| *{word}* | {meaning} |") == 1


def test_the_notation_has_every_word_with_the_same_meaning() -> None:
    text = plain((ROOT / "docs/notation.md").read_text(encoding="utf-8"))
    for word, meaning in WORDS.items():
        assert re.search(rf"\| {re.escape(word)} \|[^|]*?(\|[^|]*)?{re.escape(meaning)}", text), word


@each("document", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_documents_that_use_the_words_link_to_them(document: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    if document != "notation.md" and re.search(r"\bflips?\b|W_BOUND|μ|\bticks?\b", text):
        assert "notation.md" in text


@each("phrase", ["deletion", "retracted event", "seeded bug", "empirical lower bound"])
def test_the_words_of_the_subject_are_found_where_people_look(phrase: str) -> None:
    assert phrase in plain((ROOT / "README.md").read_text(encoding="utf-8")).lower()
    assert phrase in plain(CliRunner().invoke(main, ["--help"]).output)


@each("name", COMMANDS)
def test_help_defines_the_words_that_it_uses(name: str) -> None:
    text = plain(CliRunner().invoke(main, [name, "--help"]).output)
    said, _, defined = text.partition("Words (docs/notation.md has all):")
    for word, pattern in (("tick", r"\bticks?\b"), ("flip", r"\bflips?\b"), ("W_BOUND", "W_BOUND"), ("μ", "μ"),
                          ("deletion", r"\b(retract|erase|erasure|deletion)"), ("seeded bug", "broken twin"),
                          ("empirical lower bound", "empirical lower bound")):  # fmt: skip
        if re.search(pattern, said.partition("]")[2], re.IGNORECASE):
            assert defined.count(f"{word}: {WORDS[word]}") == 1, word
        else:
            assert f"{word}: " not in defined, word


def test_a_text_without_the_words_has_no_glossary() -> None:
    assert glossary("Draw a release with its intervals.") == ""
    assert "flip" in glossary("after many flips")


@each("page", ["README.md", *sorted(f"{folder}/{path.name}" for folder in ("docs", "notebooks")
                                                       for path in (ROOT / folder).glob("*.*"))])  # fmt: skip
def test_no_line_needs_uv(page: str) -> None:
    if page.endswith((".md", ".ipynb")):
        assert re.search(r"\buv (run|sync|pip)\b", (ROOT / page).read_text(encoding="utf-8")) is None
