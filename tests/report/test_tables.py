"""Tables: the right numbers in the right cells, the top two in bold, and what is missing said so."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from noiseproof.noise import Noise
from noiseproof.report import Cell, Results, Table, published, table
from noiseproof.report.tables import entry_text, to_csv, to_latex, to_markdown

RATES = (0.2, 0.4)
Column = Mapping[str, Sequence[float]]


def results_of(*columns: Column, runs_per_cell: int = 1, data: str = "digits", diverged: int = 0) -> Results:
    """Accuracies of each loss, a column for each of `RATES`."""
    rates = RATES[: len(columns)]
    return Results(
        data=data,
        epochs=5,
        losses=tuple(dict.fromkeys(loss for column in columns for loss in column)),
        noises=tuple(Noise("symmetric", rate) for rate in rates),
        runs_per_cell=runs_per_cell,
        cells={
            (loss, Noise("symmetric", rate)): Cell(accuracies=tuple(accuracies), diverged=diverged)
            for rate, column in zip(rates, columns, strict=True)
            for loss, accuracies in column.items()
            if accuracies
        },
    )


def tabled(*columns: Column, runs_per_cell: int = 1, diverged: int = 0) -> Table:
    results = results_of(*columns, runs_per_cell=runs_per_cell, diverged=diverged)
    return table(results, "symmetric", name="t")


def top(made: Table) -> list[set[str]]:
    """The losses in bold, column by column."""
    return [{loss for loss, entries in made.rows if entries[j].is_top} for j in range(len(made.settings))]


# ---------------------------------------------------------------------------------------- the numbers


def test_the_studys_own_tables_come_out_as_printed() -> None:
    symmetric = table(published(), "symmetric", name="table1")
    assert symmetric.losses[:2] == ("CE", "FL")
    assert to_csv(symmetric).splitlines()[1] == "CE,83.83,,76.07,,62.69,,36.90,"
    assert top(symmetric) == [{"NFL+MAE", "NCE+MAE"}] * 4
    assert top(table(published(), "asymmetric", name="table2")) == [{"CE", "FL"}] * 4


def test_a_row_for_each_loss_and_a_column_for_each_rate_ascending() -> None:
    results = results_of({"A": [1], "B": [2]}, {"A": [3], "B": [4]})
    made = table(replace(results, noises=results.noises[::-1]), "symmetric", name="t")
    assert (made.losses, [setting.rate for setting in made.settings]) == (("A", "B"), list(RATES))
    assert [[entry.mean for entry in entries] for entries in made.entries] == [[1, 3], [2, 4]]


def test_mean_and_sample_deviation() -> None:
    ((entry,),) = tabled({"A": [70, 80, 90]}, runs_per_cell=3).entries
    assert (entry.mean, entry.std, entry.runs) == (80, 10, 3)
    ((single,),) = tabled({"A": [70]}).entries
    assert (single.mean, single.std) == (70, None)


def test_the_caption_says_data_noise_and_epochs() -> None:
    assert tabled({"A": [1]}).caption == "digits with symmetric label noise, 5 epochs"
    single = replace(results_of({"A": [1]}), epochs=1)
    assert table(single, "symmetric", name="t").caption == "digits with symmetric label noise, 1 epoch"


def test_only_labels_that_somebody_knows_are_called_clean() -> None:
    def caption(data: str) -> str:
        results = replace(results_of({"A": [1]}), data=data, noises=(Noise("none"),), cells={})
        return table(results, "none", name="t").caption

    assert caption("digits") == "digits with clean labels, 5 epochs"
    assert caption("folder:photos@64") == "folder:photos@64 with labels as they are, 5 epochs"


# ---------------------------------------------------------------------------------------- the top two


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"A": [10], "B": [30], "C": [20]}, "BC"),
        ({"A": [30], "B": [30], "C": [30], "D": [20]}, "ABC"),
        ({"A": [40], "B": [30], "C": [30], "D": [20]}, "ABC"),
        ({"A": [40], "B": [40], "C": [30]}, "AB"),
        ({"A": [40]}, "A"),
        ({"A": [0], "B": [0]}, "AB"),
        ({"A": [], "B": [40], "C": []}, "B"),
        ({"A": [], "B": [40], "C": [0], "D": []}, "BC"),
        ({"A": [90, 10], "B": [60, 60], "C": [55, 55]}, "BC"),  # by the mean, not by the best run
    ],
    ids=str,
)
def test_the_top_two_and_their_ties_are_bold(column: Column, expected: str) -> None:
    assert top(tabled(column)) == [set(expected)]


def test_each_column_has_its_own_top_two() -> None:
    made = tabled({"A": [3], "B": [2], "C": [1]}, {"A": [1], "B": [2], "C": [3]})
    assert top(made) == [{"A", "B"}, {"B", "C"}]


def test_a_tie_is_not_broken_by_the_last_bit_of_a_mean() -> None:
    # 300 of 360 right on average, all three, though the floats differ in their last bit
    alike, spread = [100 * (300 / 360)] * 3, [100 * (k / 360) for k in (299, 300, 301)]
    assert top(tabled({"A": alike, "B": alike, "C": spread}, runs_per_cell=3)) == [{"A", "B", "C"}]


# --------------------------------------------------------------------------------- beside the study's


def test_the_studys_value_stands_beside_ours_on_the_same_data_alone() -> None:
    column = {"CE": [80.0], "MAE": [50.0]}
    for data, expected in (("cifar10", 83.83), ("digits", None)):
        made = table(results_of(column, data=data), "symmetric", name="t", study=published())
        ((ce,), (mae,)) = made.entries
        assert ce.study == expected
        assert mae.study is None  # the study has no such row
        assert entry_text(made, ce) == ("80.00 (83.83)" if expected else "80.00")
        assert ("In brackets: the published value." in made.notes) == (expected is not None)


def test_a_rate_that_the_study_has_not_stands_alone() -> None:
    results = Results("cifar10", 50, ("CE",), (Noise("symmetric", 0.3),), 1, {})
    ((entry,),) = table(results, "symmetric", name="t", study=published()).entries
    assert entry.study is None


# ------------------------------------------------------------------------------------------- missing


def test_what_is_missing_is_said_so() -> None:
    made = tabled({"A": [50.0, 60.0], "B": [10.0]}, {"A": [], "B": [1.0, 3.0]}, runs_per_cell=2)
    texts = [[entry_text(made, entry) for entry in entries] for entries in made.entries]
    assert texts == [["55.00 ± 7.07", "missing"], ["10.00 [1 of 2]", "2.00 ± 1.41"]]
    assert "Missing: 3 of 8 runs." in made.notes
    assert not made.entries[0][1].is_top


def test_nothing_is_said_of_what_is_not_missing() -> None:
    notes = tabled({"A": [50.0, 60.0]}, runs_per_cell=2).notes
    assert notes == [
        "Test accuracy (%) after the last epoch; bold: the top two of a column."
        " Mean ± standard deviation over 2 seeds."
    ]


def test_a_missing_cell_keeps_the_studys_value() -> None:
    made = table(results_of({"CE": [], "FL": [1]}, data="cifar10"), "symmetric", name="t", study=published())
    assert entry_text(made, made.entries[0][0]) == "missing (83.83)"


def test_divergence_is_marked() -> None:
    made = tabled({"A": [10.0], "B": [20.0]}, diverged=1)
    assert entry_text(made, made.entries[0][0]) == "10.00 [diverged]"
    assert "Diverged (a loss that was not finite): 2 runs." in made.notes
    assert "Diverged (a loss that was not finite): 1 run." in tabled({"A": [10.0]}, diverged=1).notes


def test_a_lack_of_memory_is_told_and_counts_as_no_missing_run() -> None:
    results = results_of({"A": [10.0], "B": []}, runs_per_cell=2)
    noise = Noise("symmetric", 0.2)
    made = table(
        replace(results, out_of_memory={("A", noise): 1, ("B", noise): 1}), "symmetric", name="table1"
    )
    assert [entry_text(made, entries[0]) for _, entries in made.rows] == [
        "10.00 [1 of 2] [out of memory]",
        "out of memory",
    ]
    assert "Out of memory: 2 runs, in no mean." in made.notes
    one = replace(results, out_of_memory={("A", noise): 1})
    assert "Out of memory: 1 run, in no mean." in table(one, "symmetric", name="t").notes
    assert "Missing: 1 of 4 runs." in made.notes


# ------------------------------------------------------------------------------------------ the forms


def test_the_csv_has_exactly_these_columns() -> None:
    made = tabled({"A": [50, 60], "B": [10]}, {"A": [], "B": [1, 3]}, runs_per_cell=2)
    assert to_csv(made) == "loss,0.2,0.2_std,0.4,0.4_std\nA,55.00,7.07,,\nB,10.00,,2.00,1.41\n"


def test_the_csv_of_the_study_has_its_columns() -> None:
    header = to_csv(table(published(), "symmetric", name="t")).splitlines()[0]
    assert header == "loss,0.2,0.2_std,0.4,0.4_std,0.6,0.6_std,0.8,0.8_std"


def test_the_csv_reads_back_whatever_a_loss_is_called() -> None:
    names = ["FL(gamma=2)", "2*NFL+0.5*MAE", 'x,"y"']
    rows = list(csv.DictReader(to_csv(tabled({name: [1.234] for name in names})).splitlines()))
    assert [row["loss"] for row in rows] == names
    assert {row["0.2"] for row in rows} == {"1.23"}


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_markdown_is_a_table_with_bold_and_notes() -> None:
    made = tabled(
        {"A": [50, 60], "B": [10], "C": [5, 5]}, {"A": [], "B": [1, 3], "C": [7, 7]}, runs_per_cell=2
    )
    lines = to_markdown(made).splitlines()
    assert lines[0] == f"**{made.caption}**"
    assert [cells_of(line) for line in lines[2:7]] == [
        ["loss", "0.2", "0.4"],
        ["---", "---:", "---:"],
        ["A", "**55.00 ± 7.07**", "missing"],
        ["B", "**10.00 [1 of 2]**", "**2.00 ± 1.41**"],
        ["C", "5.00 ± 0.00", "**7.00 ± 0.00**"],
    ]
    assert lines[8:] == made.notes


def test_markdown_shows_a_weight_as_a_star_and_not_as_emphasis() -> None:
    line = to_markdown(tabled({"2*NFL+0.5*MAE": [1]})).splitlines()[4]
    shown, *_ = cells_of(line)
    assert shown in (r"2\*NFL+0.5\*MAE", "`2*NFL+0.5*MAE`")


def test_the_latex_is_a_booktabs_table() -> None:
    made = tabled(
        {"A": [50, 60], "B": [10], "C": [5, 5]}, {"A": [], "B": [1, 3], "C": [7, 7]}, runs_per_cell=2
    )
    lines = to_latex(made).splitlines()
    assert [line for line in lines if line.startswith("\\") and not line.startswith("\\caption")] == [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    assert [line for line in lines if line.endswith(r"\\")] == [
        r"Loss & 0.2 & 0.4 \\",
        r"A & \textbf{55.00 $\pm$ 7.07} & missing \\",
        r"B & \textbf{10.00 [1 of 2]} & \textbf{2.00 $\pm$ 1.41} \\",
        r"C & 5.00 $\pm$ 0.00 & \textbf{7.00 $\pm$ 0.00} \\",
    ]


def test_latex_escapes_what_latex_would_read() -> None:
    text = to_latex(
        table(results_of({"A_B & 50% #1": [1, 3]}, data="my_data", runs_per_cell=2), "symmetric", name="t")
    )
    assert r"A\_B \& 50\% \#1 & \textbf{2.00 $\pm$ 1.41} \\" in text
    assert r"\caption{my\_data with symmetric label noise, 5 epochs. Test accuracy (\%) after" in text
    (caption,) = (line for line in text.splitlines() if line.startswith(r"\caption"))
    assert re.search(r"(?<!\\)[%&#_±]", caption) is None


def test_latex_escapes_the_names_of_files_too() -> None:
    made = table(results_of({"A": [1]}, data=r"npz:a^b~c$d{e}\f.npz"), "symmetric", name="t")
    escaped = r"npz:a\textasciicircum{}b\textasciitilde{}c\$d\{e\}\textbackslash{}f.npz"
    assert rf"\caption{{{escaped} with symmetric" in to_latex(made)
