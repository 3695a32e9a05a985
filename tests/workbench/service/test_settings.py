"""Settings: defaults, where they come from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dp.accounting.composition import Guarantee
from dp.questions import breakdown
from tests.laws import each
from tests.oracles.service_model import FIRST
from tests.places import ROOT
from workbench.service import (
    SettingsError,
    load_settings,
    settings_text,
)
from workbench.service.settings import names


def test_the_defaults() -> None:
    settings = load_settings(None, {})
    assert {metric: (one.window, one.epsilon) for metric, one in settings.series.items()} == {
        "dau": (1, 0.3),
        "wau": (7, 0.4),
        "mau": (30, 0.5),
    }
    assert {(one.delta, one.w_bound, one.unit) for one in settings.series.values()} == {(1e-6, 2, "user-day")}
    assert [one.mechanism for one in settings.series.values()] == ["gaussian", *["damped-square-root"] * 2]
    assert (settings.horizon, settings.timezone) == (365, "UTC")
    assert not settings.future_days
    assert not settings.show_truth


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 1\n[mau]\nepsilon = 0.1\nw_bound = 4\ndelta = 1e-7\n")
    settings = load_settings(file, {"DPDAU_MAU_EPSILON": "0.2", "DPDAU_MAU_W_BOUND": "6"}, [("mau.epsilon", "0.3")])
    assert (settings.port, settings.mau.epsilon, settings.mau.w_bound, settings.mau.delta) == (1, 0.3, 6, 1e-7)
    assert settings.mau.mechanism == "damped-square-root", "what is not named keeps its default"
    assert settings.wau == load_settings(None, {}).wau


def test_settings_written_as_text_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    settings = load_settings(
        None,
        {},
        [("horizon", "unlimited"), ("budget", 'a "b" \\ ü'), ("first_day", "2026-01-01"), ("mau.fresh_epsilon", "0.1")],
    )
    file.write_text(settings_text(settings), encoding="utf-8")
    assert load_settings(file, {}) == settings


@each("text", ["colour = 1", "[mau]\ncolour = 1", "[colour]", "[port]\nx = 1", "mau = 5"])
def test_an_unknown_name_in_a_file_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text + "\n")
    with pytest.raises(SettingsError, match=r"colour|port|mau"):
        load_settings(file, {})


def test_an_unknown_name_on_the_command_line_is_refused_and_a_foreign_variable_is_not() -> None:
    with pytest.raises(SettingsError, match=r"--set: 'mau\.colour' is no setting"):
        load_settings(None, {}, [("mau.colour", "red")])
    assert load_settings(None, {"DPDAU_COLOUR": "red"}) == load_settings(None, {})


VARIABLES = {name: "DPDAU_" + name.replace(".", "_").upper() for name in names()}


@pytest.mark.parametrize("name", names())
def test_a_misspelt_variable_is_refused_with_the_right_name(name: str) -> None:
    right = VARIABLES[name]
    for place in range(len("DPDAU_") + 1, len(right)):
        missing, swapped = right[:place] + right[place + 1 :], right[:place] + "X" + right[place:]
        for wrong in (missing, swapped):
            if wrong not in VARIABLES.values() and len(right) > 10:
                with pytest.raises(SettingsError, match=rf"^{wrong} is no setting, perhaps .*\b{right}\b.* is meant"):
                    load_settings(None, {wrong: "1"})


@each("variable", ["DPDAU_MAU_EPS", "DPDAU_DAU_SIGMA", "DPDAU_WAU_EPSILON_TOTAL", "DPDAU_TIME_ZONE"])
def test_a_variable_of_a_series_that_it_does_not_have_is_refused(variable: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{variable} is no setting, perhaps DPDAU_"):
        load_settings(None, {variable: "1"})


def test_variables_of_the_project_that_are_no_settings_are_left_alone() -> None:
    text = "".join(
        path.read_text() for folder in ("dp", "workbench", "tests") for path in (ROOT / folder).rglob("*.py")
    )
    others = set(re.findall(r"\bDPDAU_[A-Z_]+[A-Z]\b", text.replace("test_settings", ""))) - set(VARIABLES.values())
    assert {"DPDAU_CACHE", "DPDAU_CONFIG", "DPDAU_SALT_FILE"} <= others
    mine = {"DPDAU_MAU_EPS", "DPDAU_DAU_SIGMA", "DPDAU_WAU_EPSILON_TOTAL", "DPDAU_TIME_ZONE"}
    more = {"DPDAU_SERVICE_HOST", "DPDAU_SERVICE_PORT", "DPDAU_PORT_8000_TCP", "DPDAU_HOME", "DPDAU_VERSION"}
    assert load_settings(None, dict.fromkeys((others - mine) | more, "x")) == load_settings(None, {})


def test_an_impossible_value_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 70000\n[mau]\nepsilon = -1\n")
    with pytest.raises(SettingsError, match=rf"port is 70000; give 0 to 65535.*port comes from {file}"):
        load_settings(file, {})
    with pytest.raises(SettingsError, match=rf"mau.*epsilon.*mau.epsilon comes from {file}"):
        load_settings(file, {"DPDAU_PORT": "1"})
    with pytest.raises(SettingsError, match=r"port has an impossible value, 'http'.*port comes from DPDAU_PORT"):
        load_settings(file, {"DPDAU_PORT": "http"})
    with pytest.raises(SettingsError, match=r"'mau.epsilom' is no setting; .*; perhaps mau.epsilon or"):
        load_settings(None, {}, [("mau.epsilom", "1")])


@each("port", ["", "0", "50051"])
def test_grpc_is_off_unless_its_port_is_set(port: str) -> None:
    assert load_settings(None, {}).grpc_port is None
    assert load_settings(None, {"DPDAU_GRPC_PORT": port}).grpc_port == (int(port) if port else None)
    with pytest.raises(SettingsError, match="port and grpc_port are both 8000"):
        load_settings(None, {}, [("grpc_port", "8000")])


@each(
    ("name", "value", "named"),
    [
        *[("grpc_port", value, "grpc_port") for value in ("-1", "65536", "grpc")],
        *[("mau.epsilon", value, "mau.*epsilon") for value in ("-1", "0", "nan", "inf", "many", "")],
        *[("wau.delta", value, "wau.*delta") for value in ("1", "0", "-1", "nan")],
        *[("dau.w_bound", value, "dau.*w_bound") for value in ("0", "-2", "1.5")],
        *[("mau.window", value, "mau") for value in ("29", "0", "month")],
        ("dau.window", "7", "dau 7"),
        *[("mau.fresh_epsilon", value, "mau.*epsilon") for value in ("-1", "0", "nan")],
        *[("ci_level", value, "level") for value in ("0", "1", "95")],
        *[("budget_epsilon", value, "budget_epsilon") for value in ("0", "-3", "nan", "inf")],
        *[("budget_delta", value, "budget_delta") for value in ("1", "-1", "nan")],
        *[("timezone", value, "timezone") for value in ("Middle/Earth", "", "../UTC", "/etc/passwd")],
        *[("horizon", value, "horizon") for value in ("0", "-1", "36601", "never")],
        *[("port", value, "port") for value in ("-1", "65536", "http")],
        *[(name, "", name) for name in ("store", "ledger", "budget", "host")],
        ("first_day", "2026-02-30", "first_day"),
        ("future_days", "maybe", "future_days"),
        ("mau.unit", "household", "mau.*household"),
        ("mau.mechanism", "magic", "mau.mechanism.*magic"),
        ("mau.mechanism", "adaptive-flippancy", "mau.mechanism is adaptive-flippancy, which needs every day counted"),
    ],
)
def test_an_impossible_value_is_refused_by_name(name: str, value: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(None, {}, [(name, value)])


def test_pure_mechanisms_need_no_delta_but_none_may_be_impossible() -> None:
    for mechanism in ("laplace", "sparse-vector"):
        settings = load_settings(None, {}, [("mau.mechanism", mechanism), ("mau.delta", "0")])
        assert settings.request("mau", FIRST).guarantee == Guarantee(0.5, 0.0)
        with pytest.raises(SettingsError, match=r"mau.delta is -5"):
            load_settings(None, {}, [("mau.mechanism", mechanism), ("mau.delta", "-5")])


def test_values_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"mau.*horizon"):
        load_settings(None, {}, [("mau.unit", "user"), ("horizon", "unlimited")])
    for one, other in (("store", "ledger"), ("key", "store"), ("key", "ledger"), ("keys", "store"), ("keys", "key")):
        with pytest.raises(SettingsError, match="a file of its own"):
            load_settings(None, {}, [(one, "same.db"), (other, "./same.db")])


@each(
    ("given", "said"),
    [
        ((("questions.mau.epsilon", "1"),), "published anyway"),
        ((("questions.mau/x.epsilon", "1"),), "no question 'mau/x'.*dau, wau, mau, week, month"),
        ((("questions.week.epsilon", "-1"),), "epsilon is -1.*questions.week.epsilon comes from --set"),
        ((("questions.week.epsilon", "x"),), "Expected `float`.*questions.week.epsilon = 'x' comes from --set"),
        ((("questions.week.epsilon", "1"), ("questions.week.mechanism", "sparse-vector")), "need a linear one"),
        ((("questions.week.window", "1"),), "'questions.week.window' is no setting"),
        ((("questions.week.delta", "1e-7"),), "missing required field `epsilon`.*questions.week.delta"),
        ((("by.p.kind", "fixed"), ("by.p.values", "a")), "a live store has none"),
        ((("by.p.kind", "lasst"), ("by.p.values", "a")), "'lasst' is none of fixed, any, last and any:K"),
        ((("by.p.kind", "last"),), "missing required field `values`.*by.p.kind = 'last'"),
        ((("by.p.kind", "last"), ("by.p.values", "a,a")), "lists 'a' twice"),
        ((("by.p.kind", "last"), ("by.p.values", "other")), "lists the value 'other'"),
        (
            (("by.p.kind", "last"), ("by.p.values", ",".join(map(str, range(10_000))))),
            "10,001 segments.*at most 10,000",
        ),
        ((("by.a/b.kind", "last"), ("by.a/b.values", "x")), "cannot be called 'a/b'"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(given: tuple[tuple[str, str], ...], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(None, {}, given)


def test_questions_from_a_file_and_from_the_command_line_are_one(tmp_path: Path) -> None:
    file = tmp_path / "dpdau.toml"
    file.write_text(
        '[by.platform]\nkind = "any:2"\nvalues = ["ios", "web"]\n[by."a×b"]\nkind = "last"\n'
        'values = { a = ["x, y"], b = ["z"] }\n[questions."mau/flows/a×b"]\nepsilon = 0.2\n'
    )
    settings = load_settings(file, {}, [("questions.week/platform.epsilon", "0.1"), ("by.platform.kind", "last")])
    assert list(settings.asked) == ["mau/flows/a×b", "week/platform"]
    assert settings.asked["week/platform"].breakdown == breakdown("platform", ["ios", "web"], "last")
    assert settings.codes.listed == (("x, y",), ("z",), ("ios", "web"))
    again = tmp_path / "again.toml"
    again.write_text(settings_text(settings))
    assert load_settings(again, {}) == settings
