"""``atomlens data`` as a newcomer uses it: what it says, what it leaves behind, and how it exits."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from words import KCAL, LABELS

from atomlens.checking.registry import CHECKS
from atomlens.data.neighbour_cache import open_pairs
from atomlens.data.readers import read_dataset
from atomlens.data.splits import SPLITS, Split
from atomlens.data.store import read_store
from atomlens.datasets.catalogue import DATASETS

ETHANOL = molecule("CH3CH2OH")


@pytest.fixture(scope="module")
def uphill(archive, tmp_path_factory):
    """The trajectory with gradients where forces should be."""
    arrays = dict(np.load(archive))
    path = tmp_path_factory.mktemp("data") / "uphill.npz"
    np.savez(path, **{**arrays, "F": -arrays["F"]})
    return path


@pytest.fixture(scope="module")
def rmd17(tmp_path_factory):
    """Ten frames of rMD17's ethanol, as an archive of that set."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "ethanol.npz"
    energies, forces = -97_000 + rng.normal(size=10), rng.normal(size=(10, 9, 3))
    forces -= forces.mean(axis=1, keepdims=True)
    np.savez(
        path,
        numbers=ETHANOL.numbers,
        positions=ETHANOL.positions + 0.05 * rng.normal(size=(10, 9, 3)),
        energies=energies,
        forces=forces,
        md17_index=np.arange(10) * 10,
        md17_energies=energies,
        md17_forces=forces,
    )
    return path


