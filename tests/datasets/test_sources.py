"""Files are found wherever the user has them, and damaged archives say so."""

import io
import tarfile
import zipfile

import pytest

from atomlens.datasets.sources import found, one
from atomlens.errors import InputError


def packed(path, members):
    with tarfile.open(path, "w:bz2") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def contents(paths, patterns):
    with found(paths, patterns) as sources:
        return {source.inside.as_posix(): source.path.read_bytes() for source in sources}


def test_members_of_a_tar_archive_are_read_by_the_end_of_their_path(tmp_path):
    archive = packed(tmp_path / "all.tar.bz2", {"set/Si/a.txt": b"si", "set/Ge/a.txt": b"ge", "set/readme": b"no"})
    assert contents((archive,), ("Si/a.txt",)) == {"set/Si/a.txt": b"si"}
    assert contents((archive,), ("a.txt",)) == {"set/Si/a.txt": b"si", "set/Ge/a.txt": b"ge"}


def test_members_of_a_zip_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("deep/one-train.npz", b"train")
        archive.writestr("deep/other.txt", b"no")
    assert contents((tmp_path / "all.zip",), ("one-*.npz",)) == {"deep/one-train.npz": b"train"}


def test_folders_are_searched_to_the_bottom_and_archives_only_where_nothing_lies_unpacked(tmp_path):
    (tmp_path / "deep").mkdir()
    packed(tmp_path / "all.tar.bz2", {"a.txt": b"packed"})
    assert list(contents((tmp_path,), ("a.txt",)).values()) == [b"packed"]
    (tmp_path / "deep" / "a.txt").write_bytes(b"plain")
    assert list(contents((tmp_path,), ("a.txt",)).values()) == [b"plain"]


def test_a_named_file_may_have_any_name_with_the_right_suffix(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"x")
    assert list(contents((tmp_path / "mine.npz",), ("rmd17_ethanol.npz",)).values()) == [b"x"]
    with pytest.raises(InputError, match=r"holds none of the files rmd17_ethanol\.npz"):
        contents((tmp_path,), ("rmd17_ethanol.npz",))


def test_unpacked_files_vanish_with_the_block(tmp_path):
    archive = packed(tmp_path / "all.tar.bz2", {"a.txt": b"a"})
    with found((archive,), ("a.txt",)) as sources:
        path = sources[0].path
        assert path.exists()
        assert sources[0].name == f"{archive}: a.txt"
    assert not path.exists()


def test_members_never_leave_the_folder_they_are_unpacked_to(tmp_path):
    archive = packed(tmp_path / "evil.tar.bz2", {"../../a.txt": b"evil"})
    with found((archive,), ("a.txt",)) as sources:
        assert sources[0].path.name.endswith("a.txt")
        assert ".." not in sources[0].path.parts
    assert not (tmp_path.parent / "a.txt").exists()


@pytest.mark.parametrize("name", ["half.tar.bz2", "half.zip"])
def test_a_truncated_archive_is_named(tmp_path, name):
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("a.txt", bytes(range(256)) * 400)
    else:
        packed(tmp_path / name, {"a.txt": bytes(range(256)) * 400})
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"{name}: is a damaged archive"):
        contents((tmp_path / name,), ("a.txt",))


def test_missing_paths_and_ambiguity_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        contents((tmp_path / "nowhere",), ("a.txt",))
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.npz").write_bytes(b"")
    with found((tmp_path,), ("a.npz",)) as sources, pytest.raises(InputError, match="there are several"):
        one(sources, ("a.npz",))
