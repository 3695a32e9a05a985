"""Imports run one way and in no circle, and no module or function outgrows its room, as docs/architecture.md says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.places import ROOT

FOLDERS = ("dp", "experiments", "workbench")
MOST_LINES, MOST_FUNCTION_LINES = 400, 50

FOUNDATIONS = {
    "dp.arrays", "dp.counts", "dp.intervals", "dp.names", "dp.extensions", "dp.database_url", "dp.private_files",
    "dp.progress", "dp.questions", "dp.zones",
}  # fmt: skip
LIBRARY = FOUNDATIONS | {
    "dp.log", "dp.presence", "dp.sketches", "dp.units", "dp.noise", "dp.mechanisms", "dp.accounting", "dp.ledger",
    "dp.release",
}  # fmt: skip
EXPERIMENTS = {"experiments.engine", "experiments.kinds", "experiments.documentation", "experiments"}

# What each part may import of this project; itself is always allowed. A module belongs to the longest name that fits.
ALLOWED: dict[str, set[str]] = {
    **{name: FOUNDATIONS for name in FOUNDATIONS},
    "dp.log": FOUNDATIONS,
    "dp.presence": FOUNDATIONS | {"dp.log"},
    "dp.sketches": FOUNDATIONS | {"dp.log", "dp.presence"},
    "dp.units": FOUNDATIONS,
    "dp.noise": FOUNDATIONS,
    "dp.mechanisms": FOUNDATIONS | {"dp.units", "dp.noise"},
    "dp.accounting": FOUNDATIONS | {"dp.units", "dp.noise", "dp.mechanisms"},
    "dp.ledger": FOUNDATIONS | {"dp.accounting"},
    "dp.release": LIBRARY,
    "dp.auditing": LIBRARY,
    "dp.face": LIBRARY,
    "dp": LIBRARY | {"dp.face", "dp.auditing"},
    "experiments.engine": LIBRARY,
    "experiments.kinds": LIBRARY | {"dp.auditing", "experiments.engine"},
    "experiments.documentation": LIBRARY | {"dp.auditing", "experiments.engine", "experiments.kinds"},
    "experiments": LIBRARY | {"dp.auditing"} | EXPERIMENTS,
    "workbench.service": LIBRARY,
    "workbench": LIBRARY | {"dp.auditing", "workbench.service"} | EXPERIMENTS,
}
WEB_AND_TERMINAL = {"altair", "click", "fastapi", "prometheus_client", "rich", "starlette", "streamlit", "uvicorn"}
FOREIGN_TO_DP = WEB_AND_TERMINAL | {"flask", "matplotlib", "requests", "experiments", "workbench"}


def part_of(module: str) -> str:
    """The part of the house that a module belongs to."""
    pieces = module.split(".")
    names = (".".join(pieces[:length]) for length in range(len(pieces), 0, -1))
    return next(name for name in names if name in ALLOWED)


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


@cache
def nodes(source: str) -> list[ast.AST]:
    return list(ast.walk(parsed(source)))


@cache
def imports(source: str, *, everywhere: bool = True) -> set[str]:
    """All modules that a source text imports; with `everywhere` false only those that run when it is imported."""
    found, waiting = set[str](), list[ast.AST]([parsed(source)])
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.expr):
            continue  # Imports are statements, and expressions hold none.
        elif everywhere or not (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            waiting += ast.iter_child_nodes(node)
    return found


def violations(module: str, source: str) -> set[str]:
    part = part_of(module)
    own = {name for name in imports(source) if name.split(".")[0] in FOLDERS}
    # `from dp.release import Request` names a package and what it takes from it; the package alone is `dp`'s own.
    reached = {part_of(name) for name in own} - {part, "dp"}
    return reached - ALLOWED[part]


def type_names(source: str) -> set[str]:
    """The public classes and type aliases of a module; type variables mean nothing outside their signatures."""
    names = set[str]()
    for node in parsed(source).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and "TypeVar" not in ast.unparse(node.value or node):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name)}


def names_with_two_meanings(sources: dict[str, str]) -> dict[str, list[str]]:
    """Names of classes and type aliases that several modules define, with these modules."""
    homes: dict[str, list[str]] = {}
    for module, source in sources.items():
        for name in type_names(source):
            homes.setdefault(name, []).append(module)
    return {name: modules for name, modules in homes.items() if len(modules) > 1}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def circle(sources: dict[str, str]) -> list[str]:
    """A circle of modules that import each other when they are imported; empty if there is none."""
    graph = {
        module: {
            name
            for name in imports(source, everywhere=False)
            # A package takes in its submodules, which do not need its names: that is no circle.
            if name in sources and name != module and not module.startswith(f"{name}.")
        }
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def outgrown(source: str) -> Iterator[str]:
    """What is longer than its room, in words; the docstring of a function does not count."""
    lines = len(source.splitlines())
    if lines > MOST_LINES:
        yield f"{lines} lines, where {MOST_LINES} are the most"
    for node in nodes(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            described = node.body[0] if ast.get_docstring(node) else None
            words = (described.end_lineno or 0) - described.lineno + 1 if described else 0
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - words
            if length > MOST_FUNCTION_LINES:
                yield f"{node.name} has {length} lines, where {MOST_FUNCTION_LINES} are the most"


PATHS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SOURCES = {module_of(path): path.read_text(encoding="utf-8") for path in PATHS}


def foreign(module: str, source: str) -> set[str]:
    """Packages that have no place in a room: no web and no plotting in the library, no framework in the service."""
    roots = {name.split(".")[0] for name in imports(source)}
    if module.split(".")[0] == "dp":
        return roots & FOREIGN_TO_DP
    return roots & WEB_AND_TERMINAL if module.startswith("workbench.service") else set()


def test_imports_run_one_way() -> None:
    assert not {module: found for module, source in SOURCES.items() if (found := violations(module, source))}
    assert not {module: found for module, source in SOURCES.items() if (found := foreign(module, source))}


@cache
def mechanism_classes() -> set[str]:
    sources = [source for module, source in SOURCES.items() if module.startswith("dp.mechanisms")]
    return {node.name for source in sources for node in nodes(source) if isinstance(node, ast.ClassDef)}


def type_questions(source: str) -> set[str]:
    """The classes of mechanisms that a source text asks values for."""
    asked = set()
    for node in nodes(source):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            asked |= {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
    return asked & mechanism_classes()


def test_nobody_asks_which_mechanism_it_is() -> None:
    outside = {module: source for module, source in SOURCES.items() if not module.startswith("dp.mechanisms")}
    assert not {module: found for module, source in outside.items() if (found := type_questions(source))}


def test_the_public_face_imports_nothing_before_it_is_asked() -> None:
    assert imports(SOURCES["dp"], everywhere=False) <= {
        "importlib", "importlib.import_module", "typing", "typing.TYPE_CHECKING", "typing.Any",
    }  # fmt: skip


def test_there_is_no_circle() -> None:
    assert not circle(SOURCES)


def test_every_type_has_a_name_of_its_own() -> None:
    assert not names_with_two_meanings(SOURCES)


def test_nothing_outgrows_its_room() -> None:
    assert not {module: found for module, source in SOURCES.items() if (found := list(outgrown(source)))}


def test_no_room_is_empty_in_the_plan() -> None:
    """Every folder of the three stands in docs/architecture.md, and every room there exists."""
    plan = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for folder in {path.parent.relative_to(ROOT) for path in PATHS}:
        if len(folder.parts) == 2:
            assert f"`{folder.name}/`" in plan, folder
    named = re.findall(r"^\| `([a-z_]+)/`", plan, flags=re.MULTILINE)
    folders = {path.parent.name for path in PATHS} | {"configs"}
    assert set(named) <= folders


def test_an_arrow_that_runs_back_is_seen() -> None:
    assert violations("dp.units", "from dp.release import Request") == {"dp.release"}
    assert violations("dp.mechanisms.linear", "def f():\n    import dp.presence") == {"dp.presence"}
    assert violations("dp.presence.daily", "from dp.noise import Noise") == {"dp.noise"}
    assert violations("experiments.engine.runner", "from experiments.kinds import loading") == {"experiments.kinds"}
    assert violations("experiments.kinds.audit.trials", "from workbench.cli import main") == {"workbench"}
    assert violations("workbench.service.store", "from workbench.cli.output import write_rows") == {"workbench"}
    assert foreign("dp.release.plan", "import matplotlib.pyplot") == {"matplotlib"}
    assert foreign("workbench.service.store", "import fastapi") == {"fastapi"}
    assert not violations("workbench.cli.main", "from dp.release import Request")
    assert not violations("workbench.api.app", "from workbench.service import Service")


def test_a_question_for_the_type_is_seen() -> None:
    assert type_questions("isinstance(x, LinearMechanism | SparseVector)") == {"LinearMechanism", "SparseVector"}
    assert not type_questions("isinstance(x, int)")


def test_a_circle_and_an_outgrown_module_are_seen() -> None:
    there = {"dp.a": "import dp.b", "dp.b": "from dp import c\nfrom dp.c import x", "dp.c": "import dp.a"}
    assert set(circle(there)) == {"dp.a", "dp.b", "dp.c"}
    assert not circle({**there, "dp.c": "def late():\n    import dp.a"})
    assert [*outgrown("x = 1\n" * 401)] == ["401 lines, where 400 are the most"]
    assert [*outgrown("def f():\n" + "    x = 1\n" * 50)] == ["f has 51 lines, where 50 are the most"]


def test_a_second_meaning_of_a_name_is_seen() -> None:
    there = {"dp.a": "class Series: ...\nT = TypeVar('T')\nWIDTH = 1", "dp.b": "from dp.a import Series\nWIDTH = 2"}
    assert not names_with_two_meanings(there)
    for second in ("class Series: ...", "Series = tuple[int, ...]", "Series: TypeAlias = 'tuple[int, ...]'"):
        assert names_with_two_meanings({**there, "workbench.c": second}) == {"Series": ["dp.a", "workbench.c"]}
    assert names_with_two_meanings({**SOURCES, "dp.again": "class ProtectedClass: ..."}) == {
        "ProtectedClass": ["dp.units", "dp.again"]
    }
