"""The official files of QM9, made small: the first molecules as published, others made up in the same dialect."""

import io
import tarfile

import numpy as np
import pytest

from atomlens.data.pieces import concatenate
from atomlens.datasets import qm9
from atomlens.datasets.qm9 import read_qm9, uncharacterised
from atomlens.errors import InputError

HARTREE, BOHR, DEBYE, KCAL_PER_MOL = 27.211386, 0.5291772, 0.2081943, 0.0433641  # eV, Å, e·Å, eV

# dsgdb9nsd_000001.xyz of the collection (CC0), as it is.
METHANE = (
    "5\n"
    "gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t"
    "-40.476062\t-40.475117\t-40.498597\t6.469\t\n"
    "C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689\n"
    "H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921\n"
    "H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922\n"
    "H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923\n"
    "H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923\n"
    "1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078\n"
    "C\tC\t\n"
    "InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4\n"
)


def made_up(index, x="1.5"):
    """A molecule HF with the number ``index``, whose properties 3 to 17 are 0.03, 0.04, ..."""
    scalars = "\t".join(f"{0.01 * place:.2f}" for place in range(3, 18))
    return (
        f"2\ngdb {index}\t{scalars}\t\nH\t 0.0\t 0.0\t-7.5*^-7\t 0.4\nF\t {x}\t 0.0\t 0.0\t-0.4\n"
        "4000.0\nF\tF\t\nInChI=1S/FH/h1H\tInChI=1S/FH/h1H\n"
    )


NAMED = [58, *range(60, 60 + 3053)]


@pytest.fixture
def listed(tmp_path):
    """The list of 3,054 molecules, 58 and 60 to 3112, with titles and rules."""
    path = tmp_path / "uncharacterized.txt"
    rows = "".join(f"{number:8d}   CCO  CC=O  C=CO\n" for number in NAMED)
    rule = "=" * 60
    path.write_text(
        f"{rule}\nThe following molecules failed\n{rule}\nIndex    GDB-9   Corina  B3LYP\n{rule}\n{rows}{rule}\n"
    )
    return path


def packed(folder, molecules, kind="bz2"):
    path = folder / f"dsgdb9nsd.xyz.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as archive:
        for index, text in molecules:
            data = text.encode()
            info = tarfile.TarInfo(f"dsgdb9nsd_{index:06d}.xyz")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read(*paths, **options):
    return concatenate(read_qm9(paths, **options))


def numbers(data):
    return data.columns["gdb_index"].values.tolist()


def test_methane_has_its_published_values(tmp_path, listed):
    data = read(packed(tmp_path, [(1, METHANE)]), listed)
    assert data.numbers.tolist() == [6, 1, 1, 1, 1]
    assert data.positions[0] == pytest.approx([-0.0126981359, 1.0858041578, 0.0080009958], abs=1e-12)
    bond = np.linalg.norm(data.positions[1:] - data.positions[0], axis=1)
    assert bond == pytest.approx([1.092] * 4, abs=1e-3)
    labels = {name: values[0] for name, values in data.labels.items() if name != "charges"}
    assert labels == pytest.approx(
        {
            "energy": -40.47893 * HARTREE,
            "homo": -0.3877 * HARTREE,
            "lumo": 0.1171 * HARTREE,
            "gap": 0.5048 * HARTREE,
            "zero_point_energy": 0.044749 * HARTREE,
            "isotropic_polarizability": 13.21 * BOHR**3,
            "electronic_spatial_extent": 35.3641 * BOHR**2,
            "dipole_magnitude": 0.0,
            "heat_capacity": 6.469e-3 * KCAL_PER_MOL,
        },
        rel=1e-6,
    )
    assert data.labels["charges"] == pytest.approx([-0.535689, 0.133921, 0.133922, 0.133923, 0.133923])
    columns = {key: column.values[0] for key, column in data.columns.items()}
    assert columns == {"gdb_index": 1, "A": 157.7118, "B": 157.70997, "C": 157.70699, "U0": -40.47893, "U": -40.476062,
                       "H": -40.475117, "G": -40.498597}  # fmt: skip
    assert {data.columns[key].unit for key in ("U0", "U", "H", "G")} == {"Ha"}
    assert data.metadata["labels"]["energy"] == {"key": "U0", "unit": "Ha"}


