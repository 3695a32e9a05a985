"""Values as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any


def toml_text(content: Mapping[str, Any]) -> str:
    """A table as TOML: of text, numbers, truth, days, flat lists, tables and lists of tables. None is left out."""
    return "\n".join(_lines(content, "")) + "\n"


def _lines(content: Mapping[str, Any], prefix: str) -> Iterator[str]:
    tables = {name: value for name, value in content.items() if _is_table(value)}
    for name, value in content.items():
        if value is not None and name not in tables:
            yield f"{_key(name)} = {_value(value)}"
    for name, value in tables.items():
        path = prefix + _key(name)
        for one in [value] if isinstance(value, Mapping) else value:
            if isinstance(value, list) or not one or not all(map(_is_table, one.values())):
                yield ""
                yield f"[{path}]" if isinstance(value, Mapping) else f"[[{path}]]"
            yield from _lines(one, f"{path}.")


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(one, Mapping) for one in value))


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    # JSON spells text, numbers, truth and flat lists as TOML does, but for one control character.
    return (
        value.isoformat()
        if isinstance(value, date)
        else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    )
