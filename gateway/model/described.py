"""Pydantic models generated from the records, from which OpenAPI and GraphQL types are made.

Reports and problems are written as such models. Records are lean classes (see `records`); each has
a twin here, with the same fields and docstrings, from which OpenAPI and GraphQL are described, and
which GraphQL's own execution reads.
"""

import ast
import inspect
from functools import cache, reduce
from itertools import pairwise
from operator import or_
from typing import TYPE_CHECKING, Any, get_args, get_origin

import msgspec
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.alias_generators import to_camel

from gateway.model.records import (
    Freshness,
    HlrLookup,
    Message,
    Record,
    StatusRecord,
    Value,
    shown_fields,
)


class Model(BaseModel):
    """A value of the contract: never changed, camelCase outside, its docstrings descriptions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        json_schema_serialization_defaults_required=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )


@cache
def twin(kind: type[Value]) -> type[Model]:
    """The model of a value's class. That of a record has its `freshness`, too."""
    parent = kind.__base__
    assert parent is not None  # noqa: S101 - `Value` is above all
    base: type[Model] = Model if parent is Value else twin(parent)
    texts = _descriptions(kind) | _MORE_DESCRIPTIONS
    defaults: dict[str, Any] = {
        field.name: ... if field.required else field.default
        for field in msgspec.structs.fields(kind)
    } | {"history": None}
    fields: dict[str, Any] = {
        name: (
            _twins_in(field.annotation),
            Field(defaults.get(name, ...), description=texts[name]),
        )
        for name, field in shown_fields(kind).items()
        if name not in base.model_fields
    }
    model = create_model(kind.__name__, __base__=base, __doc__=kind.__doc__, **fields)
    if kind.__struct_config__.tag is not None:
        model.model_config["json_schema_extra"] = _with_kind
        model.model_rebuild(force=True)
    return model


_MORE_DESCRIPTIONS = {
    "freshness": "How the gateway knows, and how old it is.",
    "history": "The changes of its state, oldest first; null where the archive is off.",
}


def _with_kind(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """REST records say their kind; GraphQL has `__typename` for it."""
    kind = {"const": model.__name__, "type": "string", "description": "The kind of record."}
    schema["properties"] = {"kind": kind, **schema["properties"]}
    schema["required"] = ["kind", *schema.get("required", [])]


def as_model(record: Record, freshness: Freshness) -> Model:
    """A record as its twin, without its history."""
    return model_of(record, freshness=model_of(freshness), history=None)


def model_of(value: Value, **more: object) -> Model:
    """A value as its twin; `more` are fields that the value itself has not."""
    inner: dict[str, Any] = more | {
        name: model_of(held) if isinstance(held, Value) else held
        for name in value.__struct_fields__
        for held in [getattr(value, name)]
    }
    return twin(type(value)).model_construct(**inner)


def _twins_in(annotation: Any) -> Any:  # noqa: ANN401 - any annotation
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        return list[_twins_in(item)]  # type: ignore[misc] # a type made at run time
    options = get_args(annotation) or (annotation,)
    if len(options) > 1:
        return reduce(or_, map(_twins_in, options))
    (one,) = options
    return twin(one) if isinstance(one, type) and issubclass(one, Value) else one


def _descriptions(kind: type) -> dict[str, str]:
    """The docstrings below the fields of a class; Python itself keeps none of them."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - the source of a class
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


if TYPE_CHECKING:
    RecordModel = Model
    MessageModel = Model
    HlrLookupModel = Model
else:  # pydantic and Strawberry read them as types
    RecordModel, MessageModel, HlrLookupModel = map(twin, (StatusRecord, Message, HlrLookup))