def test_every_property_stands_at_its_place(tmp_path, listed):
    """The readme counts properties from 1, tag and index first: μ is 6, U0 13, Cv 17."""
    data = read(packed(tmp_path, [(59, made_up(59))]), listed)
    assert data.labels["dipole_magnitude"][0] == pytest.approx(0.06 * DEBYE, rel=1e-6)
    assert data.labels["energy"][0] == pytest.approx(0.13 * HARTREE, rel=1e-6)
    assert data.labels["heat_capacity"][0] == pytest.approx(0.17e-3 * KCAL_PER_MOL, rel=1e-6)
    assert [data.columns[key].values[0] for key in ("A", "U", "H", "G")] == [0.03, 0.14, 0.15, 0.16]


def test_numbers_with_a_star_are_read(tmp_path, listed):
    data = read(packed(tmp_path, [(59, made_up(59, "1.2*^-1")), (57, made_up(57, "-3.*^+0"))]), listed)
    assert data.positions[:, 2].tolist() == [-7.5e-7, 0.0] * 2
    assert data.positions[[1, 3], 0].tolist() == [0.12, -3.0]


def test_the_list_counts_from_one_and_leaves_out_no_neighbour(tmp_path, listed):
    """Applied to places from 0, the list would leave out 59 and keep 58."""
    whole = [(index, made_up(index)) for index in range(1, 63)]
    kept = numbers(read(packed(tmp_path, whole), listed))
    assert kept == [*range(1, 58), 59]


def test_a_molecule_is_known_by_its_number_and_not_by_its_place(tmp_path, listed):
    shuffled = [(index, made_up(index)) for index in (60, 59, 58, 2, 1, 57)]
    data = read(packed(tmp_path, shuffled), listed)
    assert numbers(data) == [59, 2, 1, 57]


def test_the_uncharacterised_may_be_kept(tmp_path, listed):
    path = packed(tmp_path, [(index, made_up(index)) for index in (57, 58, 59)])
    assert numbers(read(path, keep_uncharacterised=True)) == [57, 58, 59]
    assert numbers(read(path, listed, keep_uncharacterised=True)) == [57, 58, 59]


def test_a_missing_list_is_said_with_its_place(tmp_path):
    path = packed(tmp_path, [(1, METHANE)])
    with pytest.raises(
        InputError, match=r"needs uncharacterized\.txt .*files/3195404 .*--variant keep-uncharacterised"
    ) as error:
        read(path)
    assert error.value.file == str(path)


def test_another_list_is_refused(tmp_path, listed):
    listed.write_text(listed.read_text().replace("      58   CCO", "      60   CCO"))
    with pytest.raises(InputError, match="names 3,053 molecules, not the 3,054"):
        uncharacterised(listed)
    listed.write_text("<html>Not found</html>")
    with pytest.raises(InputError, match="names 0 molecules"):
        read(packed(tmp_path, [(1, METHANE)]), listed)


@pytest.mark.parametrize("kind", ["folder", "inner folder", "folder with archive", "numbered downloads", "gz"])
def test_files_are_found_as_people_have_them(tmp_path, listed, kind):
    molecules = [(1, METHANE), (58, made_up(58)), (59, made_up(59))]
    folder = tmp_path / "set"
    folder.mkdir()
    if kind in ("folder", "inner folder"):
        inner = folder / "dsgdb9nsd.xyz" if kind == "inner folder" else folder
        inner.mkdir(exist_ok=True)
        for index, text in molecules:
            (inner / f"dsgdb9nsd_{index:06d}.xyz").write_text(text)
        (folder / "readme.txt").write_text("3054 molecules from the set failed")
        listed.rename(folder / "uncharacterized.txt")
        paths = [folder]
    elif kind == "folder with archive":
        packed(folder, molecules)
        listed.rename(folder / "uncharacterized.txt")
        paths = [folder]
    elif kind == "numbered downloads":  # as figshare calls them
        paths = [packed(folder, molecules).rename(folder / "3195389"), listed.rename(folder / "3195404")]
    else:
        paths = [listed, packed(folder, molecules, "gz")]
    assert numbers(read(*paths)) == [1, 59]


