"""What the documentation says is true: tutorials run, commands exist, the template is the one that is printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk, fcc111, molecule

from atomlens.config import template
from atomlens.data.quantities import QUANTITIES
from atomlens.data.readers import parse_label
from atomlens.data.readers.labels import SYNONYMS
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.readouts import READOUTS
from atomlens.representations import REPRESENTATIONS
from atomlens.testing import CHECKS
from atomlens.training import RunConfig
from atomlens.training.recipes import RECIPES

ROOT = Path(__file__).parents[2]


def test_first_model_tutorial():
    pytest.importorskip("tblite", reason="the tutorial labels its structures with tblite")
    script = ROOT / "docs" / "tutorials" / "first_model.py"
    finished = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    gains = [int(gain) for gain in re.findall(r"(\d+) times below the mean", finished.stdout)]
    assert len(gains) == 2
    assert min(gains) >= 10
    # GFN2-xTB's own minimum of water, by the xtb program: 0.9594 Å and 107.2°.
    bond, angle = map(float, re.search(r"O-H: ([\d.]+) Å, H-O-H: ([\d.]+)°", finished.stdout).groups())
    assert bond == pytest.approx(0.959, abs=0.01)
    assert angle == pytest.approx(107.2, abs=2.0)


CONFIGS = [RunConfig, *(row[0] for name, row in {**REPRESENTATIONS, **READOUTS}.items() if name != "schnet")]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_run_files_page_shows_the_template(config):
    page = (ROOT / "docs" / "run-files.md").read_text()
    assert f"```yaml\n{template(config)}\n```" in page


def test_recipes_are_named():
    page = (ROOT / "docs" / "run-files.md").read_text()
    assert all(f"`{name}`" in page for name in RECIPES)


def test_labels_of_the_documentation_can_be_read():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    texts = [text for page in pages for text in re.findall(r"--label (\S+=\S*:[^\s`]+)", page.read_text())]
    assert len(texts) > 10
    for text in texts:
        if text != "NAME=KEY:UNIT":
            parse_label(text)


def test_page_of_properties_names_every_quantity():
    page = (ROOT / "docs" / "properties.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    assert {name for name in QUANTITIES if not name.startswith("atom_")} | set(READOUTS) <= named
    labels = (ROOT / "docs" / "data.md").read_text()
    for name, keys in SYNONYMS.items():
        assert f"`{name}`" in labels
        assert set(keys[1:]) <= set(re.findall(r"\w+", labels))


STRUCTURES = {"M": molecule("H2O"), "S": fcc111("Cu", (1, 1, 2), vacuum=8.0), "C": bulk("Cu")}
COLUMNS = (
    {"name": "schnet", "features": 4},
    {"name": "dtnn", "features": 4, "cutoff": 5.0, "cutoff_function": "smooth"},
    {"name": "behler_parrinello", "n_radial": 4, "n_angular": 2},
)
CHOICES = {"extensive": "heat_capacity", "intensive": "gap"}


@pytest.mark.parametrize("readout", READOUTS)
def test_table_of_what_is_supported(readout):
    page = (ROOT / "docs" / "properties.md").read_text()
    (cells,) = re.findall(rf"^\| `{readout}` \| ([MSC ]+) \| ([MSC ]+) \| ([MSC ]+) \|", page, flags=re.MULTILINE)
    entry = {"name": readout} | ({"property": CHOICES[readout]} if readout in CHOICES else {})
    for representation, stated in zip(COLUMNS, cells, strict=True):
        model = Model(ModelConfig.parse({"representation": representation, "readouts": [entry]}), [1, 8, 29])
        assert [kind for kind, atoms in STRUCTURES.items() if _predicts(model, atoms)] == stated.split()


def _predicts(model, atoms):
    try:
        return bool(model.predict(atoms))
    except InputError:
        return False


def test_links_of_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_number_of_checks():
    assert f"{len(CHECKS)} properties" in (ROOT / "README.md").read_text()


def test_readme_stays_on_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) < 100
