"""Every linear mechanism with Gaussian noise against the lower bound, over horizons and over W_BOUND.

The numbers take minutes, so they are computed once, by `make mechanisms`, and kept in results/mechanisms.json; the
tables of docs/mechanisms.md and the figures are made from that file. Laplace noise has no μ and is left out.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dp.mechanisms import MECHANISMS, linear_design
from dp.mechanisms.lower_bound import lower_bound
from dp.names import YEAR
from dp.units import ProtectedClass, protected_class
from experiments.documentation.markdown import markdown_table
from experiments.engine.files import write_atomically
from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.pictures import save
from experiments.engine.places import RESULTS, ROOT
from experiments.engine.style import COLOURS, MARKERS, SETTINGS, TRUTH, UNIT_TITLES, dash

STORE = RESULTS / "mechanisms.json"
IMAGES = ROOT / "docs" / "images"

NAMES = tuple(name for name, family in MECHANISMS.items() if family.strategy and family.noise == "gaussian")


@dataclass(frozen=True, order=True)
class ClassSetting:
    """Arguments of `protected_class`; `window` in days does not matter for the unit user."""

    unit: str
    window: int
    w_bound: int
    horizon: int

    @property
    def protected(self) -> ProtectedClass:
        """The class."""
        return protected_class(self.unit, self.window, self.w_bound, self.horizon)

    @property
    def title(self) -> str:
        """What is protected, without the horizon and W_BOUND."""
        windows = {1: "DAU", 7: "WAU", 30: "MAU"}
        return "any count, unit user" if self.unit == "user" else f"{windows[self.window]}, unit user-day"


TABLE_HORIZONS = (90, 365, 1024, 4096)
HORIZONS = (90, 182, 365, 1024, 2048, 4096)
PROTECTED_CLASSES = (("user-day", 7, 2), ("user-day", 30, 2), ("user", 30, 2), ("user", 30, 24))
W_BOUNDS = {"user-day": (2, 4, 8, 16, 24), "user": (2, 4, 8, 16, 24, 48)}

BY_HORIZON = tuple(ClassSetting(*one, horizon) for one in PROTECTED_CLASSES for horizon in HORIZONS)
BY_W_BOUND = tuple(ClassSetting(unit, 30, w_bound, YEAR) for unit, bounds in W_BOUNDS.items() for w_bound in bounds)


@dataclass(frozen=True)
class MechanismRow:
    """One mechanism for one class.

    Attributes:
        rms_factor: root mean square over the horizon of the standard deviation of a release times μ, in users.
        max_factor: the largest over the horizon.
        lower_bound: of `rms_factor`, over all mechanisms.
    """

    setting: ClassSetting
    mechanism: str
    rms_factor: float
    max_factor: float
    lower_bound: float

    @property
    def ratio(self) -> float:
        """The factor over the lower bound."""
        return self.rms_factor / self.lower_bound


def compute_row(name: str, setting: ClassSetting) -> MechanismRow:
    """Compute the row of a mechanism."""
    chosen = linear_design(name, setting.protected)
    energy = chosen.strategy.decoder_energy(setting.horizon)
    typical, largest = (chosen.sensitivity * math.sqrt(value) for value in (energy.mean(), energy.max()))
    return MechanismRow(setting, name, typical, largest, lower_bound(setting.protected))


def stored_rows(path: Path = STORE) -> list[MechanismRow]:
    """The rows that `compute` stored."""
    return [
        MechanismRow(ClassSetting(**row.pop("setting")), **row) for row in json.loads(path.read_text(encoding="utf-8"))
    ]  # fmt: skip


def compute(path: Path = STORE) -> None:
    """Compute all rows, some minutes, and replace the file."""
    settings = sorted({*BY_HORIZON, *BY_W_BOUND})
    rows = []
    for number, setting in enumerate(settings, start=1):
        print(f"{number}/{len(settings)} {setting}", file=sys.stderr, flush=True)
        rows += [json.dumps(asdict(compute_row(name, setting))) for name in NAMES]
    write_atomically(path, ("[\n" + ",\n".join(rows) + "\n]\n").encode())


def table(path: Path = STORE) -> str:
    """Factors and, in brackets, how many times the lower bound, for every class and horizon of the documentation."""
    known = {(row.setting, row.mechanism): row for row in stored_rows(path)}
    lines = []
    for setting in BY_HORIZON:
        if setting.horizon in TABLE_HORIZONS:
            rows = [known[setting, name] for name in NAMES]
            best = min(row.rms_factor for row in rows)
            title = f"{setting.title}, {setting.w_bound}, {setting.horizon}"
            lines.append([title, f"{rows[0].lower_bound:.3f}", *(_cell(row, best) for row in rows)])
    titles = ["class, W_BOUND, T", "lower bound", *(f"`{name}`" for name in NAMES)]
    return markdown_table(titles, "lr" + "r" * len(NAMES), lines)


def horizon_figure(rows: Sequence[MechanismRow]) -> Figure:
    """Error against the horizon, one panel a class."""
    panels = [
        [row for row in rows if row.setting in BY_HORIZON and _class(row.setting) == one] for one in PROTECTED_CLASSES
    ]
    titles = [f"{part[0].setting.title}, W_BOUND = {part[0].setting.w_bound}" for part in panels]
    return _figure(panels, titles, "horizon", "horizon T [days]", "Error against the horizon", columns=2)


def w_bound_figure(rows: Sequence[MechanismRow]) -> Figure:
    """Error against W_BOUND over a year of MAU, one panel a unit."""
    panels = [[row for row in rows if row.setting in BY_W_BOUND and row.setting.unit == unit] for unit in W_BOUNDS]
    titles = [f"{UNIT_TITLES[unit]}, T = {YEAR}" for unit in W_BOUNDS]
    return _figure(panels, titles, "w_bound", "W_BOUND [flips]", "MAU, error against W_BOUND", columns=2)


def draw_pictures(path: Path = STORE, images: Path = IMAGES) -> list[Path]:
    """Draw both figures from the stored rows; returns the paths of the pictures."""
    rows = stored_rows(path)
    pictures = {"mechanisms-horizon.png": horizon_figure(rows), "mechanisms-w-bound.png": w_bound_figure(rows)}
    for name, figure in pictures.items():
        save(figure, images / name)
    return [images / name for name in pictures]


def _figure(
    panels: Sequence[Sequence[MechanismRow]], titles: Sequence[str], along: str, label: str, title: str, columns: int
) -> Figure:
    with mpl.rc_context(SETTINGS):
        lines = -(-len(panels) // columns)
        figure = Figure(figsize=(7.2, 2.7 * lines + 1.1), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False)
        for axis, rows, heading in zip(axes.flat, panels, titles, strict=True):
            _curves(axis, rows, along)
            axis.set_title(heading, loc="left")
            axis.set_xlabel(label)
        letter_panels(axes.flat)
        for row in axes:
            row[0].set_ylabel("noise of a release × μ [users]")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside upper center", ncols=5, handlelength=3.0,
            title=f"{title}: root mean square of the standard deviation, times μ",
        )  # fmt: skip
        return figure


def _curves(axis: Axes, rows: Sequence[MechanismRow], along: str) -> None:
    for name in NAMES:
        curve = sorted((getattr(row.setting, along), row.rms_factor) for row in rows if row.mechanism == name)
        axis.plot(
            *zip(*curve, strict=True), label=name, color=COLOURS[name], marker=MARKERS[name], markersize=4,
            linewidth=1.0, linestyle=dash(name),
        )  # fmt: skip
    bounds = sorted({(getattr(row.setting, along), row.lower_bound) for row in rows})
    axis.plot(*zip(*bounds, strict=True), label="lower bound", color=TRUTH, linestyle="--", linewidth=1.3)
    axis.set_xscale("log")
    axis.set_yscale("log")
    plain_ticks(axis.xaxis, [x for x, _ in bounds])
    lowest, highest = axis.get_ylim()
    ticks = (1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
    plain_ticks(axis.yaxis, [tick for tick in ticks if lowest <= tick <= highest])


def _class(setting: ClassSetting) -> tuple[str, int, int]:
    return setting.unit, setting.window, setting.w_bound


def _cell(row: MechanismRow, best: float) -> str:
    text = f"{row.rms_factor:.3f} ({row.ratio:.2f})"
    return f"**{text}**" if row.rms_factor == best else text


def main(arguments: list[str]) -> int:
    """`compute` makes the numbers and the figures; `redraw` the figures from the numbers there are."""
    if arguments not in (["compute"], ["redraw"]):
        print("usage: python -m experiments.documentation.mechanism_tables compute | redraw", file=sys.stderr)
        return 2
    if arguments == ["compute"]:
        compute()
        print(STORE)
    print(*draw_pictures(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
