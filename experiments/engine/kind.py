"""What the engine must know of a kind of experiment. All of it is named, so that nothing is imported before its use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.engine.tasks import point_tasks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from experiments.engine.executors import Evaluate

MakeTasks = Callable[[Any, Sequence[Any], Path], Sequence[Any]]
"""From a config, the points that are wanted and a folder for scratch files to a task for each point."""


@dataclass(frozen=True)
class FunctionByName:
    """A function, imported where it is first called, which may be another process than the one that passes it on.

    Attributes:
        package: dotted name.
        function: "module.function" in the package.
    """

    package: str
    function: str

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        module, _, name = self.function.partition(".")
        return getattr(importlib.import_module(f"{self.package}.{module}"), name)(*arguments)


@dataclass(frozen=True)
class Kind:
    """One kind of experiment: a package with the modules `config`, `figure`, `finding`, and one that computes rows.

    Attributes:
        name: what configs call it.
        package: its dotted name. `figure` holds FIGURES and `finding` holds FINDINGS, both by the name of the figure.
        evaluate: "module.function", from a task to its row. It may be called in another process, while the folder of
            scratch files exists.
        tasks: "module.function", a `MakeTasks` function; None where rows depend on the config and the point alone.
    """

    name: str
    package: str
    evaluate: str
    tasks: str | None = None

    @property
    def row_modules(self) -> tuple[str, ...]:
        """Dotted names of the modules that make tasks and compute rows, which depend on all that these import."""
        functions = (self.evaluate, self.tasks or self.evaluate)
        return tuple(dict.fromkeys(f"{self.package}.{function.partition('.')[0]}" for function in functions))

    @property
    def figure_module(self) -> str:
        """Dotted name of the module that draws figures."""
        return f"{self.package}.figure"

    def functions(self) -> tuple[MakeTasks, Evaluate]:
        """`tasks` and `evaluate`."""
        make_tasks = point_tasks if self.tasks is None else FunctionByName(self.package, self.tasks)
        return make_tasks, FunctionByName(self.package, self.evaluate)

    def figures(self) -> Mapping[str, Callable[[pd.DataFrame], Figure]]:
        """The figures by name; each is drawn from a table alone."""
        figures: Mapping[str, Callable[[pd.DataFrame], Figure]] = importlib.import_module(self.figure_module).FIGURES
        return figures

    def findings(self) -> Mapping[str, Callable[[pd.DataFrame], str]]:
        """By the name of the figure, a function from its table to a sentence; ValueError if the table denies it."""
        findings: Mapping[str, Callable[[pd.DataFrame], str]] = importlib.import_module(
            f"{self.package}.finding"
        ).FINDINGS
        return findings
