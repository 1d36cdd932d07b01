"""What the documentation says is true: tutorials run, commands exist, the template is the one that is printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from atomlens.config import template
from atomlens.testing import CHECKS
from atomlens.training import RunConfig

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


def test_run_files_page_shows_the_template():
    page = (ROOT / "docs" / "run-files.md").read_text()
    assert template(RunConfig) in page


def test_links_of_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_number_of_checks():
    assert f"{len(CHECKS)} properties" in (ROOT / "README.md").read_text()


def test_readme_stays_on_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) < 100
