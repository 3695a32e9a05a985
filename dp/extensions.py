"""Mechanisms, sketches and accountants of other packages: found by their entry points, loaded when they are named.

A package declares, for instance,

    [project.entry-points."dpdau.mechanisms"]
    my-mechanism = "my_package:FAMILY"

where `FAMILY` is a `dp.mechanisms.MechanismFamily` (a `dp.sketches.SketchFamily` in the group `dpdau.sketches`, a
`dp.accounting.accountants.AccountantFamily` in `dpdau.accountants`). Nothing is loaded before somebody asks for that
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

Registered = TypeVar("Registered")

GROUPS = {"mechanisms": "mechanism", "sketches": "sketch", "accountants": "accountant"}
"""What can be added, and what one of it is called."""


@cache
def extension_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of one of GROUPS by name, in alphabetical order."""
    found = entry_points(group=f"dpdau.{group}")
    return {point.name: point for point in sorted(found, key=lambda point: point.name)}


def registered(group: str, name: str, own: Mapping[str, Registered], kind: type[Registered]) -> Registered:
    """What stands under a name in the project's own registry, or among the extensions.

    Raises:
        ValueError: the name is unknown, or an extension is no `kind`.
    """
    if name in own:
        return own[name]
    point = extension_points(group).get(name)
    if point is None:
        known = ", ".join(known_names(group, own))
        raise ValueError(f"{GROUPS[group]} is {name!r}; choose one of {known}")
    found = point.load()
    if not isinstance(found, kind):
        raise ValueError(
            f"the entry point {name!r} of dpdau.{group} is {point.value!r}, a {type(found).__name__}; "
            f"it must be a {kind.__module__}.{kind.__qualname__}"
        )
    return found


def known_names(group: str, own: Mapping[str, object] | tuple[str, ...]) -> tuple[str, ...]:
    """The project's own names and then those of the extensions that do not stand there."""
    return (*own, *(name for name in extension_points(group) if name not in own))
