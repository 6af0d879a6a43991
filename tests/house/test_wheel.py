"""What is in the package that people install."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("api", "workers", "migrations")
BUILD_LIMIT = 50


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel built from the sdist that is built from this checkout, as pip does it."""
    folder = tmp_path_factory.mktemp("built")
    _build("sdist", ROOT, folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        sdist.extractall(folder, filter="data")
    _build("wheel", next(path for path in folder.iterdir() if path.is_dir()), folder)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_file_of_the_package_and_of_the_linked_rooms(wheel: zipfile.ZipFile) -> None:
    expected = _files_of_the_package()

    packed = {name for name in wheel.namelist() if name.startswith("orchestrator/")}

    assert expected == packed


@pytest.mark.parametrize("room", ROOMS)
def test_a_linked_room_is_in_the_wheel_under_the_package_only(wheel: zipfile.ZipFile, room: str) -> None:
    modules = {f"orchestrator/{path.relative_to(ROOT)}" for path in (ROOT / room).rglob("*.py")}

    packed = set(wheel.namelist())

    assert set() == modules - packed
    assert not any(name.startswith(f"{room}/") for name in packed)


def test_the_wheel_brings_the_license_and_the_command(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()

    [license_name] = [name for name in names if name.endswith("LICENSE")]
    [scripts_name] = [name for name in names if name.endswith("entry_points.txt")]

    assert (ROOT / "LICENSE").read_bytes() == wheel.read(license_name)
    assert b"orchestrator = orchestrator.cli.main:main" in wheel.read(scripts_name)


def _build(kind: str, source: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=BUILD_LIMIT, check=False)
    assert done.returncode == 0, done.stderr


def _files_of_the_package() -> set[str]:
    """Every file under the package and under the folders linked into it, as the wheel should name it."""
    folders = {ROOT / "orchestrator": "orchestrator", **{ROOT / room: f"orchestrator/{room}" for room in ROOMS}}
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}"
        for folder, prefix in folders.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not _is_inside_a_link(path)
    }


def _is_inside_a_link(path: Path) -> bool:
    return path.resolve() != path
