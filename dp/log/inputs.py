"""Which files a log consists of: names, patterns, folders."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from dp.log.files import STANDARD_INPUT, LogFile
from dp.log.log import LogError

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def log_files(paths: Iterable[str | Path], *, hive: bool) -> list[LogFile]:
    """The files that these paths name, in the order in which they are read.

    A path that exists is that file, or all files below that folder but those whose name begins with a dot or an
    underscore; any other one may be a pattern with *, ? and [ ]. What is below a folder or matches a pattern is sorted.

    Args:
        paths: at least one.
        hive: whether folders such as day=2024-01-31 are columns.

    Raises:
        LogError: a folder without files, a pattern that matches none, or one file twice.
    """
    found = [file for path in paths for file in _files(Path(path))]
    twice = next((path for path in found if found.count(path) > 1), None) if len(found) > 1 else None
    if twice is not None:
        raise LogError(f"{twice} is given more than once")
    return [LogFile(path, _constants(path) if hive else {}) for path in found]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        below = sorted(
            file for file in path.rglob("*")
            if file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        )  # fmt: skip
        if not below:
            raise LogError(f"{path} is a folder without files")
        yield from below
    elif str(path) == STANDARD_INPUT or path.exists() or not glob.has_magic(str(path)):
        yield path
    else:
        matching = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (a Path has no absolute patterns)
        if not matching:
            raise LogError(f"{path}: no file matches")
        for one in matching:
            yield from _files(Path(one))


def _constants(path: Path) -> dict[str, str | None]:
    """The columns that the folders of a path name."""
    pairs = [part.partition("=") for part in path.parts[:-1]]
    return {name: None if value == HIVE_NULL else unquote(value) for name, equals, value in pairs if equals and name}
