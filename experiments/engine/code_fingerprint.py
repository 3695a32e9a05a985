"""The files of this project that modules depend on: what they import and what that imports, read from the text."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from experiments.engine.places import ROOT


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
    waiting, found = list(modules), dict[str, Path]()
    while waiting:
        name = waiting.pop()
        for part in _with_packages(name):
            path = _file(part, root)
            if part in found or path is None:
                continue
            found[part] = path
            waiting += _imports(path)
    for module in modules:
        if module not in found:
            raise ValueError(f"module is {module!r}; there is no such file below {root}")
    folders = {path.parent for path in found.values()}
    return tuple(sorted({*found.values(), *(sql for folder in folders for sql in folder.glob("*.sql"))}))


def _with_packages(name: str) -> Iterator[str]:
    pieces = name.split(".")
    return (".".join(pieces[:length]) for length in range(1, len(pieces) + 1))


def _file(module: str, root: Path) -> Path | None:
    stem = root.joinpath(*module.split("."))
    candidates = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, and the names that it takes from them, which may be modules."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, ast.expr):
            # Imports are statements, and expressions hold none.
            waiting += ast.iter_child_nodes(node)
