"""GraphQL documents: parsed, measured against bounds, validated, cached by text or hash.

A document is refused when it is too large to be an honest question: it is measured before it is
validated, for validation itself takes time that grows with the square of some documents.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cachetools import LRUCache
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NoSchemaIntrospectionCustomRule,
    NoUndefinedVariablesRule,
    NoUnusedVariablesRule,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    VariablesInAllowedPositionRule,
    get_introspection_query,
    parse,
    specified_rules,
    validate,
)

from gateway.errors import InvalidArgument, QueryTooComplex, shortened
from gateway.service import MAX_ITEMS
from gateway.web.graphql.errors import RequestRefused
from gateway.web.graphql.introspection import Asked, Introspection
from gateway.web.graphql.words import MAX_MESSAGE, open_selections, without_schema
from gateway.web.http.problems import extensions_of

if TYPE_CHECKING:
    from gateway.web.graphql.program import Program

MAX_TOKENS = 10_000
"""A list of 1,000 keys written out takes 9,000."""

MAX_DEPTH = 16
"""Fields inside each other. The schema's own are 4 deep, the introspection that tools send 15."""

MAX_ALIASES = 50
"""Fields under another name, fragments counted wherever they are spread. For many messages there
is `statuses`."""

MAX_LENGTH = 256 * 1024
"""Characters; a list of 1,000 keys written out has 45,000. To read a million takes 0.1 s."""

MAX_SELECTIONS = 2_500
"""Fields, spreads and inline fragments as they are written: fifty messages with fifty fields."""

MAX_DEFINITIONS = 100
"""Operations and fragments of one document; validation compares each two fragments."""

MAX_VARIABLES = 500
"""Variables of one operation."""

MAX_PAIRS = 8_000
"""Pairs of fields with the same response name, fragments spread. Validation compares each pair, and
what is selected below: a thousand equal fields cost it a second. Twenty components that each select
the same 24 fields make 4,600."""

MAX_EXPANDED = 10_000
"""Fields with all fragments spread wherever they are."""

MAX_INTROSPECTED = 2
"""Questions about the schema in one document, each as large as the one that tools send."""

MAX_ERRORS = 10
"""Mistakes told of one document."""

CACHE_BYTES = 256 * 1024
"""Text of the documents that are kept ready: a thousand of usual length. What is made of a text was
measured to take 120 times its size."""

STORED_BYTES = 2 * 1024 * 1024
"""Text of the documents that callers stored by their hash."""


_ABOUT_VARIABLES = (
    NoUndefinedVariablesRule,
    NoUnusedVariablesRule,
    VariablesInAllowedPositionRule,
)
"""Rules that find nothing in a document without a `$`."""

_LISTS = {"items", "representations"}
"""Arguments that name many records."""


_OF_ARCHIVE = {"records", "recordSummary"}
"""Fields at the top that read the archive."""

COUNTING = 100
"""What it costs to count all that matches, in records."""

DEFAULT_PAGE = 50
"""Records of a page where `first` is not given."""

MAX_TOLD = 64
"""Characters of an operation's name that the log tells."""

_NUMBER = re.compile("[0-9]{5}")
"""May be a phone, which no log is to hold."""


def _loggable(name: str | None) -> str | None:
    """The name as the log may hold it: callers write it."""
    if name is None or len(name) > MAX_TOLD or _NUMBER.search(name):
        return None
    return name


