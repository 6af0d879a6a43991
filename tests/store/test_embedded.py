"""The embedded database's directory: one process at a time, and nothing is left of a temporary one."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.embedded import StateDirectory

HOLD = """
import sys
from pathlib import Path
from orchestrator.store.embedded import StateDirectory
directory = StateDirectory(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_user_of_a_directory_is_refused_with_a_way_out(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path)

    with pytest.raises(ConfigError) as refused:
        StateDirectory(tmp_path)
    first.close()

    expected = f"state_dir: {tmp_path} is in use by another orchestrator; stop that one, or name another directory"
    assert expected == refused.value.message


def test_a_directory_given_free_may_be_taken_again_and_keeps_its_files(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path)
    (tmp_path / "state.db").touch()
    first.close()
    first.close()

    second = StateDirectory(tmp_path)
    second.close()

    assert (tmp_path / "state.db").exists()


def test_a_process_that_is_killed_gives_its_directory_free(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert "held\n" == child.stdout.readline()
        with pytest.raises(ConfigError, match="in use"):
            StateDirectory(tmp_path)

        child.send_signal(signal.SIGKILL)
        child.wait()

    StateDirectory(tmp_path).close()


def test_a_temporary_directory_is_deleted_with_all_that_is_in_it() -> None:
    directory = StateDirectory(None)
    database = Database(directory.database_url, synchronous=directory.synchronous)
    with database.write() as conn:
        conn.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    database.close()
    existed = (directory.path / "state.db").exists()

    directory.close()

    assert (True, False) == (existed, directory.path.exists())


def test_two_temporary_directories_are_two() -> None:
    first, second = StateDirectory(None), StateDirectory(None)

    different = first.path != second.path
    first.close()
    second.close()

    assert different


def test_only_its_owner_may_look_into_a_new_directory(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path / "deep" / "state")
    directory.close()

    assert 0o700 == stat.S_IMODE(directory.path.stat().st_mode)


def test_what_is_kept_is_committed_safely_and_what_is_not_quickly(tmp_path: Path) -> None:
    kept, temporary = StateDirectory(tmp_path), StateDirectory(None)
    kept.close()
    temporary.close()

    assert ("FULL", "OFF") == (kept.synchronous, temporary.synchronous)


@pytest.mark.parametrize("name", ["with space", "per%20cent", "what?", "a#b", "ü"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    directory = StateDirectory(tmp_path / name)

    schema.upgrade(directory.database_url)
    directory.close()

    assert (tmp_path / name / "state.db").exists()


def test_a_path_that_is_no_directory_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"state_dir: .*file cannot be written: File exists"):
        StateDirectory(tmp_path / "file")
