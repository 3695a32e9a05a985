"""Designs that take long to choose, kept on disk from one process to the next.

A file is JSON of numbers; nothing in it runs. It lies in `$DPDAU_CACHE`, or else in `$XDG_CACHE_HOME/dpdau` or
`~/.cache/dpdau`; an empty DPDAU_CACHE turns the cache off. Its key is the mechanism, the class, and a digest of the
code that chose, so that a changed line chooses anew.

The sensitivity sets the noise, so a file is trusted like the program itself: it is read only if it and its folder
belong to the user who runs the program and nobody else can write to them. Whoever can write there could as well change
the user's programs. A digest of the content finds damage. What fails a check is ignored and computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import scipy

import dp.units
from dp.mechanisms.binary_tree import TreeStrategy
from dp.mechanisms.buffers import BufferStrategy
from dp.mechanisms.dense import DenseStrategy
from dp.mechanisms.linear import Strategy
from dp.mechanisms.smooth_binary import SmoothBinaryStrategy
from dp.mechanisms.subtraction_tree import SubtractionTreeStrategy
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.units import PresenceChange, ProtectedClass

Value = TypeVar("Value")
Change = TypeVar("Change", ProtectedClass, PresenceChange)
Json = Any

FOLDER_VARIABLE = "DPDAU_CACHE"

WORTH_KEEPING = 0.05
"""Seconds; what is computed faster is not written."""

STRATEGIES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        BufferStrategy,
        DenseStrategy,
        SmoothBinaryStrategy,
        SubtractionTreeStrategy,
        ToeplitzStrategy,
        TreeStrategy,
    )
}
"""What a file may hold: value objects of whole numbers, whose constructors check them."""


class Choice(NamedTuple):
    """A strategy for a class with what calibration needs to know of it.

    Attributes:
        sensitivity_squared: the bound on ‖B⁻¹Δ‖₂² over the class, in squared users.
        touched: most measurements that one protected change can alter.
    """

    strategy: Strategy
    sensitivity_squared: float
    touched: int


def choice(name: str, protected: ProtectedClass, choose: Callable[[ProtectedClass], Strategy]) -> Choice:
    """What `choose` gives for the class, from disk if it is there.

    Raises:
        ValueError: the mechanism cannot serve the class.
    """

    def compute() -> Choice:
        strategy = choose(protected)
        return Choice(strategy, strategy.sensitivity_squared(protected), strategy.touched(protected))

    return _kept(name, protected, compute, _from_choice, _to_choice) if is_ours(choose) else compute()


def is_ours(choose: Callable[[ProtectedClass], Strategy]) -> bool:
    """Whether code of this package chooses: a key says which code of it did, and knows of no other."""
    return choose.__module__.startswith("dp.mechanisms.")


def number(name: str, protected: Change, compute: Callable[[Change], float]) -> float:
    """What `compute` gives for the class, from disk if it is there."""
    return _kept(name, protected, lambda: compute(protected), float.hex, _to_positive)


def _kept(
    name: str,
    protected: ProtectedClass | PresenceChange,
    compute: Callable[[], Value],
    to_json: Callable[[Value], Json],
    from_json: Callable[[Json], Value],
) -> Value:
    folder = _folder()
    if folder is None:
        return compute()
    # As JSON gives it back.
    key = json.loads(json.dumps({"name": name, "class": asdict(protected), "code": _code_digest()}))
    path = folder / f"{name}-{_digest(json.dumps(key))[:32]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        return from_json(_read(path, key))
    began = time.perf_counter()
    value = compute()
    if time.perf_counter() - began > WORTH_KEEPING:
        # A strategy of another kind is not kept, nor anything where nothing can be written.
        with contextlib.suppress(OSError, KeyError):
            _write(path, {"key": key, "value": to_json(value)})
    return value


def _folder() -> Path | None:
    """Where the files lie; None if the cache is off, or nobody can say who may write there."""
    if os.name != "posix":
        return None
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen is not None:
        return Path(chosen).absolute() if chosen else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return Path(base, "dpdau")
    with contextlib.suppress(RuntimeError):
        return Path.home() / ".cache" / "dpdau"
    return None


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """A digest of the code that chooses, and of the versions that its last digits depend on."""
    found = hashlib.sha256(f"{sys.version} {np.__version__} {scipy.__version__}".encode())
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(dp.units.__file__)):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, key: Json) -> Json:
    """The value of a file that may be trusted.

    Raises:
        OSError: it cannot be read, or somebody else could have written it.
        ValueError: it is damaged or was written for another key.
    """
    _validate_private(path.parent.lstat(), stat.S_ISDIR)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)) as file:
        _validate_private(os.fstat(file.fileno()), stat.S_ISREG)
        digest, text = file.read().split("\n", 1)
    content = json.loads(text)
    if digest != _digest(text) or content["key"] != key:
        raise ValueError(f"{path} is damaged, or the design of something else")
    return content["value"]


def _write(path: Path, content: Json) -> None:
    """Put the file in its place at once, so that no other process reads half of it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps(content)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{_digest(text)}\n{text}")
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink()
        raise


def _validate_private(status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not is_kind(status.st_mode) or status.st_uid != os.geteuid() or others_write:
        raise PermissionError("a cache that somebody else can write to is not read")


def _from_choice(made: Choice) -> Json:
    """KeyError if the strategy is of a kind that is not kept."""
    strategy = made.strategy
    kind = type(strategy).__name__
    values = {field.name: getattr(strategy, field.name) for field in fields(STRATEGIES[kind])}
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}
    return {
        "strategy": kind,
        "values": plain,
        "sensitivity_squared": made.sensitivity_squared.hex(),
        "touched": made.touched,
    }


def _to_choice(stored: Json) -> Choice:
    strategy = STRATEGIES[stored["strategy"]](**{name: _to_whole(value) for name, value in stored["values"].items()})
    return Choice(cast(Strategy, strategy), _to_positive(stored["sensitivity_squared"]), _to_whole(stored["touched"]))


def _to_whole(stored: Json) -> Any:
    """A whole number, a flag, a tuple of them, or a matrix."""
    if isinstance(stored, list):
        if stored and isinstance(stored[0], list):
            return np.array(stored, dtype=np.int64)
        return tuple(_to_whole(each) for each in stored)
    if type(stored) not in (int, bool):
        raise ValueError(f"{stored!r} is not a whole number")
    return stored


def _to_positive(stored: Json) -> float:
    value = float.fromhex(stored)
    if not 0 < value < math.inf:
        raise ValueError(f"{value} is not a positive number")
    return value