class Operation:
    """One operation of a valid document."""

    def __init__(self, document: "Document", node: OperationDefinitionNode) -> None:
        self.document = document
        self.node = node
        self.type = node.operation
        self.type_name = node.operation.value
        self.name = node.name.value if node.name else None
        self.log_fields = {"operation_type": self.type.value, "operation": _loggable(self.name)}
        """For the log."""
        self.program: Program | None = None
        """What it was compiled to; for the engine to keep it with the document."""
        self.is_feed = False
        """Does it tell events, each of which is news, though it may look like the one before?"""
        self._lists: list[str] = []
        self._firsts: list[str] = []
        self._cost = 0

    def measure(self) -> None:
        """Count the records that the operation asks for, and the variables that hold more."""
        for root in self.document.root_fields(self.node.selection_set, set()):
            self.is_feed |= root.name.value == "changes"
            if root.name.value in _OF_ARCHIVE:
                self._measure_archive(root)
                continue
            items = next((one for one in root.arguments or () if one.name.value in _LISTS), None)
            if items is not None and isinstance(items.value, VariableNode):
                self._lists.append(items.value.name.value)
            elif items is not None and isinstance(items.value, ListValueNode):
                self._cost += min(len(items.value.values), MAX_ITEMS)
            else:
                self._cost += 1

    def _measure_archive(self, root: FieldNode) -> None:
        """A page costs its records; a count or a summary as much as a hundred, for it reads all."""
        if root.name.value != "records" or self.document.selects(root, "totalCount"):
            self._cost += COUNTING
        if root.name.value != "records":
            return
        first = next((one for one in root.arguments or () if one.name.value == "first"), None)
        if first is not None and isinstance(first.value, VariableNode):
            self._firsts.append(first.value.name.value)
        elif first is not None and isinstance(first.value, IntValueNode):
            self._cost += min(int(first.value.value[:9]), MAX_ITEMS)
        else:
            self._cost += DEFAULT_PAGE

    def check_cost(self, variables: Mapping[str, Any]) -> None:
        """Refuse what could cause more requests to the provider than one batch may.

        Every record asked for counts one: that is what it costs when nothing is known of it; one of
        the archive costs no more. A single list that is too long is left to its field, which says
        so.
        """
        cost = self._cost
        for name in self._lists:
            given = variables.get(name)
            cost += min(len(given), MAX_ITEMS) if isinstance(given, list) else 1
        for name in self._firsts:
            given = variables.get(name)
            cost += min(max(given, 1), MAX_ITEMS) if isinstance(given, int) else DEFAULT_PAGE
        if cost > MAX_ITEMS:
            raise _too_complex(
                f"The operation asks for {cost} records; at most {MAX_ITEMS} can be asked for at "
                "a time."
            )


class Document:
    """A valid document; `size` is the length of its text."""

    def __init__(self, node: DocumentNode, size: int) -> None:
        self.node = node
        self.size = size
        self.fragments: dict[str, FragmentDefinitionNode] = {}
        self._operations: dict[str, Operation] = {}
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode):
                name = definition.name.value if definition.name else ""
                self._operations[name] = Operation(self, definition)
            elif isinstance(definition, FragmentDefinitionNode):
                self.fragments[definition.name.value] = definition
        for operation in self._operations.values():
            operation.measure()

    def operation(self, name: str | None) -> Operation:
        """The operation of that name, or the only one (specification, section 6.1)."""
        if not name:
            if len(self._operations) == 1:
                return next(iter(self._operations.values()))
            names = ", ".join(map(shortened, sorted(self._operations)))
            raise _refused(f"operationName must name one of: {shortened(names, MAX_MESSAGE)}.")
        if name not in self._operations:
            raise _refused(f"operationName: the document has no operation {shortened(name)!r}.")
        return self._operations[name]

    def selects(self, node: FieldNode, name: str) -> bool:
        """Is a field of this name selected directly below, whatever directives say of it?"""
        below = node.selection_set
        return below is not None and any(
            one.name.value == name for one in self.root_fields(below, set())
        )

    def root_fields(self, selections: SelectionSetNode, visited: set[str]) -> Iterator[FieldNode]:
        """The fields that can be selected at the top, whatever directives say of them."""
        for node in selections.selections:
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                yield from self.root_fields(node.selection_set, visited)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                visited.add(node.name.value)
                fragment = self.fragments[node.name.value]
                yield from self.root_fields(fragment.selection_set, visited)


