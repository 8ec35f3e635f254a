"""The page: everything is on it, as text, whoever wrote it; the same bytes for the same records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from noiseproof.report import CLAIMS, from_records, published, table
from noiseproof.study import Record

MakePage = Callable[..., str]
MakeRecord = Callable[..., Record]

VOID = {"meta", "input", "br", "hr", "img", "link", "path"}


class Page(HTMLParser):
    """Elements as ``(tag, attributes)``, all text, and whether every element was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)


@pytest.fixture
def page(records: list[Record], make_page: MakePage) -> Page:
    return Page(make_page(records))


def test_every_element_is_closed_and_every_reference_is_met(page: Page) -> None:
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)
    assert {name for names in page.values("aria-labelledby") for name in names.split()} <= set(ids)
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    assert page.values("src") == []
    assert all(link.startswith("#") for link in page.values("href"))
    policies = [a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a]
    inline = "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    assert policies == [f"default-src 'none'; {inline}"]


def test_the_cells_are_those_of_the_tables(records: list[Record], page: Page) -> None:
    results = from_records(records)
    for kind in results.kinds:
        made = table(results, kind, name=kind)
        assert made.caption in page.text
        assert " ".join(made.notes) in page.text
        for loss, entries in made.rows:
            cells = " ".join(f"{entry.mean:.2f} ± {entry.std:.2f}" for entry in entries)
            assert f"{loss} {cells}" in page.text


def test_the_top_two_of_every_column_are_marked(page: Page) -> None:
    assert page.values("class").count("top") == 2 * 3


def test_every_claim_can_be_opened_for_its_evidence(records: list[Record], page: Page) -> None:
    assert page.count("details") == len(CLAIMS) + 3  # and the noise settings
    for claim in CLAIMS:
        ours, study = claim.judge(from_records(records)), claim.judge(published())
        shown = f"{claim.statement} ({claim.section}) here: {ours.answer} study: {study.answer}"
        assert f"{shown} here {ours.evidence} study {study.evidence}" in page.text


def test_curves_are_there_for_every_loss_and_setting(page: Page) -> None:
    lines = [a for tag, a in page.elements if tag == "polyline"]
    assert len(lines) == 2 * 3 * 3  # accuracy and memorized
    assert all(len((a["points"] or "").split()) == 12 for a in lines)
    labels = [a["aria-label"] or "" for _, a in page.elements if a.get("class") == "plot"]
    assert labels[1] == (
        "Test accuracy by epoch under symmetric:0.5; at the end CE 74.50 %, NCE 79.50 %, NCE+MAE 84.50 %"
    )
    assert "Values are rounded to 0.01 points." in page.text
    assert "is drawn" not in page.text


def test_the_noise_asked_for_stands_beside_the_achieved(page: Page) -> None:
    assert "symmetric:0.5 50.00 % wrong asked for, 50.00 % wrong achieved" in page.text
    assert "asymmetric:0.4" in page.text
    assert "asked for cat dog cat 60 40 dog 0 100 achieved cat dog cat 50 50 dog 0 100" in page.text
    assert "No entry is further than 10.00 points from what was asked for." in page.text


def test_it_says_where_it_comes_from(page: Page) -> None:
    assert f"data digits, fingerprint {'f' * 12}" in page.text
    assert "training 18 runs, 27 s in all" in page.text


def test_texts_of_users_are_texts(records: list[Record], make_page: MakePage) -> None:
    title, loss, data = "<script>alert(1)</script>", "A & <b>'\"", "x</style><i>"
    results = from_records(records)
    results = replace(
        results,
        data=data,
        losses=(loss, *results.losses[1:]),
        cells={
            (loss if name == "CE" else name, setting): cell for (name, setting), cell in results.cells.items()
        },
    )
    names = ["</td><script>", "&amp;"]
    named = [
        record.model_copy(update={"data": record.data.model_copy(update={"class_names": tuple(names)})})
        for record in records
    ]
    page = Page(make_page(named, results=results, title=title))
    assert page.open == []
    assert page.count("script") == 1
    assert page.count("style") == 1
    assert page.count("b") == page.count("i") == 0
    assert page.text.count(title) == 2  # title and heading
    assert page.text.count(loss) >= 3
    assert f"on {data} under" in page.text
    assert f"asked for {names[0]} {names[1]} {names[0]}" in page.text


