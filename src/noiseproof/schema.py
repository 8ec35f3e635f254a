"""Typed, frozen data with one-line errors: what models, recipes, studies and records are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from noiseproof.errors import NoiseproofError, did_you_mean


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
    place = ".".join(str(part) for part in fault["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        *parents, name = fault["loc"]
        offer = did_you_mean(str(name), _fields_at(schema, parents))
        return f"unknown field {place!r}; {offer}{more}"
    if fault["type"] == "missing":
        return f"field {place!r} is missing{more}"
    # pydantic prefixes what a validator of ours raised
    message = fault["msg"].removeprefix("Value error, ")
    at = f"field {place!r}: " if place else ""
    given = "" if isinstance(fault["input"], Mapping) or not place else f", got {fault['input']!r}"
    return f"{at}{message[0].lower()}{message[1:]}{given}{more}"


def _fields_at(schema: type[BaseModel], path: list[int | str]) -> list[str]:
    """Field names of the schema nested at ``path``; tagged unions put the tag into the path."""
    fields = list(schema.model_fields)
    if not path:
        return fields
    annotation = schema.model_fields[str(path[0])].annotation if str(path[0]) in fields else None
    options = [annotation, *getattr(annotation, "__args__", ())]
    nested = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    tagged = [o for o in nested if len(path) > 1 and _tag(o) == path[1]]
    chosen = tagged[0] if tagged else nested[0] if nested else None
    return list(chosen.model_fields) if chosen else []


def _tag(schema: type[BaseModel]) -> Any:
    field = schema.model_fields.get("name")
    return field.default if field else None
