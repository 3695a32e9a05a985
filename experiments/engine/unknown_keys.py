"""A key that a config does not know is refused with those that it knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import msgspec
from msgspec import inspect

_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$(.*)`)?")


def explained(error: msgspec.ValidationError, kind: type, more: Sequence[str] = ()) -> str:
    """The message of an error; that about an unknown key names the known ones and the nearest of them.

    Args:
        kind: the type that was to be made.
        more: known keys at the top that the type does not have.
    """
    found = _UNKNOWN.fullmatch(str(error))
    if found is None:
        return str(error)
    name, path = found[1], found[2] or ""
    place = inspect.type_info(kind)
    for step in re.findall(r"\.\w+|\[[^]]*\]", path):
        place = _inside(place, step)
    struct = next(one for one in _choices(place) if isinstance(one, inspect.StructType))
    names = [field.encode_name for field in struct.fields] + ([] if path else list(more))
    near = difflib.get_close_matches(name, names, n=1)
    where = f"[{path[1:].replace('[...]', '.NAME')}]" if path else "the top of a config"
    nearest = f", perhaps {near[0]} is meant" if near else ""
    return f"{name} is unknown{nearest}; {where} knows {', '.join(names)}"


def _choices(place: inspect.Type) -> Sequence[inspect.Type]:
    """The types that a value may have, None being one where it may be left out."""
    return place.types if isinstance(place, inspect.UnionType) else (place,)


def _inside(place: inspect.Type, step: str) -> inspect.Type:
    """The type of a struct's field (`.name`), or of what a list or a table holds (`[0]`, `[...]`)."""
    for one in _choices(place):
        if isinstance(one, inspect.StructType) and step.startswith("."):
            return next(field.type for field in one.fields if field.encode_name == step[1:])
        if isinstance(one, inspect.ListType):
            return one.item_type
        if isinstance(one, inspect.DictType):
            return one.value_type
    raise AssertionError(f"{place} has nothing at {step}")
