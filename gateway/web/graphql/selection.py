"""Which fields of a record an operation selects, for they choose the detail level."""

from collections.abc import Iterator
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLResolveInfo,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    value_from_ast_untyped,
)

_Path = tuple[str, ...]


def selected_paths(info: GraphQLResolveInfo[Any], below: str = "") -> set[str]:
    """Dotted paths such as `state` and `providerStatus.text` under the field being resolved.

    `below` names a field between: the record of a result. Fragments count whatever type they are
    on, for the type is only known with the answer.
    """
    paths: set[_Path] = set()
    for node in info.field_nodes:
        paths.update(_paths(node.selection_set, info))
    if not below:
        return {".".join(path) for path in _cut(paths)}
    return {".".join(path) for path in _cut({path[1:] for path in paths if path[0] == below})}


def _cut(paths: set[_Path]) -> set[_Path]:
    return {path[:2] for path in paths if path and not path[0].startswith("__")}


def _paths(selections: SelectionSetNode | None, info: GraphQLResolveInfo[Any]) -> Iterator[_Path]:
    """The paths of all leaves."""
    for field in _fields(selections, info):
        name = field.name.value
        if field.selection_set is None:
            yield (name,)
        for rest in _paths(field.selection_set, info):
            yield (name, *rest)


def _fields(
    selections: SelectionSetNode | None, info: GraphQLResolveInfo[Any]
) -> Iterator[FieldNode]:
    """The fields selected, through fragments, without what `@skip` and `@include` leave out."""
    for node in selections.selections if selections else ():
        if not _is_included(node, info):
            continue
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, info)
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(info.fragments[node.name.value].selection_set, info)


def _is_included(node: SelectionNode, info: GraphQLResolveInfo[Any]) -> bool:
    """The specification's sections 3.13.1 and 3.13.2; validation has checked the arguments."""
    variables: Any = info.variable_values  # typed as graphql-core's own, but Strawberry's is a dict
    for directive in node.directives or ():
        if directive.name.value in {"skip", "include"}:
            (argument,) = directive.arguments or ()
            value = argument.value
            told = (
                variables[value.name.value]
                if isinstance(value, VariableNode)
                else value_from_ast_untyped(value)
            )
            if bool(told) == (directive.name.value == "skip"):
                return False
    return True
