"""Typed data: one line for the first fault, with the nearest field where one is misspelt."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from noiseproof.errors import NoiseproofError
from noiseproof.schema import Schema
from noiseproof.study import load_study


class Point(Schema):
    x: float
    y: Annotated[float, Field(ge=0)] = 0.0


class Line(Schema):
    start: Point
    stop: Point | None = None
    label: str = ""

    @field_validator("label")
    @classmethod
    def _short(cls, label: str) -> str:
        if len(label) > 5:
            raise NoiseproofError("Labels have up to 5 letters")
        return label


class Drawing(Schema):
    line: Line
    points: list[Point] = Field(default_factory=list)
    named: dict[str, Point] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _few(self) -> Drawing:
        if len(self.points) > 2:
            raise ValueError("at most 2 points")
        return self


def test_good_data_is_read_with_its_defaults() -> None:
    data = {"line": {"start": {"x": 1}}, "points": [{"x": 2, "y": 3}]}
    assert Drawing.read(data, where="here") == Drawing(
        line=Line(start=Point(x=1.0, y=0.0), stop=None), points=[Point(x=2.0, y=3.0)]
    )


LINE: dict[str, Any] = {"start": {"x": 1}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "field 'line' is missing"),
        ({"line": {}}, "field 'line.start' is missing"),
        ({"line": {"start": {"y": 1}}}, "field 'line.start.x' is missing"),
        ({"line": LINE, "point": []}, "unknown field 'point'; did you mean 'points'?"),
        ({"lien": LINE}, "unknown field 'lien'; did you mean 'line'? (and 1 more)"),
        ({"line": LINE, "start": {"x": 1}}, "unknown field 'start'; did you mean 'line.start'?"),
        ({"line": LINE, "zzz": 1}, "unknown field 'zzz'; expected one of 'line', 'points', 'named'"),
        ({"line": {"strat": {"x": 1}}}, "unknown field 'line.strat'; did you mean 'start'? (and 1 more)"),
        (
            {"line": {"start": {"x": "far", "y": -1}}},
            "field 'line.start.x': input should be a valid number, unable to parse string as a number,"
            " got 'far' (and 1 more)",
        ),
        (
            {"line": {"start": {"x": 1, "y": -1}}},
            "field 'line.start.y': input should be greater than or equal to 0, got -1",
        ),
        (
            {"line": {"start": {"x": math.nan}}},
            "field 'line.start.x': input should be a finite number, got nan",
        ),
        (
            {"line": LINE, "points": [{"x": 1}, {"x": math.inf}]},
            "field 'points.1.x': input should be a finite number, got inf",
        ),
        (
            {"line": LINE | {"label": "a long one"}},
            "field 'line.label': labels have up to 5 letters, got 'a long one'",
        ),
        ({"line": LINE, "points": [{"x": 1}] * 3}, "at most 2 points"),
        ([], "input should be a valid dictionary or instance of Drawing"),
        (None, "input should be a valid dictionary or instance of Drawing"),
    ],
    ids=str,
)
def test_a_fault_is_told_in_one_line(data: Any, message: str) -> None:
    with pytest.raises(NoiseproofError, match="^" + re.escape(f"study 'mine': {message}") + "$"):
        Drawing.read(data, where="study 'mine'")


@pytest.mark.parametrize(
    ("data", "offer"),
    [
        ({"line": {"start": {"x": 1, "yy": 2}}}, "unknown field 'line.start.yy'; did you mean 'y'?"),
        ({"line": LINE | {"stop": {"x": 1, "yy": 2}}}, "unknown field 'line.stop.yy'; did you mean 'y'?"),
        ({"line": LINE, "points": [{"x": 1, "yy": 2}]}, "unknown field 'points.0.yy'; did you mean 'y'?"),
        ({"line": LINE, "named": {"a": {"x": 1, "yy": 2}}}, "unknown field 'named.a.yy'; did you mean 'y'?"),
    ],
    ids=["nested twice", "optional", "in a list", "in a dictionary"],
)
def test_the_nearest_field_is_sought_where_the_misspelt_one_is(data: Any, offer: str) -> None:
    with pytest.raises(NoiseproofError) as caught:
        Drawing.read(data, where="here")
    assert str(caught.value) == f"here: {offer}"


def test_a_value_with_line_ends_is_shown_in_one_line() -> None:
    with pytest.raises(NoiseproofError) as caught:
        Point.read({"x": "1\n2"}, where="here")
    assert str(caught.value).endswith(r"got '1\n2'")
    assert len(str(caught.value).splitlines()) == 1


def test_data_is_frozen() -> None:
    point = Point(x=1)
    with pytest.raises(ValidationError, match="frozen"):
        point.x = 2


def test_an_error_of_ours_names_the_value_itself() -> None:
    with pytest.raises(NoiseproofError) as refusal:
        load_study("smoke", {"losses": ["ncee"]})
    assert str(refusal.value).endswith("unknown loss 'ncee' at column 1; did you mean 'nce'?")
