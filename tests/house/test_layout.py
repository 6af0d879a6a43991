"""How the checkout is laid out, and what no file of it may say."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2].resolve()
ROOMS = ("orchestrator", "api", "workers", "migrations")
LINKED = ("api", "workers", "migrations")
PURE = ("core", "expressions", "protocol")
LINES = 400
IMPURE_CALLS = {"now", "utcnow", "today"}

# In pieces, so that this file does not say itself what it forbids.
MACHINE_PATHS = re.compile(
    r"(?<![\w./-])/" + r"(?:work|root|home/\w+|Users/\w+)(?=/|\s|$)" + "|" + r"\.\." + r"/shared|\." + r"library/"
)
REGISTRY_HOSTS = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("deb", "debian", "org"),
            ("archive", "ubuntu", "com"),
        )
    )
)
PINNED = re.compile(r"^[a-z0-9][a-z0-9._-]*(?:\[[a-z0-9,._-]+\])?==\S+")
INDEX_ADDRESSES = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host|https?://| @ ")


def _files() -> list[Path]:
    """Every file that is in the repository or would be added to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    paths = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _texts() -> dict[str, str]:
    texts = {}
    for path in _files():
        try:
            texts[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def _places(texts: dict[str, str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("room", LINKED)
def test_a_top_level_room_is_linked_into_the_package(room: str) -> None:
    link = ROOT / "orchestrator" / room

    assert link.is_symlink()
    assert Path("..", room) == link.readlink()
    assert (ROOT / room).is_dir()


def test_no_module_is_longer_than_400_lines() -> None:
    modules = [path for path in _files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ROOMS]

    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}

    assert {} == {name: length for name, length in lengths.items() if length > LINES}


def test_every_module_opens_with_a_docstring() -> None:
    modules = [path for path in _files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ROOMS]

    silent = [
        str(path.relative_to(ROOT))
        for path in modules
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]

    assert [] == silent


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_never_asks_for_the_present_moment(room: str) -> None:
    texts = {name: text for name, text in _texts().items() if name.startswith(f"orchestrator/{room}/")}

    asking = [
        f"{name}:{node.lineno}: {node.func.attr}()"
        for name, text in texts.items()
        if name.endswith(".py")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_CALLS
    ]

    assert [] == asking


def test_no_file_names_a_path_of_one_machine() -> None:
    assert [] == _places(_texts(), MACHINE_PATHS)


def test_no_file_names_a_package_registry() -> None:
    assert [] == _places(_texts(), REGISTRY_HOSTS)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    text = (ROOT / name).read_text()
    joined = text.replace("\\\n", " ")
    requirements = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    loose = [line for line in requirements if not PINNED.match(line) or "--hash=sha256:" not in line]

    assert len(requirements) > 20
    assert [] == loose
    assert [] == _places({name: text}, INDEX_ADDRESSES)


def test_what_we_need_to_run_is_the_same_in_both_requirement_files() -> None:
    pins = {
        name: {line.split("==")[0]: line for line in (ROOT / name).read_text().splitlines() if PINNED.match(line)}
        for name in ("requirements.txt", "requirements-dev.txt")
    }

    run, develop = pins["requirements.txt"], pins["requirements-dev.txt"]

    assert run == {package: develop.get(package) for package in run}
