"""The table of what others reach."""

from __future__ import annotations

from dp.accounting.known_noise import KnownNoise, known_noise
from experiments.documentation.markdown import markdown_table
from experiments.documentation.mechanism_tables import ClassSetting

BASIS = {"stated": "stated there", "computed": "computed here from what they define", "run": "their program"}


def table() -> str:
    """Every number, with its source, and how far it is ahead of ours."""
    titles = ["class, W_BOUND, T", "who", "what", "of the deviations", "number", "where it is from", "ours"]
    return markdown_table(titles, "llllrll", [_cells(one) for one in known_noise()])


def _cells(one: KnownNoise) -> list[str]:
    setting = ClassSetting(one.unit, one.window, one.w_bound, one.horizon)
    unit = "× μ" if one.noise == "gaussian" else "in users"
    behind = f"**{100 * (one.ahead - 1):.1f} % behind**" if one.ahead else "not behind"
    whose = f"`{one.mechanism}` " if one.mechanism else ""
    return [
        f"{setting.title}, {one.w_bound}, {one.horizon}", one.source, one.method, f"{one.statistic} {unit}",
        f"{one.value:.4g}", BASIS[one.basis], f"{whose}{behind}",
    ]  # fmt: skip
