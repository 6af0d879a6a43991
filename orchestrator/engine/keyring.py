"""The tokens that count, as one process knows them: asked for with every request, read at most every second.

What is known is used for less than a second, so that a revoked token is refused within one everywhere.  A token that is
not known may be a new one and is looked for again, some times a second at most whoever asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from orchestrator.engine.parts import Parts
from orchestrator.engine.tokens import hashed
from orchestrator.store import tokens
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.tokens import Token

#: Seconds for which a token that is known counts without another look, and one that is not known does not.
TRUSTED = 0.9
DOUBTED = 0.1
#: When a token was last used is noted no more often.
COARSE = timedelta(minutes=1)


class Keyring:
    """Finds tokens by their secrets."""

    def __init__(self, parts: Parts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: When the tokens were read, and which there were, by hash.
        self._known: tuple[float, Mapping[str, Token]] | None = None

    def find(self, secret: str) -> Token | None:
        """The token with this secret, if it counts; may read the database, and notes that it was used."""
        digest = hashed(secret)
        token = self._within(TRUSTED).get(digest) or self._read(DOUBTED).get(digest)
        if token is not None and self._is_use_news(token):
            self._note_use(token)
        return token

    def find_at_once(self, secret: str) -> Token | None:
        """The same without waiting for anything; None: only `find` can tell."""
        token = self._within(TRUSTED).get(hashed(secret))
        return token if token is not None and not self._is_use_news(token) else None

    def forget(self) -> None:
        """Read the tokens anew before the next answer."""
        with self._lock:
            self._known = None

    def _within(self, seconds: float) -> Mapping[str, Token]:
        """The tokens, if they were read so recently."""
        known = self._known
        return known[1] if known is not None and self._monotonic() - known[0] < seconds else {}

    def _read(self, seconds: float) -> Mapping[str, Token]:
        """The tokens as they were so recently; of several who ask at once, one reads."""
        with self._lock:
            known = self._known
            now = self._monotonic()
            if known is None or now - known[0] >= seconds:
                with self._parts.database.read() as conn:
                    known = self._known = (now, {token.hash: token for token in tokens.live(conn)})
            return known[1]

    def _is_use_news(self, token: Token) -> bool:
        return token.last_used_at is None or self._parts.clock.now() - token.last_used_at > COARSE

    @undisturbed
    def _note_use(self, token: Token) -> None:
        now = self._parts.clock.now()
        with self._parts.database.write_one() as conn:
            tokens.used(conn, token.id, now, now - COARSE)
        self.forget()
