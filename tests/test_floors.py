"""The floors of the house (design.md): a file imports only from its own folder and from floors below."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "scalesearch"

# Lowest first, each with its floor's number in design.md: what stands on one line does not import each other.
FLOORS: list[tuple[int, set[str]]] = [
    (0, {"errors", "paths", "atomic"}),
    (0, {"arch"}),
    (1, {"nn", "data"}),
    (2, {"measure"}),
    (3, {"study"}),
    (4, {"search", "scaling"}),
    (4, {"detection", "retraining"}),
    (5, {"report"}),
    (5, {"export"}),
    (6, {"schemas"}),
    (6, {"arguments", "starting"}),
    (6, {"config"}),
    (6, {"multirun", "completion"}),
    (6, {"console"}),
    (6, {"commands"}),
    (6, {"cli", "__init__"}),
    (6, {"__main__"}),
]
HEIGHT = {part: height for height, (_, parts) in enumerate(FLOORS) for part in parts}
NUMBER = {part: number for number, parts in FLOORS for part in parts}
HEAVY = {"torch", "torchvision", "timm"}


class Import(NamedTuple):
    """One import of a file; ``on_load`` is false inside a function or ``if TYPE_CHECKING``."""

    module: str
    target: str
    line: int
    on_load: bool


def imports_of(package: Path) -> dict[Path, list[Import]]:
    """Read every import of every file, relative ones and those inside functions too."""
    root = package.parent
    names = {_module_name(path, root): path for path in sorted(package.rglob("*.py"))}
    return {path: list(_imports(path, name, names)) for name, path in names.items()}


def floor_mistakes(package: Path) -> list[str]:
    """Say ``file:line imports X (floor n from floor m)`` for each import that reaches sideways or up."""
    mistakes = []
    for path, found in imports_of(package).items():
        part = path.relative_to(package).parts[0].removesuffix(".py")
        if part not in HEIGHT:
            mistakes.append(f"{path}:1 stands on no floor")
            continue
        for each in found:
            where = f"{path}:{each.line} imports {each.target}"
            if NUMBER[part] == 0 and each.target.split(".")[0] in HEAVY:
                mistakes.append(f"{where} (not on floor 0)")
            if each.target.split(".")[0] != package.name:
                continue
            other = [*each.target.split("."), "__init__"][1]
            if other != part and HEIGHT.get(other, len(FLOORS)) >= HEIGHT[part] and part != "__init__":
                mistakes.append(f"{where} (floor {NUMBER.get(other, 'none')} from floor {NUMBER[part]})")
    return mistakes


def import_cycle(package: Path) -> list[str]:
    """Return the modules of a ring of imports that run on loading; none gives an empty list."""
    graph: dict[str, set[str]] = {}
    for found in imports_of(package).values():
        for each in found:
            if each.on_load and each.target.split(".")[0] == package.name:
                graph.setdefault(each.module, set()).add(each.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, module: str, names: dict[str, Path]) -> Iterator[Import]:
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node, on_load in _walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from package import module` loads the module; `from module import name` does not make one
            full = [f"{base}.{alias.name}" for alias in node.names]
            targets = sorted({name if name in names else base for name in full})
        yield from (Import(module, target, node.lineno, on_load) for target in targets)


def _walk(node: ast.AST, on_load: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, on_load
        later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        types_only = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        yield from _walk(child, on_load and not later and not types_only)


def test_every_file_imports_only_from_its_folder_and_from_floors_below() -> None:
    mistakes = floor_mistakes(PACKAGE)
    assert not mistakes, "\n".join(mistakes)


def test_no_modules_import_each_other_in_a_ring() -> None:
    ring = import_cycle(PACKAGE)
    assert not ring, " -> ".join(ring)


def test_the_checker_reads_the_whole_package() -> None:
    found = imports_of(PACKAGE)
    targets = {each.target for each in found[PACKAGE / "arch/space.py"]}
    assert {"optuna", "torch"}.isdisjoint(targets)
    assert {"yaml", "scalesearch.arch.spec", "scalesearch.errors", "scalesearch.paths"} <= targets
    assert set(found) == set(PACKAGE.rglob("*.py"))


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small package without a mistake."""
    files = {
        "__init__.py": "from scalesearch.cli import main",
        "cli.py": "import scalesearch.config\nfrom scalesearch import report",
        "config.py": "from scalesearch.nn.network import build_network",
        "errors.py": "",
        "arch/__init__.py": "from scalesearch.arch.spec import ArchSpec",
        "arch/spec.py": "from ..errors import ArchError\ndef late():\n    from scalesearch.arch import ArchSpec",
        "nn/__init__.py": "",
        "nn/network.py": "import torch\nfrom scalesearch.arch import ArchSpec\nfrom . import layers",
        "nn/layers.py": "if TYPE_CHECKING:\n    from scalesearch.nn import network",
        "data/__init__.py": "",
        "report/__init__.py": "",
        "search/__init__.py": "",
        "scaling/__init__.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "scalesearch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "scalesearch"


def test_a_house_in_order_has_no_mistake(house: Path) -> None:
    assert floor_mistakes(house) == []
    assert import_cycle(house) == []


@pytest.mark.parametrize(
    ("file", "text", "mistake"),
    [
        ("arch/spec.py", "\nimport scalesearch.nn.network", "2 imports scalesearch.nn.network (floor 1 from floor 0)"),
        ("arch/spec.py", "def f():\n    import torch.nn", "2 imports torch.nn (not on floor 0)"),
        ("errors.py", "from .arch import ArchSpec", "1 imports scalesearch.arch (floor 0 from floor 0)"),
        ("nn/layers.py", "from scalesearch import data", "1 imports scalesearch.data (floor 1 from floor 1)"),
        ("search/loop.py", "from ..scaling import grid", "1 imports scalesearch.scaling (floor 4 from floor 4)"),
        ("search/loop.py", "import scalesearch", "1 imports scalesearch (floor 6 from floor 4)"),
        ("report/plot.py", "def f():\n    from .. import cli", "2 imports scalesearch.cli (floor 6 from floor 5)"),
        ("report/plot.py", "import scalesearch.utils", "1 imports scalesearch.utils (floor none from floor 5)"),
        ("utils.py", "", "1 stands on no floor"),
    ],
)
def test_an_import_from_above_or_aside_is_reported(house: Path, file: str, text: str, mistake: str) -> None:
    (house / file).write_text(text, encoding="utf-8")
    assert floor_mistakes(house) == [f"{house / file}:{mistake}"]


@pytest.mark.parametrize(
    ("file", "text", "ring"),
    [
        ("nn/layers.py", "from scalesearch.nn import network", {"scalesearch.nn.layers", "scalesearch.nn.network"}),
        ("arch/spec.py", "from scalesearch.arch import ArchSpec", {"scalesearch.arch", "scalesearch.arch.spec"}),
    ],
)
def test_a_ring_of_imports_is_reported(house: Path, file: str, text: str, ring: set[str]) -> None:
    (house / file).write_text(text, encoding="utf-8")
    assert set(import_cycle(house)) == ring
