"""What the exit code of a command says."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """An exit code with the sentence that `--help` prints for it."""

    sentence: str

    def __new__(cls, code: int, sentence: str) -> Exit:  # noqa: D102
        member = int.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member

    OK = 0, "done"
    FAILED = 1, "something went wrong that has no code of its own"
    USAGE = 2, "the command line is wrong"
    CONFIG = 3, "a setting is missing, wrong or cannot be used here (a busy port, say)"
    UNREACHABLE = 4, "no server, or no database, answers at the address"
    NOT_FOUND = 5, "the server knows no such thing"
    REFUSED = 6, "the server refused the request"
    SCHEMA = 7, "the database is not at the revision this version needs"
    UNWELL = 8, "`doctor` found something that does not work"
    RUN_FAILED = 9, "the run that was watched did not complete"
    INTERRUPTED = 130, "ended by Ctrl-C"
