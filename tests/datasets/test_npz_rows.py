"""Numpy archives read in pieces are what numpy reads as a whole."""

import numpy as np
import pytest

from atomlens.datasets.npz_rows import npz_rows
from atomlens.errors import InputError


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_pieces_laid_end_to_end_are_the_arrays(tmp_path, save, size):
    random = np.random.default_rng(0)
    arrays = {"R": random.normal(size=(7, 4, 3)), "E": random.normal(size=(7, 1)), "z": np.array([1, 6, 8, 1])}
    arrays["F"] = np.asfortranarray(arrays["R"].astype(np.float32))
    save(tmp_path / "a.npz", **arrays)
    with npz_rows(tmp_path / "a.npz") as archive:
        assert archive.shapes == {key: values.shape for key, values in arrays.items()}
        np.testing.assert_array_equal(archive.whole("z"), arrays["z"])
        pieces = list(archive.pieces(("R", "E", "F"), size))
    assert [start for start, _ in pieces] == list(range(0, 7, size))
    for key in ("R", "E", "F"):
        joined = np.concatenate([piece[key] for _, piece in pieces])
        np.testing.assert_array_equal(joined, arrays[key])
        assert joined.dtype == arrays[key].dtype


def test_texts_are_read_as_text_or_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", e_unit="kcal/mol", r_unit=np.array(b"Ang"), number=np.arange(2))
    with npz_rows(tmp_path / "a.npz") as archive:
        assert (archive.text("e_unit"), archive.text("r_unit")) == ("kcal/mol", "Ang")
        assert archive.text("number") == archive.text("absent") == ""


def test_a_truncated_archive_is_no_archive(tmp_path):
    np.savez(tmp_path / "a.npz", R=np.zeros((100, 3)))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:500])
    with pytest.raises(InputError, match=r"a\.npz: is not a whole numpy archive"), npz_rows(tmp_path / "a.npz"):
        pass


def test_an_altered_byte_is_noticed(tmp_path):
    np.savez(tmp_path / "a.npz", R=np.zeros((100, 3)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[1000] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(bytes(content))
    with (
        pytest.raises(InputError, match=r"is not a whole numpy archive .* or was altered"),
        npz_rows(tmp_path / "a.npz") as archive,
    ):
        list(archive.pieces(("R",), 10))


def test_pickles_and_unequal_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", R=np.zeros((3, 2)), E=np.zeros(4), o=np.array([{}, None], dtype=object))
    with npz_rows(tmp_path / "a.npz") as archive, pytest.raises(InputError, match="'E' has 4 rows where 'R' has 3"):
        list(archive.pieces(("R", "E"), 10))
    for read in (lambda archive: archive.whole("o"), lambda archive: list(archive.pieces(("o",), 10))):
        with (
            pytest.raises(InputError, match="pickled objects, which are never read"),
            npz_rows(tmp_path / "a.npz") as a,
        ):
            read(a)
