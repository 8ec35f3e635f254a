"""Typed, frozen data with one-line errors: what models, recipes, studies and records are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from noiseproof.errors import NoiseproofError, did_you_mean, shown

LONGEST_MESSAGE = 3000
"""Characters of what is wrong with a field: the longest loss is quoted in full, a vast table is not."""


class Schema(BaseModel):
    """Data with named, validated, frozen fields; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def read(cls, data: Any, *, where: str) -> Self:
        """Validate ``data``; raises `NoiseproofError` that names ``where``, the field and what was expected.

        >>> class Point(Schema):
        ...     x: int
        >>> Point.read({"x": 1}, where="here")
        Point(x=1)
        >>> Point.read({"x": 1, "xx": 2}, where="here")
        Traceback (most recent call last):
        noiseproof.errors.NoiseproofError: here: unknown field 'xx'; did you mean 'x'?
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise NoiseproofError(f"{where}: {explain(cls, error)}") from None


def explain(schema: type[BaseModel], error: ValidationError) -> str:
    """Put the first fault of a validation in one line, with the nearest valid field where one is misspelt."""
    faults = error.errors()
    # an unknown field is the likeliest cause of a missing one: it is misspelt
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    written, schemas = _follow(schema, fault["loc"])
    place = ".".join(written)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        return f"unknown field {shown(place)}; {_offer(written[-1], schemas)}{more}"
    if fault["type"] == "missing":
        return f"field {shown(place)} is missing{more}"
    at = f"field {shown(place)}: " if place else ""
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        offer = did_you_mean(context["tag"], re.findall(r"'(.*?)'", context["expected_tags"]))
        return f"{at}unknown name {shown(context['tag'])}; {offer}{more}"
    # pydantic prefixes what a validator of ours raised
    message = fault["msg"].removeprefix("Value error, ")[:LONGEST_MESSAGE]
    if fault["type"] == "tuple_type":  # which no file can hold
        given_text = isinstance(fault["input"], str)
        message = "Input should be a list" + (f", such as [{shown(fault['input'])}]" if given_text else "")
    values = fault["input"] if isinstance(fault["input"], list | tuple) else [fault["input"]]
    # our own validators name the value as a rule
    is_named = fault["type"] == "value_error" and any(repr(value) in message for value in values)
    given = (
        ""
        if is_named or isinstance(fault["input"], Mapping) or not place
        else f", got {shown(fault['input'])}"
    )
    return f"{at}{message[0].lower()}{message[1:]}{given}{more}"


def _offer(name: str, schemas: Sequence[type[BaseModel]]) -> str:
    """Offer a field in place of an unknown one: that of the same name a level below, or the nearest."""
    fields = {field: info for schema in schemas for field, info in schema.model_fields.items()}
    for field, info in fields.items():
        if any(name in nested.model_fields for nested in _schemas_in(info.annotation)):
            return f"did you mean {f'{field}.{name}'!r}?"
    return did_you_mean(name, fields)


def _follow(schema: type[BaseModel], path: Sequence[int | str]) -> tuple[list[str], list[type[BaseModel]]]:
    """Give a fault's path as it was written, and the schemas that hold its last part.

    The path that pydantic gives also names the tag of each union it went through.
    """
    written: list[str] = []
    options = holders = [schema]
    for part in path:
        tagged = [option for option in options if _tag(option) == part]
        if tagged and len(options) > 1:
            options = tagged
            continue
        written.append(str(part))
        holders = options
        # neither an index nor a dictionary's key is a field: both lead on to the same schemas
        fields = [option.model_fields[str(part)] for option in options if part in option.model_fields]
        if fields:
            options = [nested for field in fields for nested in _schemas_in(field.annotation)]
    return written, holders


def _schemas_in(annotation: Any) -> list[type[BaseModel]]:
    """Schemas that an annotation is, or is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [schema for argument in get_args(annotation) for schema in _schemas_in(argument)]


def _tag(schema: type[BaseModel]) -> Any:
    field = schema.model_fields.get("name")
    return field.default if field else None