def test_pieces_are_bounded_and_places_are_those_of_the_archive(tmp_path, listed, monkeypatch):
    monkeypatch.setattr(qm9, "PIECE", 2)
    path = packed(tmp_path, [(index, made_up(index)) for index in (57, 58, 59, 1, 2, 3)])
    pieces = list(read_qm9((path, listed)))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert [place for piece in pieces for place in piece.origin.places] == [0, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (METHANE.replace("gdb 1\t", "gdb 7\t"), "holds molecule 7, not that of its name"),
        (METHANE.replace("gdb 1\t", "gdb 0\t"), "the number 0, which no molecule"),
        (METHANE.replace("\t6.469", ""), "no line of 15 properties"),
        (METHANE.rsplit("\n", 2)[0], "has 9 of its 10 lines"),
        (METHANE.replace("C\t-0.01", "Si\t-0.01"), "has the element 'Si'"),
        (METHANE.replace("\t-0.535689", ""), "an atom that is not symbol, position and charge"),
        (METHANE.replace("13.21", "much"), "not a molecule as QM9 writes them"),
        ("", "not a molecule as QM9 writes them"),
    ],
)
def test_damaged_molecules_are_named(tmp_path, listed, text, words):
    with pytest.raises(InputError, match=words) as error:
        read(packed(tmp_path, [(1, text)]), listed)
    assert error.value.file.endswith("dsgdb9nsd.xyz.tar.bz2: dsgdb9nsd_000001.xyz")


def test_a_molecule_twice_is_refused(tmp_path, listed):
    path = packed(tmp_path, [(59, made_up(59)), (59, made_up(59))])
    with pytest.raises(InputError, match="holds molecule 59 twice"):
        read(path, listed)


def test_an_archive_that_ends_early_is_refused(tmp_path, listed):
    path = packed(tmp_path, [(index, made_up(index, f"{index}.25")) for index in range(1, 58)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="is a damaged archive, or not all of one"):
        read(path, listed)


def test_what_is_missing_or_too_much_is_said(tmp_path, listed):
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="give one source of molecules"):
        read(listed)
    with pytest.raises(InputError, match="give one source of molecules"):
        read(packed(tmp_path, [(1, METHANE)]), packed(tmp_path, [(1, METHANE)], "gz"), listed)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \.xyz files"):
        read(tmp_path / "empty", listed)


def _archive(path, index, **more):
    count = len(index)
    np.savez(
        path,
        n_atoms=np.full(count, 2),
        numbers=np.tile([1, 9], count),
        positions=np.tile([[0.0, 0, 0], [0.92, 0, 0]], (count, 1)),
        gdb_index=np.array(index),
        U0=np.full(count, -100.4),
        **more,
    )
    return path


def test_a_repacked_archive_is_read_with_what_it_has(tmp_path, listed):
    path = _archive(tmp_path / "qm9.npz", [57, 58, 59], mu=np.array([1.8, np.nan, 2.0], dtype=np.float32))
    data = read(path)
    assert numbers(data) == [57, 58, 59]
    assert data.labels["energy"] == pytest.approx([-100.4 * HARTREE] * 3, rel=1e-6)
    assert np.isnan(data.labels["dipole_magnitude"]).tolist() == [False, True, False]
    assert "homo" not in data.labels
    assert numbers(read(path, listed)) == [57, 59]


def test_an_archive_of_all_molecules_needs_the_list_too(tmp_path, listed, monkeypatch):
    monkeypatch.setattr(qm9, "_CHARACTERISED", 2)
    path = _archive(tmp_path / "qm9.npz", [57, 58, 59])
    with pytest.raises(InputError, match=r"needs uncharacterized\.txt"):
        read(path)
    assert numbers(read(path, listed)) == [57, 59]
    assert numbers(read(path, keep_uncharacterised=True)) == [57, 58, 59]


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "qm9.npz"
    np.savez(path, n_atoms=[1], numbers=[1], positions=[[0.0, 0, 0]], energy=[1.0])
    with pytest.raises(InputError, match="has no entry 'gdb_index'"):
        read(path)


def test_the_real_archive_is_counted_and_in_its_units(shared_data):
    data = read(shared_data / "qm9.npz")
    assert len(data) == 120_831
    index = data.columns["gdb_index"].values
    assert len(np.unique(index)) == len(data)
    assert 1 <= index.min() <= index.max() <= qm9.MOLECULES
    free = qm9.DATASETS[0].card.free_atoms["U0"]
    counts, elements = data.counts()
    assert elements == [1, 6, 7, 8, 9]
    atoms = counts @ np.array([free[symbol] for symbol in "HCNOF"]) * HARTREE
    binding = (data.labels["energy"] - atoms) / KCAL_PER_MOL
    # Published atomisation energies of methane, ammonia and water in kcal/mol (gdb9.sdf.csv: u0_atom).
    assert binding[:3] == pytest.approx([-395.999595, -276.861363, -213.087624], abs=2e-3)
    assert (binding < -200).all()
    known = ~np.isnan(data.labels["gap"])
    difference = data.labels["lumo"][known] - data.labels["homo"][known] - data.labels["gap"][known]
    assert np.abs(difference).max() < 1.6e-4 * HARTREE  # all three are rounded to 1e-4 Ha
