"""Releases as plain tables, such as TOML or JSON gives them: `mechanism`, its parameters, and `count`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dp.accounting import mechanism_events
from dp.accounting.mechanism_events import MechanismEvent


class Constructor(NamedTuple):
    """A mechanism in a spec: its constructor in `dp.accounting.mechanism_events`, the keys that it needs or may have.

    Of `either`, exactly one must be there.
    """

    name: str
    needed: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


CONSTRUCTORS: dict[str, Constructor] = {
    "laplace": Constructor("laplace", either=("epsilon", "scale"), optional=("sensitivity",)),
    "gaussian": Constructor("gaussian", needed=("sigma",), optional=("sensitivity",)),
    "discrete-laplace": Constructor("discrete_laplace", either=("epsilon", "scale"), optional=("sensitivity",)),
    "discrete-gaussian": Constructor("discrete_gaussian", needed=("sigma",), optional=("sensitivity",)),
    "pure": Constructor("pure", needed=("epsilon",)),
    "approximate": Constructor("approximate", needed=("epsilon", "delta")),
    "zcdp": Constructor("zcdp", needed=("rho",)),
    "gdp": Constructor("gdp", needed=("mu",)),
}
LARGEST_NUMBER = 1e300


def event_of(where: str, table: Mapping[str, Any]) -> MechanismEvent:
    """The release that a table describes.

    Args:
        where: what stands before the message of an error.

    Raises:
        ValueError: a key or a value does not belong; the message names the key, the value and what would be right.
    """
    name = table.get("mechanism")
    if not isinstance(name, str) or name not in CONSTRUCTORS:
        given = "is missing" if name is None else f"is {name!r}"
        raise ValueError(f"{where}: mechanism {given}; choose one of {', '.join(CONSTRUCTORS)}")
    kind = CONSTRUCTORS[name]
    allowed = {*kind.needed, *kind.either, *kind.optional}
    for key, value in table.items():
        if key in ("mechanism", "count"):
            continue
        if key not in allowed:
            raise ValueError(
                f"{where}: unknown key {key!r} = {value!r}; {name!r} has {', '.join(sorted(allowed))}, count"
            )
        if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > LARGEST_NUMBER:
            raise ValueError(f"{where}: {key} is {value!r}; it must be a number")
    if missing := [key for key in kind.needed if key not in table]:
        raise ValueError(f"{where}: {missing[0]} is missing; {name!r} needs it")
    if kind.either and sum(key in table for key in kind.either) != 1:
        raise ValueError(f"{where}: {name!r} needs either {' or '.join(kind.either)}, and not both")
    arguments = {key: value for key, value in table.items() if key != "mechanism"}
    constructor: Callable[..., MechanismEvent] = getattr(mechanism_events, kind.name)
    try:
        return constructor(**arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
