"""An audit by name gives what the command gives."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dp.auditing import audit
from tests.laws import each
from workbench.cli.main import main

SHORT = ("audit", "--metric", "wau", "--horizon", "20", "--trials", "2e4", "--seed", "3")


def test_an_audit_by_name_is_that_of_the_command():
    class_options = {"metric": "wau", "horizon": 20}
    for results, options in (
        (audit("gaussian", **class_options, trials=20_000, seed=3), ["--mechanism", "gaussian"]),
        (audit(sketch="gf2", trials=20_000, seed=3), ["--sketch", "gf2"]),
    ):
        shown = CliRunner().invoke(main, [*SHORT, *options, "--format", "json"])
        rows = [{name: value for name, value in row.items() if name != "seconds"} for row in json.loads(shown.stdout)]
        assert [result.row() for result in results] == rows


@each(
    ("subject", "message"),
    [
        ({}, "give exactly one of them"),
        ({"mechanism": "gaussian", "sketch": "sfm"}, "give exactly one of them"),
        ({"mechanism": "gaussian", "metric": "yau"}, "metric is 'yau'; choose one of dau, wau, mau"),
        ({"mechanism": "magic"}, "choose one of laplace"),
    ],
)
def test_an_audit_by_name_needs_a_subject_that_exists(subject, message):
    with pytest.raises(ValueError, match=message):
        audit(**subject, trials=100)
