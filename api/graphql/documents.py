"""Documents that were parsed and validated before: tools send few texts again and again, and checking one costs more
than most answers.

Bounded by number and by size; the one that was not asked for longest goes first.  Only valid ones are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from graphql import DocumentNode, GraphQLError, GraphQLSchema, parse, validate

from orchestrator.api.graphql.limits import MOST_TOKENS, CostError, check_nesting, check_width

_MOST = 256
#: Of all texts together, in characters; what is kept of a text takes about a hundred times that.
_MOST_TEXT = 256 * 1024
_MOST_ERRORS = 20


class InvalidDocumentError(Exception):
    """The document cannot be executed."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("the document cannot be executed")
        self.errors = errors


class Documents:
    """The documents of one schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._lock = threading.Lock()
        self._known: OrderedDict[str, DocumentNode] = OrderedDict()
        self._size = 0

    def get(self, text: str) -> DocumentNode:
        """Return the document.  Raises `InvalidDocumentError`, and `CostError` for one too large to be looked at."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
        document = self._checked(text)
        with self._lock:
            self._keep(text, document)
        return document

    def __len__(self) -> int:
        return len(self._known)

    def _checked(self, text: str) -> DocumentNode:
        check_nesting(text)
        try:
            document = parse(text, max_tokens=MOST_TOKENS)
            check_width(document)
            errors = validate(self._schema, document, max_errors=_MOST_ERRORS)
        except GraphQLError as error:
            raise InvalidDocumentError([error]) from None
        except RecursionError:
            raise CostError("the query has too many fragments within fragments") from None
        if errors:
            raise InvalidDocumentError(errors)
        return document

    def _keep(self, text: str, document: DocumentNode) -> None:
        if text in self._known or len(text) > _MOST_TEXT:
            return
        self._known[text] = document
        self._size += len(text)
        while len(self._known) > _MOST or self._size > _MOST_TEXT:
            gone, _ = self._known.popitem(last=False)
            self._size -= len(gone)
