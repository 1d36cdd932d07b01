"""What the tests of the readers share."""

import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from atomlens.data.readers import parse_label, read_dataset
from atomlens.errors import InputError

HA, BOHR = 27.211386, 0.5291772  # eV and Å, from tables
WATER = "O 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


def labels(*texts):
    return dict(parse_label(text) for text in texts)


def refusal(path, *texts, **options):
    """The sentence that reading gives, without the file's name, which must open it."""
    with pytest.raises(InputError) as caught:
        read_dataset(path, labels(*texts) if texts else None, **options)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path)).lstrip(":, ")


def labelled(atoms, **results):
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
