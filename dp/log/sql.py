"""Names and texts as SQL literals."""

from pathlib import Path


def quoted(text: str) -> str:
    """The text as a string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_path(path: Path) -> str:
    """The path as a string literal for DuckDB's readers, which take *, ? and [ as a pattern."""
    return quoted("".join(f"[{character}]" if character in "*?[" else character for character in str(path)))
