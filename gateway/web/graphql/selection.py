"""Collects the fields that an operation selects, for the detail level and the projection."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLResolveInfo,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)

_Path = tuple[str, ...]


class Selection:
    """Reads selection sets of a valid operation; `variables` are its coerced values."""

    def __init__(
        self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]
    ) -> None:
        self._fragments = fragments
        self._variables = variables

    def collect(
        self,
        nodes: Iterable[FieldNode | OperationDefinitionNode],
        types: Collection[str] | None = None,
    ) -> dict[str, list[FieldNode]]:
        """The fields below these nodes by their response key, in order (specification, 6.3.2).

        `types`: the names of the object's type and its interfaces; None: whatever type it is.
        """
        grouped: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for node in nodes:
            for field in self.fields(node.selection_set, visited, types):
                key = field.alias.value if field.alias else field.name.value
                grouped.setdefault(key, []).append(field)
        return grouped

    def fields(
        self,
        selections: SelectionSetNode | None,
        visited: set[str],
        types: Collection[str] | None = None,
    ) -> Iterator[FieldNode]:
        """The fields of one selection set, through its fragments, each of which counts once."""
        for node in selections.selections if selections else ():
            if not self._is_included(node):
                continue
            if isinstance(node, FieldNode):
                yield node
                continue
            fragment: InlineFragmentNode | FragmentDefinitionNode
            if isinstance(node, InlineFragmentNode):
                fragment = node
            else:
                assert isinstance(node, FragmentSpreadNode)  # noqa: S101 - there is nothing else
                if node.name.value in visited:
                    continue
                visited.add(node.name.value)
                fragment = self._fragments[node.name.value]
            condition = fragment.type_condition
            if types is None or condition is None or condition.name.value in types:
                yield from self.fields(fragment.selection_set, visited, types)

    def _is_included(self, node: SelectionNode) -> bool:
        """The specification's sections 3.13.1 and 3.13.2; validation has checked the arguments."""
        for directive in node.directives or ():
            if directive.name.value in {"skip", "include"}:
                (argument,) = directive.arguments or ()
                value: Any = argument.value
                told = (
                    self._variables[value.name.value]
                    if isinstance(value, VariableNode)
                    else value.value
                )
                if bool(told) == (directive.name.value == "skip"):
                    return False
        return True

    def paths(self, nodes: Iterable[FieldNode]) -> Iterator[_Path]:
        """The paths of all leaves below, whatever type they are on."""
        for node in nodes:
            for field in self.fields(node.selection_set, set()):
                name = field.name.value
                if field.selection_set is None:
                    yield (name,)
                for rest in self.paths([field]):
                    yield (name, *rest)


def record_paths(paths: Iterable[_Path], below: str = "") -> set[str]:
    """Dotted paths such as `state` and `providerStatus.text`, as `detail` takes them.

    `below` names a field between: the record of a result.
    """
    if below:
        paths = (path[1:] for path in paths if path[0] == below)
    return {".".join(path[:2]) for path in paths if path and not path[0].startswith("__")}


def selected_paths(info: GraphQLResolveInfo[Any], below: str = "") -> set[str]:
    """The paths under the field being resolved.

    Fragments count whatever type they are on, for the type is only known with the answer.
    """
    variables: Any = info.variable_values
    fragments: Any = info.fragments
    selection = Selection(fragments, getattr(variables, "coerced", variables))
    return record_paths(selection.paths(info.field_nodes), below)
