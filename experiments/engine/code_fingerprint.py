"""The files of this project that modules depend on: what they import and what that imports, read from the text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from experiments.engine.places import ROOT

_COMMENT = re.compile(r"[ \t]*#.*")
_FOR_TYPES = re.compile(r"^([ \t]*)if TYPE_CHECKING:\n(?:\1[ \t]+.*\n|[ \t]*\n)*", re.MULTILINE)
"""A block that does not run."""
_FROM = re.compile(r"^[ \t]*from ([\w.]+) import (?:\(([^)]*)\)|(.*))", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import (.*)", re.MULTILINE)
_NAME = re.compile(r"(?:^|,)\s*([\w.]+)")
"""Each of several with commas between, without the name that it gets."""


@cache
def code_fingerprint(*modules: str, root: Path = ROOT) -> str:
    """SHA-256, in hex, over all files that `modules` depend on, as they were when a process first asked."""
    digest = hashlib.sha256()
    for path in closure(*modules, root=root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def closure(*modules: str, root: Path = ROOT) -> tuple[Path, ...]:
    """The files of `modules` and of everything below `root` that they import anywhere in their text, in order of name.

    Packages on the way to a module belong to it, because they run when it is imported; so do the SQL files in a
    module's folder. Imports for type checkers do not run and are left out.

    Raises:
        ValueError: there is no such module below `root`.
    """
    waiting, found = list(modules), dict[str, Path | None]()
    while waiting:
        for name in _with_packages(waiting.pop()):
            if name not in found:
                found[name] = path = _file(name, root)
                waiting += _imports(path) if path else ()
    for module in modules:
        if found[module] is None:
            raise ValueError(f"module is {module!r}; there is no such file below {root}")
    paths = set(filter(None, found.values()))
    return tuple(sorted({*paths, *(sql for folder in {path.parent for path in paths} for sql in folder.glob("*.sql"))}))


def _with_packages(name: str) -> Iterator[str]:
    pieces = name.split(".")
    return (".".join(pieces[:length]) for length in range(1, len(pieces) + 1))


def _file(module: str, root: Path) -> Path | None:
    stem = root.joinpath(*module.split("."))
    candidates = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, and the names that it takes from them, which may be modules.

    Its lines are searched, which takes a tenth of the time of the parser. A sentence in a docstring may look like an
    import; it would add a file at most.
    """
    text = _FOR_TYPES.sub("", _COMMENT.sub("", path.read_text(encoding="utf-8") + "\n"))
    for module, in_brackets, in_line in _FROM.findall(text):
        yield from (f"{module}.{name}" for name in _NAME.findall(in_brackets + in_line))
    for modules in _IMPORT.findall(text):
        yield from _NAME.findall(modules)