@pytest.fixture(scope="module")
def molecules(tmp_path_factory):
    """Molecules of four compositions and five sizes, two of them isomers, twelve times each and never the same."""
    rng = np.random.default_rng(0)
    frames = []
    for name in ("H2O", "CH4", "CH3OH", "CH3CH2OH", "CH3OCH3"):
        for _ in range(12):
            atoms = molecule(name)
            atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
            atoms.info |= {"E": rng.normal(), "trajectory": len(frames) // 6, "published": 1 + len(frames) % 2}
            frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "molecules.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


@pytest.fixture
def store(run, archive, tmp_path):
    assert run("data", "import", archive, *LABELS, "--out", tmp_path / "store", "--no-check").code == 0
    return tmp_path / "store"


class TestList:
    def test_names_every_set_on_a_line_of_its_own(self, run):
        result = run("data", "list")
        assert result.code == 0, result.err
        assert [line.split()[0] for line in result.out.splitlines()] == list(DATASETS)
        assert [entry["name"] for entry in json.loads(run("data", "list", "--json").out)] == list(DATASETS)


class TestInfo:
    def test_the_card_of_a_set_tells_errata(self, run):
        result = run("data", "info", "qm9")
        assert result.code == 0, result.err
        assert "3,054 of the 133,885 molecules" in result.out
        assert json.loads(run("data", "info", "qm9", "--json").out)["licence"] == "CC0"

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("rmd17", "it stands for several: rmd17-aspirin, "),
            ("MD17", "it stands for several: md17-aspirin, "),
            ("rmd17_ethanol", "did you mean 'rmd17-ethanol'?"),
            ("qm99", "did you mean 'qm9'?"),
            ("zzz", "`atomlens data list` names those that are known"),
            ("none.npz", "none.npz: does not exist; check the path"),
            ("no/such/store", "no/such/store: does not exist; check the path"),
        ],
    )
    def test_what_is_not_known_is_answered_with_what_may_be_meant(self, run, name, sentence):
        result = run("data", "info", name)
        assert result.code == 2
        assert sentence in result.error

    @pytest.mark.parametrize("name", ["c20", "materials-project", "qm9-mp2"])
    def test_it_is_said_once_how_to_do_without_a_download(self, run, name):
        assert run("data", "info", name).out.count("--from") == 1

    def test_a_file_tells_what_is_in_it(self, run, archive):
        found = json.loads(run("data", "info", archive, "--json").out)
        assert (found["structures"], found["atoms"], found["elements"]) == (60, 180, ["H", "O"])
        assert found["labels"] == {}
        assert set(found["columns"]) == {"E", "F"}
        assert "elements: H O\n" in run("data", "info", archive).out

    def test_a_set_keeps_its_card_beside_its_store(self, run, rmd17, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert run("data", "get", "rmd17-ethanol", "--from", rmd17, "--no-check").code == 0
        shown = run("data", "info", "rmd17-ethanol").out
        assert "Christensen" in shown
        assert "store rmd17-ethanol:\n  structures: 10\n" in shown
        found = json.loads(run("data", "info", "rmd17-ethanol", "--json").out)
        assert found["structures"] == 100_000
        assert found["store"]["structures"] == 10
        assert json.loads(run("data", "info", "./rmd17-ethanol", "--json").out)["structures"] == 10


class TestGet:
    def test_from_a_file_that_is_there(self, run, rmd17, tmp_path):
        result = run("data", "get", "rmd17-ethanol", "--from", rmd17, "--out", tmp_path / "store", "--json")
        assert result.code == 0, result.err
        found = json.loads(result.out)
        assert found["metadata"]["name"] == "rmd17-ethanol"
        assert found["check"]["structures"] == 10
        assert "10 structures were read, the published set has 100,000" in result.err
        energies = read_store(tmp_path / "store").labels["energy"]
        np.testing.assert_allclose(energies, np.load(rmd17)["energies"] * KCAL, rtol=1e-6)

    def test_a_file_of_another_molecule(self, run, rmd17, tmp_path):
        result = run("data", "get", "rmd17-benzene", "--from", rmd17, "--out", tmp_path / "store")
        assert result.code == 2
        assert f"{rmd17}: holds C2H6O, not benzene (C6H6)" in result.error
        assert not list(tmp_path.iterdir())

    def test_a_set_that_is_published_nowhere(self, run, tmp_path):
        result = run("data", "get", "c20", "--out", tmp_path / "store")
        assert result.code == 2
        assert "'c20' cannot be downloaded: no official place of the trajectory of C20 is known" in result.error
        assert result.error.count("--from") == 1

    def test_a_misspelt_variant(self, run, rmd17, tmp_path):
        result = run("data", "get", "qm9", "--from", rmd17, "--variant", "keep", "--out", tmp_path / "store")
        assert result.code == 2
        assert "keep-uncharacterised" in result.error


class TestImport:
    def test_units_are_converted_and_the_labels_checked(self, run, archive, tmp_path):
        result = run("data", "import", archive, *LABELS, "--out", tmp_path / "store")
        assert result.code == 0, result.err
        assert result.out.startswith(f"60 structures, 180 atoms: {tmp_path / 'store'}\n")
        assert f"{len(CHECKS)} checks of 60 structures" in result.out
        given, data = np.load(archive), read_store(tmp_path / "store")
        np.testing.assert_allclose(data.labels["energy"], given["E"] * KCAL, rtol=2e-8)
        np.testing.assert_allclose(data.labels["forces"], given["F"].reshape(-1, 3) * KCAL, rtol=1e-6)

    def test_positions_in_bohr(self, run, archive, tmp_path):
        arrays = dict(np.load(archive))
        bohr = 0.529177210903  # Å, CODATA 2018
        np.savez(tmp_path / "b.npz", **{**arrays, "positions": arrays["positions"] / bohr})
        words = ("--out", tmp_path / "store", "--position-unit", "bohr", "--no-check", *LABELS)
        assert run("data", "import", tmp_path / "b.npz", *words).code == 0
        found = read_store(tmp_path / "store").positions
        np.testing.assert_allclose(found, arrays["positions"].reshape(-1, 3), atol=1e-7)

    def test_faults_are_told_and_the_store_is_there(self, run, uphill, tmp_path):
        result = run("data", "import", uphill, *LABELS, "--out", tmp_path / "store")
        assert result.code == 0, result.err
        assert "their sign is" in " ".join(result.out.split())
        assert len(read_store(tmp_path / "store")) == 60

    def test_json_alone_stands_on_standard_output(self, run, archive, tmp_path):
        result = run("data", "import", archive, *LABELS, "--out", tmp_path / "store", "--json", "--cutoff", 2)
        found = json.loads(result.out)
        assert found["store"] == str(tmp_path / "store")
        assert found["labels"]["forces"] == {"unit": "eV/Ang", "per": "atom", "known": 60}
        assert found["check"]["worst"] in ("ok", "note", "warning")
        assert open_pairs(tmp_path / "store", 2.0) is not None

    def test_one_structure_is_one(self, run, tmp_path):
        ase.io.write(tmp_path / "copper.cif", bulk("Cu", cubic=True))
        result = run("data", "import", tmp_path / "copper.cif", "--out", tmp_path / "store", "--no-check")
        assert result.out.startswith("1 structure, 4 atoms: ")

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("--label", "energy=Q:kcal/mol"), "water.npz: has no entry 'Q' for the label 'energy' (it has: E, F)"),
            (("--label", "energy=F:kcal/mol"), "has shape (60, 3, 3) where (60,) is needed"),
            (("--label", "energi=E:kcal/mol"), "did you mean 'energy'?"),
            (("--label", "energy=E:kcal"), "'kcal' is not a unit of energy"),
            (("--label", "energy=E:parsec"), "unknown unit 'parsec'"),
            (("--label", "energy"), "--label takes NAME=KEY:UNIT, not 'energy'"),
            (("--position-unit", "foot"), "unknown unit 'foot'"),
            (("--cutoff", "-3"), "--cutoff is -3, but must be a distance in Å above 0"),
            (("--cutoff", "nan"), "--cutoff is nan, but must be a distance"),
        ],
    )
    def test_wrong_options_leave_nothing_behind(self, run, archive, tmp_path, words, sentence):
        result = run("data", "import", archive, "--out", tmp_path / "store", *words)
        assert result.code == 2
        assert sentence in result.error
        assert not list(tmp_path.iterdir())

    def test_what_another_command_reads(self, run, tmp_path):
        (tmp_path / "crystals").mkdir()
        ase.io.write(tmp_path / "crystals" / "mp-30.cif", bulk("Cu", cubic=True))
        np.savez(tmp_path / "official.npz", nuclear_charges=ETHANOL.numbers, coords=ETHANOL.positions[None])
        for name, command in (("crystals", "get materials-project --from FOLDER"), ("official.npz", "get NAME --from")):
            result = run("data", "import", tmp_path / name, "--out", tmp_path / "store")
            assert result.code == 2
            assert f"atomlens data {command}" in result.error
        assert not (tmp_path / "store").exists()

    def test_a_folder_that_is_there(self, run, archive, store):
        result = run("data", "import", archive, *LABELS, "--out", store)
        assert result.code == 2
        assert f"{store}: exists already; choose another name or remove it" in result.error

    def test_reading_does_without_torch(self, archive, tmp_path):
        """Which takes seconds to import, and longer on a slow disk."""
        words = ["data", "import", str(archive), *LABELS, "--out", str(tmp_path / "store"), "--no-check"]
        script = f"""
import sys
sys.argv = ["atomlens", *{words!r}]
from atomlens.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(sorted({{"torch", "matplotlib", "sklearn"}} & set(sys.modules)))
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_interrupted_it_leaves_nothing_and_says_so(self, tmp_path):
        frame = f"9\nE=1.0\n{'H 0 0 0' + chr(10)}" + "".join(f"C {i} 0 0\n" for i in range(1, 9))
        (tmp_path / "long.xyz").write_text(frame * 120_000)
        out = tmp_path / "out" / "store"
        command = [Path(sys.executable).with_name("atomlens"), "data", "import", tmp_path / "long.xyz", "--out", out]
        process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
        while not out.parent.is_dir() or not list(out.parent.iterdir()):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 130
        assert re.search(r"interrupted: stopped after \d+ structures; nothing was written", complaints)
        assert not list(out.parent.iterdir())


class TestExport:
    def test_a_table_for_pandas(self, run, store, archive, tmp_path):
        pandas = pytest.importorskip("pandas")
        result = run("data", "export", store, tmp_path / "t.csv")
        assert result.code == 0, result.err
        assert result.out == f"60 structures: {tmp_path / 't.csv'}\n"
        table = pandas.read_csv(tmp_path / "t.csv")
        assert table["formula"].unique().tolist() == ["H2O"]
        np.testing.assert_allclose(table["energy [eV]"], np.load(archive)["E"] * KCAL, rtol=2e-8)

    @pytest.mark.parametrize("suffix", [".extxyz", ".db"])
    def test_files_for_ase(self, run, store, archive, tmp_path, suffix):
        assert run("data", "export", store, tmp_path / f"t{suffix}").code == 0
        frames, given = ase.io.read(tmp_path / f"t{suffix}", ":"), np.load(archive)
        np.testing.assert_allclose([atoms.positions for atoms in frames], given["positions"], atol=1e-8)
        np.testing.assert_allclose([atoms.get_potential_energy() for atoms in frames], given["E"] * KCAL, rtol=2e-8)
        np.testing.assert_allclose([atoms.get_forces() for atoms in frames], given["F"] * KCAL, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize(("words", "shape"), [((), (180, 3)), (("--frames",), (60, 3, 3))])
    def test_archives_for_numpy(self, run, store, archive, tmp_path, words, shape):
        assert run("data", "export", store, tmp_path / "t.npz", *words).code == 0
        found = np.load(tmp_path / "t.npz")
        assert json.loads(str(found["units"])) == {"positions": "Ang", "energy": "eV", "forces": "eV/Ang"}
        np.testing.assert_allclose(found["forces"], (np.load(archive)["F"] * KCAL).reshape(shape), rtol=1e-6)

    @pytest.mark.parametrize("suffix", [".npz", ".db", ".json", ".store"])
    def test_what_it_writes_is_the_same_data(self, run, store, tmp_path, suffix):
        assert run("data", "export", store, tmp_path / f"t{suffix}").code == 0
        assert json.loads(run("data", "info", tmp_path / f"t{suffix}", "--json").out)["hash"] == read_store(store).hash

    def test_wrong_files(self, run, store, molecules, tmp_path):
        assert "the suffix '.h5' names no format" in run("data", "export", store, tmp_path / "t.h5").error
        result = run("data", "export", molecules, tmp_path / "t.npz", "--frames")
        assert result.code == 2
        assert "structure 12: has other atoms than the first" in result.error
        assert not (tmp_path / "t.npz").exists()


class TestCheck:
    def test_sound_labels_exit_with_0(self, run, archive):
        result = run("data", "check", archive, *LABELS, "--only", "force_energy", "--only", "lengths")
        assert result.code == 0, result.err
        assert result.out == "2 checks of 60 structures: nothing to remark.\n"  # and no empty table

    def test_faults_exit_with_1(self, run, uphill):
        result = run("data", "check", uphill, *LABELS)
        assert result.code == 1
        assert "Forces point uphill" in " ".join(result.out.split())

    def test_json_alone_stands_on_standard_output(self, run, uphill):
        result = run("data", "check", uphill, *LABELS, "--json")
        assert result.code == 1
        found = json.loads(result.out)
        assert found["worst"] == "fault"
        assert found["checks"] == list(CHECKS)
        assert found["counts"]["fault"] == sum(entry["status"] == "fault" for entry in found["outcomes"])

    def test_all_lists_what_passed(self, run, archive):
        shown = run("data", "check", archive, *LABELS, "--only", "lengths", "--all").out
        assert re.search(r"^ ok +Unit of length ", shown, re.MULTILINE)

    def test_names_of_checks_are_in_the_help(self, run):
        from atomlens.cli.data import CHECK_NAMES

        assert re.split(r", | or ", CHECK_NAMES) == list(CHECKS)
        assert "force_energy" in run("data", "check", "--help").out

    def test_a_misspelt_check(self, run, archive):
        result = run("data", "check", archive, "--only", "forces_energy")
        assert result.code == 2
        assert "did you mean 'force_energy'?" in result.error

    def test_a_page_says_what_is_wrong(self, run, uphill, tmp_path):
        pytest.importorskip("plotly", reason="plotly is not installed: pip install 'atomlens[explain]'")
        result = run("data", "check", uphill, *LABELS, "--only", "force_energy", "--report", tmp_path / "page")
        assert result.code == 1
        assert f"page: {tmp_path / 'page' / 'report.html'}" in result.out
        page = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
        text = " ".join(re.sub(r"<[^>]*>", " ", page.partition("<main")[2]).split())
        assert "1 check of 60 structures: 1 fault. Structures 60 180 atoms Faults 1" in text
        assert "Forces point uphill" in text
        assert "guard" not in text
        assert "Labels energy (eV), forces (eV/Å)" in text
        assert 'class="paper" open data-open' in page  # figures are not folded
        summary = json.loads((tmp_path / "page" / "summary.json").read_text())
        assert summary["report"]["worst"] == "fault"
        assert summary["data"]["hash"] == summary["report"]["hash"]

    def test_a_page_is_refused_before_any_work(self, run, tmp_path):
        (tmp_path / "page").mkdir()
        (tmp_path / "page" / "mine.txt").touch()
        result = run("data", "check", tmp_path / "none.npz", "--report", tmp_path / "page")
        assert result.code == 2
        assert "page: is not empty" in result.error


OPTIONS = {"column": ("--column", "published"), "size": ("--max-atoms", 8), "blocks": ("--block-length", 3, "--gap", 1)}


class TestSplit:
    @pytest.mark.parametrize("method", list(SPLITS))
    def test_every_kind(self, run, molecules, tmp_path, method):
        words = ("--train", 12, "--validation", 4, "--method", method, *OPTIONS.get(method, ()))
        out = tmp_path / "split.json"
        result = run("data", "split", molecules, "--label", "energy=E:eV", *words, "--out", out)
        assert result.code == 0, result.err
        found = Split.load(out, read_dataset(molecules))
        assert (len(found.train), len(found.validation)) == (12, 4)
        assert f"{out}: 12 train, 4 validation, {len(found.test)} test; hash {found.hash[:12]}" in result.out
        assert not set(found.train) & set(found.test)
        frames = ase.io.read(molecules, ":")
        sizes = np.array([len(atoms) for atoms in frames])
        if method == "size":
            assert sizes[found.train].max() <= 8 < sizes[found.test].min()
        if method == "column":
            assert {frames[place].info["published"] for place in found.test} == {2}
        if method == "trajectories":
            ran = [{frames[place].info["trajectory"] for place in rows} for rows in (found.train, found.test)]
            assert not ran[0] & ran[1]

    def test_smaller_sets_lie_within_larger_ones(self, run, molecules, tmp_path):
        words = ("--train", 30, "--validation", 5, "--sizes", "20,10", "--json", "--out", tmp_path / "s.json")
        found = json.loads(run("data", "split", molecules, *words).out)
        data, names = read_dataset(molecules), ["s.json", "s-10.json", "s-20.json"]
        assert [Path(entry["file"]).name for entry in found["splits"]] == names
        assert [entry["train"] for entry in found["splits"]] == [30, 10, 20]
        largest, smallest, middle = (Split.load(tmp_path / name, data) for name in names)
        assert set(smallest.train) < set(middle.train) < set(largest.train)
        assert smallest.test.tolist() == largest.test.tolist()

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("--method", "radnom"), "did you mean 'random'?"),
            (("--max-atoms", 5), "--max-atoms means nothing to --method random, only to size; leave it out"),
            (("--method", "column"), "--method column needs --column; add it"),
            (("--method", "formula", "--held-out", 1.5), "--held-out is 1.5, but must be a share between 0 and 1"),
            (("--method", "blocks", "--gap", -1), "--gap is -1, but must be a number of frames from 0"),
            (
                ("--method", "blocks", "--block-length", 0),
                "--block-length is 0, but must be a number of frames above 0",
            ),
            (("--train", 5000), "molecules.xyz: cannot split 60 structures into 5,000 for training"),
            (("--sizes", "ten"), "--sizes takes numbers of structures, not 'ten'"),
            (("--sizes", "10,900"), "900 training structures"),
        ],
    )
    def test_wrong_options_are_called_by_their_flags(self, run, molecules, tmp_path, words, sentence):
        sized = () if "--train" in words else ("--train", 10)
        result = run("data", "split", molecules, "--validation", 5, *sized, *words, "--out", tmp_path / "s.json")
        assert result.code == 2
        assert sentence in result.error
        assert "split." not in result.error
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("flag", ["--seed", "--train", "--validation", "--test"])
    def test_numbers_below_their_least(self, run, molecules, tmp_path, flag):
        result = run("data", "split", molecules, flag, -1, "--out", tmp_path / "s.json")
        assert result.code == 2
        assert f"Invalid value for '{flag}'" in result.err

    def test_a_file_that_is_there_stays(self, run, molecules, tmp_path):
        (tmp_path / "s-10.json").write_text("mine")
        words = ("--train", 20, "--validation", 5, "--sizes", 10, "--out", tmp_path / "s.json")
        result = run("data", "split", molecules, *words)
        assert result.code == 2
        assert "s-10.json: exists already" in result.error
        assert [path.name for path in tmp_path.iterdir()] == ["s-10.json"]


class TestTraining:
    SMALL = ("--epochs", 1, "--features", 8, "--interactions", 1, "--set", "training.threads=1")

    def test_on_a_store_with_a_split(self, run, store, tmp_path):
        split = ("--train", 20, "--validation", 5, "--test", 10, "--out", tmp_path / "split.json")
        assert run("data", "split", store, *split).code == 0
        words = ("--data", store, "--split", tmp_path / "split.json", "--out", tmp_path / "run", *self.SMALL)
        result = run("train", *words, "--json")
        assert result.code == 0, result.err
        assert json.loads(result.out)["test"]["energy"]["count"] == 10
        given, used = (Split.load(path, read_store(store)) for path in (words[3], tmp_path / "run" / "split.json"))
        assert used.hash == given.hash

    def test_a_fault_is_refused_in_one_sentence(self, run, uphill, tmp_path):
        words = ("--data", uphill, *LABELS, "--train", 20, "--validation", 5, "--out", tmp_path / "run", *self.SMALL)
        refused = run("train", *words)
        assert refused.code == 2
        assert refused.error.startswith(f"{uphill}: ")
        assert refused.error.endswith("train all the same with --set data.check=warn")
        first = refused.error.removeprefix(f"{uphill}: ").partition(";")[0]
        assert refused.err.count(first) == 1
        assert not (tmp_path / "run").exists()
        told = run("train", *words, "--set", "data.check=warn")
        assert told.code == 0, told.err
        assert f"fault: {first}" in told.err