class Documents:
    """Finds the document of a request.

    `trusted` are documents by the SHA-256 of their text, in hex; `trusted_only` refuses all others.
    Without that, a caller may store a document under its hash and name it by that from then on.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        introspection: bool = True,
        trusted: Mapping[str, str] | None = None,
        trusted_only: bool = False,
    ) -> None:
        self._schema = schema
        self._rules = [
            *specified_rules,
            *([] if introspection else [NoSchemaIntrospectionCustomRule]),
        ]
        # They walk through the document once more: 40 % of validating a thousand literal keys.
        self._rules_without_variables = [r for r in self._rules if r not in _ABOUT_VARIABLES]
        self._trusted = trusted or {}
        self._trusted_only = trusted_only
        self._valid: LRUCache[str, Document] = LRUCache(CACHE_BYTES, lambda known: known.size)
        self._refused: LRUCache[bytes, _Refused] = LRUCache(CACHE_BYTES, lambda known: known.size)
        self._introspection = _introspection_of(schema)
        self.tells_schema = introspection
        self._stored: LRUCache[str, str] = LRUCache(STORED_BYTES, len)

    def find(self, text: str | None, digest: str | None) -> Document:
        """The document of this text, of this hash, or of both; raises `RequestRefused`."""
        if digest is not None or self._trusted_only:
            text = self._named(text, digest)
        assert text is not None  # noqa: S101 - a request has a text or a hash
        known = self._valid.get(text)
        if known is None:
            known = self._valid[text] = self._read_once(text)
        return known

    def _read_once(self, text: str) -> Document:
        """Read a text; one that was refused before is refused at once."""
        if len(text) > MAX_LENGTH:
            raise _too_complex(f"The document has more than {MAX_LENGTH} characters.")
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        if (before := self._refused.get(digest)) is not None:
            raise before.again()
        try:
            return self._read(text)
        except RequestRefused as refused:
            self._refused[digest] = _Refused(refused, len(text))
            raise

    def _named(self, text: str | None, digest: str | None) -> str:
        """The text behind a hash. Apollo's names for the errors: its clients act on them."""
        computed = None if text is None else hashlib.sha256(text.encode()).hexdigest()
        if computed is not None and digest is not None and computed != digest:
            raise _refused("The hash given is not the SHA-256 of the document.")
        name = digest or computed or ""
        if name in self._trusted:
            return self._trusted[name]
        if self._trusted_only:
            raise _refused(
                "PersistedQueryNotSupported: only trusted documents are served here.",
                "PERSISTED_QUERY_NOT_SUPPORTED",
            )
        if text is not None:
            self._stored[name] = text
            return text
        if name not in self._stored:
            raise _refused("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
        return self._stored[name]

    def _read(self, text: str) -> Document:
        try:
            node = parse(text, max_tokens=MAX_TOKENS)
            _measure(node, self._introspection)
            rules = self._rules if "$" in text else self._rules_without_variables
            errors = validate(
                self._schema, node, rules, MAX_ERRORS, hide_suggestions=not self.tells_schema
            )
        except GraphQLSyntaxError as error:
            if f"more than {MAX_TOKENS} tokens" in error.message:
                raise _too_complex(f"The document has more than {MAX_TOKENS} tokens.") from None
            if "nested too deeply" in error.message:
                raise _too_deep(text[: min(error.positions or [0])]) from None
            raise RequestRefused([error]) from None
        except RecursionError:
            raise _too_deep() from None
        if errors:
            raise RequestRefused(self.worded(map(_readable, errors)))
        return Document(node, len(text))

    def worded(self, errors: Iterable[GraphQLError]) -> list[GraphQLError]:
        """The errors for callers: without the schema where nobody may ask about it."""
        return list(errors) if self.tells_schema else without_schema(errors)


class _Refused(NamedTuple):
    """A refusal, and the length of the text it was for."""

    refused: RequestRefused
    size: int

    def again(self) -> RequestRefused:
        refused = self.refused
        return RequestRefused(refused.errors, status=refused.status, fixed=refused.fixed)


_REASON = re.compile(r", but encountered error .*\Z", re.DOTALL)


def _readable(error: GraphQLError) -> GraphQLError:
    """The error without Python's own words for a literal it can't read."""
    if error.original_error is None:
        return error
    return GraphQLError(_REASON.sub(".", error.message), error.nodes, extensions=error.extensions)


@dataclass(frozen=True, slots=True)
class _Size:
    """How deep fields go, and how many have another name, with all fragments spread."""

    depth: int = 0
    aliases: int = 0


def _measure(node: DocumentNode, introspection: Introspection) -> None:
    """Refuse what is too large, or would take validation too long."""
    if len(node.definitions) > MAX_DEFINITIONS:
        raise _too_complex(f"The document has more than {MAX_DEFINITIONS} definitions.")
    fragments = _fragments(node)
    sizes: dict[str, _Size] = {}
    for definition in node.definitions:
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode):
            size = _size(definition.selection_set, fragments, sizes)
            if size.depth > MAX_DEPTH:
                raise _too_deep()
            if size.aliases > MAX_ALIASES:
                raise _too_complex(
                    f"More than {MAX_ALIASES} fields have an alias; for many messages there is "
                    "`statuses`."
                )
    _Expansion(fragments, introspection).measure(node)


