"""The names in `dp.names`, which imports nothing, are those of the registries, in their order."""

from __future__ import annotations

import ast
from typing import get_args

from dp import names
from dp.accounting.accountants import ACCOUNTANTS
from dp.auditing.attacks import ATTACKS
from dp.mechanisms import MECHANISMS
from dp.sketches import SKETCHES
from dp.units import PrivacyUnit
from tests.places import ROOT


def test_names_are_those_of_the_registries() -> None:
    assert tuple(MECHANISMS) == names.MECHANISMS
    assert tuple(SKETCHES) == names.SKETCHES
    assert tuple(ACCOUNTANTS) == names.ACCOUNTANTS
    assert tuple(ATTACKS) == names.ATTACKS
    assert get_args(PrivacyUnit) == names.UNITS


def test_what_the_names_say_of_mechanisms_and_sketches_is_true() -> None:
    assert tuple(name for name, one in MECHANISMS.items() if not one.data_dependent) == names.LINEAR_MECHANISMS
    assert tuple(name for name, one in MECHANISMS.items() if one.own_bounds) == names.OWN_BOUND_MECHANISMS
    assert tuple(name for name, one in SKETCHES.items() if not one.refusal) == names.RELEASED_SKETCHES
    assert names.DEFAULT_MECHANISM in MECHANISMS
    assert MECHANISMS[names.default_mechanism(0)].delta == "none"
    assert names.default_mechanism(1e-300) == names.DEFAULT_MECHANISM


def test_nothing_is_imported_and_no_list_is_copied() -> None:
    tree = ast.parse((ROOT / "dp/names.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    lists = (names.LINEAR_MECHANISMS, names.SKETCHES, names.ACCOUNTANTS, names.ATTACKS)
    registries = {"dp/names.py", "dp/mechanisms/__init__.py", "dp/sketches/__init__.py", "dp/accounting/accountants.py"}
    for folder in ("dp", "experiments", "workbench"):
        for path in (ROOT / folder).rglob("*.py"):
            if str(path.relative_to(ROOT)) in registries | {"dp/auditing/attacks/__init__.py"}:
                continue
            text = path.read_text(encoding="utf-8")
            if not any(all(word in text for word in known) for known in lists):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Tuple | ast.List):
                    words = [one.value for one in node.elts if isinstance(one, ast.Constant)]
                    assert not any(set(known) <= set(words) for known in lists), path
