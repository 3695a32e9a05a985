"""The stored numbers of every mechanism against the lower bound: complete, not stale, and drawn as they are."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from dp.mechanisms.lower_bound import lower_bound
from experiments.documentation import mechanism_tables
from experiments.documentation.mechanism_tables import (
    BY_HORIZON,
    BY_W_BOUND,
    NAMES,
    PROTECTED_CLASSES,
    TABLE_HORIZONS,
    ClassSetting,
    MechanismRow,
    compute_row,
    draw_pictures,
    horizon_figure,
    stored_rows,
    table,
    w_bound_figure,
)

ROWS = {(row.setting, row.mechanism): row for row in stored_rows()}

CHEAP = (
    ("gaussian", ClassSetting("user", 30, 24, 4096), 1e-9),
    ("binary-tree", ClassSetting("user", 30, 2, 90), 1e-9),
    ("b-ary-tree", ClassSetting("user", 30, 2, 90), 1e-9),
    ("honaker-tree", ClassSetting("user-day", 7, 2, 90), 1e-9),
    ("smooth-binary", ClassSetting("user", 30, 2, 90), 1e-9),
    ("square-root", ClassSetting("user-day", 30, 2, 90), 1e-9),
    # What is optimised may stop elsewhere on another processor.
    ("damped-square-root", ClassSetting("user-day", 7, 2, 90), 1e-5),
    ("buffered-toeplitz", ClassSetting("user-day", 7, 2, 90), 1e-3),
    ("optimal", ClassSetting("user-day", 7, 2, 90), 1e-5),
)


@pytest.fixture
def no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower bounds take seconds; most tests do without."""
    monkeypatch.setattr(mechanism_tables, "lower_bound", lambda protected: 1.0)


def same(one: MechanismRow, other: MechanismRow, tolerance: float) -> bool:
    return one.rms_factor == pytest.approx(other.rms_factor, rel=tolerance) and one.max_factor == pytest.approx(
        other.max_factor, rel=tolerance
    )


def test_every_mechanism_stands_with_every_class() -> None:
    assert set(ROWS) == {(setting, name) for setting in {*BY_HORIZON, *BY_W_BOUND} for name in NAMES}


@pytest.mark.usefixtures("no_bound")
@pytest.mark.parametrize(("name", "setting", "tolerance"), CHEAP, ids=lambda value: str(value)[:20])
def test_stored_numbers_are_what_is_computed_today(name: str, setting: ClassSetting, tolerance: float) -> None:
    today = compute_row(name, setting)
    assert same(today, ROWS[setting, name], tolerance), "run `make mechanisms`"
    stale = replace(today, rms_factor=1.01 * today.rms_factor)
    assert not same(stale, ROWS[setting, name], tolerance)


@pytest.mark.parametrize(
    ("setting", "tolerance"),
    [
        pytest.param(ClassSetting("user-day", 7, 2, 90), 1e-5, id="one run"),
        pytest.param(ClassSetting("user", 30, 4, 365), 1e-3, id="several runs", marks=pytest.mark.slow),
    ],
)
def test_stored_lower_bounds_are_what_is_computed_today(setting: ClassSetting, tolerance: float) -> None:
    today = lower_bound(setting.protected)
    assert today == pytest.approx(ROWS[setting, "gaussian"].lower_bound, rel=tolerance), "run `make mechanisms`"


def test_no_mechanism_beats_the_lower_bound_and_all_share_it() -> None:
    assert min(row.ratio for row in ROWS.values()) >= 1
    for setting in {setting for setting, _ in ROWS}:
        assert len({ROWS[setting, name].lower_bound for name in NAMES}) == 1


def test_the_designs_numbers_stand_in_the_file() -> None:
    # docs/mechanisms.md, at T = 365: independent noise, √ over a user-day, and the lower bound without an end.
    mau = ClassSetting("user-day", 30, 2, 365)
    assert ROWS[mau, "gaussian"].rms_factor == pytest.approx(30**0.5)
    assert ROWS[mau, "square-root"].max_factor == pytest.approx(3.171, abs=1e-3)
    assert ROWS[mau, "damped-square-root"].max_factor == pytest.approx(2.555, abs=1e-3)
    assert ROWS[mau, "optimal"].lower_bound < 2.4545


def test_the_table_has_one_line_a_class_and_horizon_and_marks_the_best(tmp_path) -> None:
    lines = table().splitlines()
    assert len(lines) == 2 + len(PROTECTED_CLASSES) * len(TABLE_HORIZONS)
    assert all(line.count("|") == len(NAMES) + 3 for line in lines)
    assert all("**" in line for line in lines[2:])
    rows = [replace(row, lower_bound=row.rms_factor / 2) for row in ROWS.values()]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([asdict(row) for row in rows]))
    assert stored_rows(path) == rows
    assert all(line.count("(2.00)") == len(NAMES) for line in table(path).splitlines()[2:])


@pytest.mark.parametrize(
    ("figure", "label"), [(horizon_figure, "horizon T [days]"), (w_bound_figure, "W_BOUND [flips]")]
)
def test_figures_show_every_mechanism_and_the_bound(figure, label: str) -> None:
    drawn = figure(list(ROWS.values()))
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [*NAMES, "lower bound"]
    for axis in drawn.axes:
        assert axis.get_xlabel() == label
        assert axis.get_xscale() == axis.get_yscale() == "log"
        lines = {line.get_label(): line for line in axis.get_lines()}
        assert lines["lower bound"].get_linestyle() == "--"
        bound = lines["lower bound"].get_ydata()
        assert all((lines[name].get_ydata() >= bound).all() for name in NAMES)


@pytest.mark.slow
def test_figures_are_files(tmp_path) -> None:
    paths = draw_pictures(images=tmp_path)
    assert [path.name for path in paths] == ["mechanisms-horizon.png", "mechanisms-w-bound.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