class _Expansion:
    """A document with its fragments spread, as validation walks through it.

    The walk ends as soon as a bound is passed, so it is never longer than what it allows.
    """

    def __init__(
        self, fragments: Mapping[str, FragmentDefinitionNode], introspection: Introspection
    ) -> None:
        self._fragments = fragments
        self._introspection = introspection
        self._written = self._expanded = self._pairs = self._introspected = 0

    def measure(self, node: DocumentNode) -> int:
        """Refuse it, or tell what it asks of the schema."""
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode):
                if len(definition.variable_definitions or ()) > MAX_VARIABLES:
                    raise _too_complex(f"The operation has more than {MAX_VARIABLES} variables.")
            elif not isinstance(definition, FragmentDefinitionNode):
                continue
            self._count(definition.selection_set)
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode):
                self._merge([definition.selection_set], 0, None)
        return self._introspected

    def _count(self, selections: SelectionSetNode | None) -> None:
        """What is written, fragments not spread."""
        for node in selections.selections if selections else ():
            self._written += 1
            if isinstance(node, FieldNode | InlineFragmentNode):
                self._count(node.selection_set)
        if self._written > MAX_SELECTIONS:
            raise _too_complex(f"The document selects more than {MAX_SELECTIONS} fields.")

    def _merge(self, scope: list[SelectionSetNode], depth: int, asked: Asked | None) -> None:
        """One object's fields, those of one response name together (specification, 6.3.2).

        `asked` are the parts of the schema that it asks about.
        """
        if depth > MAX_DEPTH:
            return  # a fragment inside itself, which validation tells
        groups: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for selections in scope:
            self._collect(selections, visited, groups)
        for group in groups.values():
            self._pairs += len(group) * (len(group) - 1) // 2
            if self._pairs > MAX_PAIRS:
                raise _too_complex(
                    "Too many fields have the same response name; select each once, or give it an "
                    "alias."
                )
            inner = [node.selection_set for node in group if node.selection_set]
            self._merge(inner, depth + 1, self._below(group[0], depth, asked))

    def _below(self, field: FieldNode, depth: int, asked: Asked | None) -> Asked | None:
        if asked is None:
            return self._introspection.root(field) if depth == 0 else None
        weight, below = self._introspection.below(field, asked)
        self._introspected += weight
        if self._introspected > self._introspection.largest * MAX_INTROSPECTED:
            raise _too_complex("The operation asks too much about the schema at a time.")
        return below

    def _collect(
        self, selections: SelectionSetNode, visited: set[str], groups: dict[str, list[FieldNode]]
    ) -> None:
        for node in selections.selections:
            if isinstance(node, FieldNode):
                self._expanded += 1
                if self._expanded > MAX_EXPANDED:
                    raise _too_complex(
                        f"The document selects more than {MAX_EXPANDED} fields, its fragments "
                        "spread."
                    )
                key = node.alias.value if node.alias else node.name.value
                groups.setdefault(key, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                self._collect(node.selection_set, visited, groups)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                visited.add(node.name.value)
                if (fragment := self._fragments.get(node.name.value)) is not None:
                    self._collect(fragment.selection_set, visited, groups)


def _introspection_of(schema: GraphQLSchema) -> Introspection:
    """With the weight of what tools ask as its `largest`."""
    tools = parse(
        get_introspection_query(
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
        )
    )
    introspection = Introspection(schema)
    introspection.largest = _Expansion(_fragments(tools), introspection).measure(tools)
    return introspection


def _fragments(node: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {
        definition.name.value: definition
        for definition in node.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }


def _size(
    selections: SelectionSetNode | None,
    fragments: Mapping[str, FragmentDefinitionNode],
    sizes: dict[str, _Size],
) -> _Size:
    """`sizes` remembers each fragment's; one inside itself counts once, and validation tells."""
    depth = aliases = 0
    for node in selections.selections if selections else ():
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in sizes and name in fragments:
                sizes[name] = _Size()
                sizes[name] = _size(fragments[name].selection_set, fragments, sizes)
            inner = sizes.get(name, _Size())
        else:
            assert isinstance(node, FieldNode | InlineFragmentNode)  # noqa: S101 - there is nothing else
            inner = _size(node.selection_set, fragments, sizes)
            if isinstance(node, FieldNode):
                inner = _Size(inner.depth + 1, inner.aliases + (node.alias is not None))
        depth = max(depth, inner.depth)
        aliases += inner.aliases
    return _Size(depth, aliases)


def _too_complex(detail: str) -> RequestRefused:
    return RequestRefused.because(QueryTooComplex(detail))


def _too_deep(read: str | None = None) -> RequestRefused:
    """`read` is the document as far as it was read."""
    if read is not None and open_selections(read) <= MAX_DEPTH:
        return _too_complex("Values (lists and objects) are too deep inside each other.")
    return _too_complex(f"Fields are more than {MAX_DEPTH} deep inside each other.")


def _refused(message: str, code: str | None = None) -> RequestRefused:
    extensions = extensions_of(InvalidArgument()) | ({"code": code} if code else {})
    return RequestRefused([GraphQLError(message, extensions=extensions)])
