"""A law that is checked in a moment: one test tries many cases, because pytest takes longer for a test than the law."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest


def each(
    argument: str | tuple[str, ...], cases: Iterable[Any], by: Callable[[Any], str] | None = None
) -> Callable[[Any], Any]:
    """A decorator: a test, or every test of a class, tries all cases of an argument and names those that fail.

    A case of several arguments is a tuple. `by` says which cases of one argument share a test; by default it is one
    test for all. A test whose every case is skipped is skipped. The cases of one test share its fixtures, but each has
    a `tmp_path` of its own.
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


def _in_turn(
    test: Callable[..., None], argument: str | tuple[str, ...], cases: list[Any] | None
) -> Callable[..., None]:
    """The test of each case; None: the cases are what pytest gives for the argument."""
    names = (argument,) if isinstance(argument, str) else argument

    @wraps(test)
    def tried(*args: Any, **others: Any) -> None:
        group = others.pop(argument) if cases is None else cases
        folder = others.get("tmp_path")
        failures, skipped = [], []
        for index, case in enumerate(group):
            given = dict(zip(names, (case,) if isinstance(argument, str) else case, strict=True))
            if folder is not None:
                others["tmp_path"] = folder / str(index)
                others["tmp_path"].mkdir()
            try:
                test(*args, **others, **given)
            except pytest.skip.Exception as reason:
                skipped.append(reason)
            # What pytest.fail raises is no Exception, and a group of it neither.
            except (Exception, BaseExceptionGroup, pytest.fail.Exception) as failure:
                failure.add_note(", ".join(f"{name} = {value}" for name, value in given.items()))
                failures.append(failure)
        if failures:
            failed = ", ".join(note for failure in failures for note in failure.__notes__[-1:])
            raise BaseExceptionGroup(f"{len(failures)} of {len(group)} cases fail: {failed}", failures)
        if len(skipped) == len(group):
            raise skipped[0]

    if cases is not None:
        signature = inspect.signature(test)
        tried.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[one for name, one in signature.parameters.items() if name not in names]
        )
    return tried
