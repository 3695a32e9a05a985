"""Several processes that do something at the same moment, as on a machine where somebody starts a service twice."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")

# What unpickling imports is imported before the process says that it is ready.
_CHILD = """
import pickle, sys
orders, answers = sys.stdin.buffer, sys.stdout.buffer
sys.path[:] = pickle.load(orders)
work, argument = pickle.load(orders)
answers.write(b"ready\\n")
answers.flush()
if not orders.readline():
    sys.exit("whoever started this process has gone")
pickle.dump(work(argument), answers)
"""


def at_once(work: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
    """What a function returns for each argument, each in a new interpreter; all begin when the last one is ready.

    They are programs and no `multiprocessing` children, which a worker of a cluster may not have and which would run
    the caller's script again.

    Args:
        work: can be pickled, as must its arguments and results be.

    Raises:
        RuntimeError: a process failed; it has said why on standard error.
    """
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in arguments
        ]
        pipes = [(child.stdin, child.stdout) for child in children if child.stdin and child.stdout]
        try:
            for (orders, _), argument in zip(pipes, arguments, strict=True):
                orders.write(pickle.dumps(sys.path) + pickle.dumps((work, argument)))
                orders.flush()
            for _, answers in pipes:
                answers.readline()
            for orders, _ in pipes:
                orders.write(b"go\n")
                orders.flush()
            return [pickle.load(answers) for _, answers in pipes]
        except (BrokenPipeError, EOFError) as error:
            raise RuntimeError(f"one of {len(children)} processes that were to work at once failed") from error
