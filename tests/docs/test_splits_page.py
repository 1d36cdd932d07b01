"""The page about splits knows every kind and every option."""

from pathlib import Path

from atomlens.data.leaks.find import CLOSE, CLOSE_SHARE
from atomlens.data.splits import SPLITS
from atomlens.data.splits.blocks import BLOCK, GAP
from atomlens.data.splits.sharing import HELD_OUT

PAGE = (Path(__file__).parents[2] / "docs" / "splits.md").read_text(encoding="utf-8")


def test_every_kind_has_a_row_with_its_options():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
    found = {
        row[0].strip("`"): tuple(name.strip("` ") for name in row[2].split(",") if name.strip()) for row in rows[1:]
    }
    assert found == {name: method.options for name, method in SPLITS.items()}


def test_numbers_on_the_page_are_those_of_the_code():
    assert f"{HELD_OUT:g} where nothing is said" in PAGE
    assert f"{BLOCK:g} integrated autocorrelation times" in PAGE
    assert f"than {GAP:g} to a block of another use" in PAGE
    assert f"less than {CLOSE:g} Å" in PAGE
    assert CLOSE_SHARE == 0.2  # "a fifth"
