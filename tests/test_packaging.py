"""The wheel holds what an installed command needs; the editable installation beside it must not hide a gap."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as a user would and lay its content in a folder of its own."""
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    command = [sys.executable, "-m", "pip", "wheel", str(REPO), "--no-deps", "--quiet", "-w", str(built)]
    if importlib.util.find_spec("hatchling"):
        command.append("--no-build-isolation")
    build = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found for hatchling" in build.stderr:
        pytest.skip("hatchling is neither installed nor to be had from a package index")
    assert build.returncode == 0, build.stderr
    (wheel,) = built.glob("scalesearch-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def run_python(unpacked: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder where nothing of the repository is in sight, with the wheel's content found first."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_wheel_holds_every_configuration_and_search_space(unpacked_wheel: Path) -> None:
    package = unpacked_wheel / "scalesearch"
    for folder in ("conf", "search_spaces"):
        ours = {path.relative_to(REPO) for path in (REPO / folder).rglob("*.yaml")}
        assert ours, f"{folder}/ holds no yaml"
        assert {path.relative_to(package) for path in (package / folder).rglob("*.yaml")} == ours
    assert (package / "search_spaces/mbconv_small.yaml").is_file()


def test_the_wheel_holds_every_module_the_type_marker_and_the_licence(unpacked_wheel: Path) -> None:
    def modules(root: Path) -> set[Path]:
        return {path.relative_to(root) for path in (root / "scalesearch").rglob("*.py")}

    assert modules(unpacked_wheel) == modules(REPO)
    assert (unpacked_wheel / "scalesearch/py.typed").is_file()
    page = Path("scalesearch/report/page/assets")
    ours = {path.name for path in (REPO / page).iterdir()}
    assert {"page.html", "page.css", "main.js"} <= ours == {path.name for path in (unpacked_wheel / page).iterdir()}
    assert list(unpacked_wheel.glob("scalesearch-*.dist-info/licenses/LICENSE"))


def test_the_wheel_holds_nothing_else(unpacked_wheel: Path) -> None:
    assert {path.name.split("-")[0] for path in unpacked_wheel.iterdir()} == {"scalesearch"}
    assert not [path for path in unpacked_wheel.rglob("*") if path.suffix in {".pyc", ".db", ".safetensors"}]


def test_an_installed_package_loads_a_space_by_name_from_any_folder(unpacked_wheel: Path, tmp_path: Path) -> None:
    code = (
        "import scalesearch; from scalesearch.arch import SearchSpace; from scalesearch.paths import SEARCH_SPACES\n"
        "print(scalesearch.__file__, SEARCH_SPACES, SearchSpace.load('mbconv_small').name, sep='\\n')"
    )
    child = run_python(unpacked_wheel, tmp_path, "-c", code)
    package = unpacked_wheel / "scalesearch"
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines() == [str(package / "__init__.py"), str(package / "search_spaces"), "mbconv_small"]


def test_the_installed_command_line_says_how_it_is_used(unpacked_wheel: Path, tmp_path: Path) -> None:
    child = run_python(unpacked_wheel, tmp_path, "-m", "scalesearch.cli", "--help")
    assert child.returncode == 0, child.stderr
    assert "scalesearch" in child.stdout
    assert list(tmp_path.iterdir()) == []
