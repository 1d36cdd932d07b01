import pytest

from atomlens.report import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "0.0123"), (1300, "1,300"), (1.2e-7, "1.20 × 10⁻⁷"), (-0.5, "−0.500"), (0, "0"), (0.99999, "1.00"),
        (123456.0, "123,456"), (3.2e9, "3.20 × 10⁹"), (None, "–"), (float("nan"), "–"), (float("inf"), "–"),
        ("x", "–"), (True, "–"),
    ],
)  # fmt: skip
def test_significant_digits(value, text):
    assert formatting.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (1e-5, "1 × 10⁻⁵"), (100.0, "100"), (500, "500"), (2.5e-7, "2.5 × 10⁻⁷"), (None, "–")],
)
def test_chosen_numbers_have_no_padding(value, text):
    assert formatting.plain(value) == text


def test_units_for_chemists():
    assert formatting.per_mole(0.0433641, "eV") == ("1.00", "kcal/mol")  # CODATA: 1 kcal/mol = 0.0433641 eV
    assert formatting.per_mole(1.0, "eV/Ang") == ("23.1", "kcal/mol/Å")
    assert formatting.per_mole(0.2, "e") == ("0.200", "e")
    assert formatting.measured(0.04, "eV/Ang") == "0.0400 eV/Å"
    assert formatting.measured(2.0, "") == "2.00"
    assert formatting.measured(None, "eV") == "–"


def test_ratios_durations_and_formulas():
    assert formatting.ratio(1.5, 0.1) == "×15"
    assert formatting.ratio(1.5, 0.0) == "–"
    assert [formatting.seconds(value) for value in (0.44, 35.2, 170.0, 3900.0, None)] == [
        "0.4 s", "35 s", "2 min 50 s", "1 h 05 min", "–",
    ]  # fmt: skip
    assert formatting.formula("C2H6O") == "C₂H₆O"
    assert formatting.formula("Ca(OH)2") == "Ca(OH)₂"
