"""Files that appear whole or not at all. Imports nothing heavy, because the command line uses it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, creating its folder if needed; no reader ever sees half of it."""
    write_pieces_atomically(path, [content])


def write_pieces_atomically(path: Path, pieces: Iterable[bytes]) -> None:
    """`write_atomically` of what need not be in memory at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is chosen before there is a file, so that an interrupt at any moment leaves none behind.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.writelines(pieces)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
