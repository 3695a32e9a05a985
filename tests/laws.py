"""A law that is checked in a moment: one test tries many cases, because pytest takes longer for a test than the law."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest


def each(argument: str, cases: Iterable[Any], by: Callable[[Any], str] | None = None) -> Callable[[Any], Any]:
    """A decorator: a test, or every test of a class, tries all cases of an argument and names those that fail.

    `by` says which cases share a test; by default it is one test for all. A test whose every case is skipped is
    skipped. The cases of one test share its fixtures.
    """
    together: dict[str, list[Any]] = {}
    for case in cases:
        together.setdefault(by(case) if by else "", []).append(case)

    def of_each(test: Any) -> Any:
        if inspect.isclass(test):
            for name, method in list(vars(test).items()):
                if name.startswith("test_"):
                    setattr(test, name, of_each(method))
            return test
        if by is None:
            return _in_turn(test, argument, together[""])
        return pytest.mark.parametrize(argument, together.values(), ids=together)(_in_turn(test, argument, None))

    return of_each


def _in_turn(test: Callable[..., None], argument: str, cases: list[Any] | None) -> Callable[..., None]:
    """The test of each case; None: the cases are what pytest gives for the argument."""

    @wraps(test)
    def tried(*args: Any, **others: Any) -> None:
        group = others.pop(argument) if cases is None else cases
        failures, skipped = [], []
        for case in group:
            try:
                test(*args, **others, **{argument: case})
            except pytest.skip.Exception as reason:
                skipped.append(reason)
            # What pytest.fail raises is no Exception.
            except (Exception, pytest.fail.Exception) as failure:
                failure.add_note(f"{argument} = {case}")
                failures.append(failure)
        if failures:
            names = ", ".join(note for failure in failures for note in failure.__notes__[-1:])
            raise BaseExceptionGroup(f"{len(failures)} of {len(group)} cases fail: {names}", failures)
        if len(skipped) == len(group):
            raise skipped[0]

    if cases is not None:
        signature = inspect.signature(test)
        tried.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[one for name, one in signature.parameters.items() if name != argument]
        )
    return tried
