"""The research pages by name: one line a page. A page's module is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

import msgspec

from workbench.views.jobs.job import ResearchPage

RESEARCH_PAGES = {
    "live": "workbench.views.live.research",
    "plan": "workbench.views.plan.research",
    "tradeoff": "workbench.views.tradeoff.research",
    "mechanisms": "workbench.views.mechanisms.research",
    "coverage": "workbench.views.coverage.research",
    "attacks": "workbench.views.attacks.research",
    "sketches": "workbench.views.sketches.research",
}
"""The name in questions and addresses → the module whose PAGE is its `ResearchPage`."""


class _Tagged(msgspec.Struct):
    page: str


def research_page(name: str) -> ResearchPage:
    """A page by its name.

    Raises:
        ValueError: there is none.
    """
    if name not in RESEARCH_PAGES:
        raise ValueError(f"page is {name!r}; there are {', '.join(RESEARCH_PAGES)}")
    page: ResearchPage = importlib.import_module(RESEARCH_PAGES[name]).PAGE
    return page


def page_name(question: msgspec.Struct) -> str:
    """Of which page a question is."""
    return str(question.__struct_config__.tag)


def decode_question(content: Any) -> msgspec.Struct:
    """A question from what TOML or JSON hold of it.

    Raises:
        ValueError: an unknown page, or a field that is missing, unknown or of another type.
    """
    try:
        name = msgspec.convert(content, _Tagged).page
        return msgspec.convert(content, research_page(name).question)
    except msgspec.ValidationError as error:
        raise ValueError(f"this is no question of a page: {error}") from error