def test_the_same_records_give_the_same_bytes(records: list[Record], make_page: MakePage) -> None:
    first = make_page(records)
    assert make_page(records) == first
    assert "0x" not in first  # no object's address


def test_a_study_without_a_title_is_called_by_its_data(records: list[Record], make_page: MakePage) -> None:
    assert "digits: losses under label noise" in Page(make_page(records, title="")).text


def test_missing_diverged_and_unfit_runs_are_said(make_record: MakeRecord, make_page: MakePage) -> None:
    records = [
        make_record("ce", "symmetric:0.2", 0),
        make_record("ce", "symmetric:0.2", 1, status="diverged"),
        make_record("ce", "symmetric:0.4", 0),
        make_record("mae", "symmetric:0.2", 0, status="out of memory"),
    ]
    text = Page(make_page(records)).text
    assert "CE 60.00 ± 0.00 diverged 60.00 1 of 2 MAE out of memory missing" in text
    assert "Missing: 4 of 8 runs." in text


def test_without_any_accuracy_there_is_a_page_all_the_same(
    make_record: MakeRecord, make_page: MakePage
) -> None:
    page = Page(make_page([make_record("ce", "symmetric:0.2", status="out of memory", test=[0.5])]))
    assert "0 of 1 runs are finished" in page.text
    assert page.count("polyline") == 0
    assert "#by-epoch" not in page.values("href")


def test_the_published_value_stands_beside(make_record: MakeRecord, make_page: MakePage) -> None:
    page = Page(make_page([make_record("ce", "symmetric:0.2", data="cifar10", model={"name": "resnet18"})]))
    expected = published().accuracy("CE", "symmetric", 0.2)
    assert f"CE 60.00 ({expected:.2f})" in page.text
    off = 60 - expected
    assert "Beside what was published, on 1 cell that both have" in page.text
    assert f"symmetric:0.2 1 {abs(off):.2f} {off:+.2f} not known" in page.text
    assert f"Published: {published().citation}." in page.text


@pytest.mark.parametrize(
    ("setting", "about_noise", "sayings"),
    [
        ("none", {"counts": [[2, 0], [0, 2]]}, ["No label was wrong, so there was nothing to memorize."]),
        (
            "given",
            {"counts": None, "requested_rate": None, "achieved_rate": None},
            [
                "The clean labels are not known, so nothing can be said of what was memorized.",
                "given the clean labels are not known",
            ],
        ),
        ("human:worst", {"requested_rate": None}, ["There is no matrix that was asked for"]),
    ],
)
def test_what_is_not_known_is_said_and_why(
    make_record: MakeRecord,
    make_page: MakePage,
    setting: str,
    about_noise: dict[str, object],
    sayings: Iterable[str],
) -> None:
    memorized = [0.1, 0.2] if setting == "human:worst" else [None, None]
    page = Page(make_page([make_record("ce", setting, memorized=memorized, about_noise=about_noise)]))
    assert all(saying in page.text for saying in sayings)
    assert page.count("polyline") == (2 if setting == "human:worst" else 1)


def test_a_hundred_classes_are_two_pictures(make_record: MakeRecord, make_page: MakePage) -> None:
    counts = [[400 if i == j else 1 for j in range(100)] for i in range(100)]
    record = make_record("ce", "symmetric:0.2", about_data={"class_map": {}}, about_noise={"counts": counts})
    page = Page(make_page([record]))
    assert page.count("img") == 2
    assert all(address.startswith("data:image/png;base64,") for address in page.values("src"))


def test_a_large_study_can_still_be_mailed(make_record: MakeRecord, make_page: MakePage) -> None:
    results = from_records([make_record("ce", "symmetric:0.2")])
    (cell,) = results.cells.values()
    curve = tuple(99.99 - 0.011 * epoch for epoch in range(2000))
    losses = tuple(f"loss number {i}" for i in range(24))
    large = replace(cell, curves=(curve, curve), memorized=(curve, curve))
    results = replace(
        results,
        losses=losses,
        epochs=2000,
        cells={(loss, setting): large for loss in losses for setting in results.noises},
    )
    text = make_page([make_record("ce", "symmetric:0.2")], results=results)
    assert "one epoch in 5 is drawn, and the last" in Page(text).text
    assert len(text) < 1_000_000
