import base64
import copy
import hashlib
import html
import re
from html.parser import HTMLParser

import made_up_explanations as made_up
import pytest

from atomlens.errors import InputError
from atomlens.report import content
from atomlens.report.explanations import explained_section
from atomlens.report.page import render, write_report

OPTIONAL = [
    "structure", "reference", "split", "model", "training", "test", "checks", "explanations", "timings", "command",
    "created", "atomlens_version",
]  # fmt: skip


class Page(HTMLParser):
    """Collects addresses, ids, headings, images and the visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.ids, self.tags, self.words, self.images = [], [], [], [], []
        self._hidden = 0
        self.feed(text)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in {"src", "href", "srcset", "action", "data"}]
        self.ids += [named["id"]] if "id" in named else []
        self.images += [named] if tag == "img" else []
        self._hidden += tag in {"style", "script"}

    def handle_endtag(self, tag):
        self._hidden -= tag in {"style", "script"}

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)


@pytest.fixture(scope="module")
def page_text(synthetic, saved):
    return render(synthetic.summary(), saved)


@pytest.fixture(scope="module")
def page(page_text):
    return Page(page_text)


def test_the_page_is_one_file_below_three_megabytes(synthetic, saved, tmp_path):
    path = write_report(tmp_path, synthetic.summary(), saved)
    assert path == tmp_path / "report.html"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert path.stat().st_size < 3_000_000
    assert path.read_text(encoding="utf-8") == render(synthetic.summary(), saved)


def test_nothing_is_loaded_from_outside(page, page_text):
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "http://" not in page_text
    assert "https://" not in page_text
    assert "@import" not in page_text
    assert "url(" not in page_text
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(page.tags) - {"link"}
    assert "default-src 'none'" in html.unescape(page_text)


def test_links_lead_to_places_on_the_page_and_ids_are_unique(page):
    assert len(page.ids) == len(set(page.ids))
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    assert targets <= set(page.ids)
    assert {"summary", "errors", "checks", "explanations", "limits", "use", "making"} <= targets


def test_every_figure_is_on_the_page_once_with_words_and_size(page, saved):
    assert len(page.images) == len(saved)
    assert all(image["alt"] and int(image["width"]) > 200 and int(image["height"]) > 100 for image in page.images)
    assert set(saved) <= set(page.ids)
    assert page.tags.count("figcaption") == len(saved)
    assert page.tags.count("h1") == 1


def test_headline_says_errors_and_checks(page):
    assert (
        "On 200 frames it never saw, the network misses GFN2-xTB forces by 0.93 kcal/mol/Å and energies by "
        "0.20 kcal/mol on average. All 6 physics checks passed." in page.text
    )


def test_errors_stand_in_both_units_beside_the_mean_predictor(page):
    for text in ("0.203 kcal/mol", "0.00881 eV", "3.50 kcal/mol", "0.152 eV", "×17", "0.929 kcal/mol/Å", "0.0403 eV/Å",
                 "1.29 kcal/mol/Å", "19.2 kcal/mol/Å", "0.831 eV/Å", "×21", "MAE", "RMSE"):  # fmt: skip
        assert text in page.text


def test_every_check_is_shown_with_value_limit_and_a_word(page, synthetic):
    for check in synthetic.summary()["checks"]:
        assert check["name"] in page.text
        assert check["what"] in page.text
    for text in ("1.30 × 10⁻⁷ eV", "at most 1 × 10⁻⁵ eV", "2.00", "1.9 to 2.1", "✓ passed"):
        assert text in page.text
    assert "✗" not in page.text


def test_facts_stand_on_the_page(page):
    for text in ("ethanol", "C₂H₆O", "ASE's G2 collection", "GFN2-xTB", "tblite 0.8.0", "500 K", "0.5 fs",
                 "8 walkers, a frame every 20 fs", "12.3 fs", "1,300", "9f2c41d07ab3e85516d0c4aa", "1,000 frames",
                 "100 frames", "51b7e0f3c29d8846aa10ffde", "schnet", "98,765", "epoch 98", "3,200", "2 min 50 s",
                 "atomlens study ethanol --out demo",
                 "2026-11-20 12:00"):  # fmt: skip
        assert text in page.text


def test_limits_are_stated(page):
    assert "What this does not tell you" in page.text
    assert "No energy partition is unique." in page.text
    assert "a probe of the network, not a physical potential" in page.text
    assert "The reference is GFN2-xTB, and the model is not better than that." in page.text
    assert "frames near 500 K only" in page.text


def test_snippets_are_valid_python_and_name_the_model(synthetic):
    from atomlens.report.page import snippets

    summary = synthetic.summary()
    summary["model"]["file"] = 'odd "name".safetensors'
    python, calculator, shell = (snippet["code"] for snippet in snippets(summary))
    for code in (python, calculator):
        compile(code, "snippet", "exec")
        assert r'atomlens.load("odd \"name\".safetensors")' in code
    assert "model.predict(atoms)" in python
    assert "atomlens.Calculator(model)" in calculator
    assert "'odd \"name\".safetensors'" in shell


def test_a_failed_check_is_said_at_the_top_and_in_its_row(synthetic):
    summary = synthetic.summary()
    summary["checks"][5].update(value=0.2, passed=False)
    page = Page(render(summary, {}))
    assert "1 of 6 physics checks failed: drift." in page.text
    assert "✗ failed" in page.text
    assert "at most 0.001 eV" in page.text
    assert "5 of 6" in page.text


def test_lower_bounds_are_called_so():
    checks = [{"name": "order", "value": 2.0, "limit": 1.8, "unit": "", "passed": True},
              {"name": "order", "value": 1.2, "limit": 1.8, "unit": "", "passed": False},
              {"name": "drift", "value": -2e-4, "limit": 1e-3, "unit": "eV", "passed": True}]  # fmt: skip
    limits = [row["limit"] for row in content.check_rows({"checks": checks})]
    assert limits == ["at least 1.8", "at least 1.8", "at most 0.001 eV"]


def test_names_cannot_smuggle_markup(synthetic, saved, tmp_path):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    summary = synthetic.summary()
    summary["structure"].update(name=evil, formula=evil, source=evil)
    summary["reference"].update(method=evil, data_hash=evil)
    summary["checks"][0].update(name=evil, what=evil)
    summary["model"].update(file=evil, representation={evil: evil})
    summary["timings"] = {evil: 1.0}
    summary |= {"command": evil, "atomlens_version": evil, "created": evil}
    odd = tmp_path / "figure.svg"
    odd.write_text("<svg></svg>")
    text = render(summary, {**saved, evil: odd})
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    assert "onerror" not in re.sub(r'"[^"]*"', "", "".join(re.findall(r"<[^>]*>", text)))
    assert evil in page.text


@pytest.mark.parametrize("left_out", OPTIONAL)
def test_a_missing_section_is_survived(synthetic, saved, left_out):
    summary = synthetic.summary()
    del summary[left_out]
    page = Page(render(summary, saved))
    assert "None" not in page.text
    assert "undefined" not in page.text.lower()


def test_an_empty_summary_says_what_is_missing():
    page = Page(render({}, {}))
    for sentence in ("The model was not tested. No physics checks were made.", "This study has no test errors.",
                     "This study has no physics checks.", "This study has no explanations.",
                     "This study has no facts on the split."):  # fmt: skip
        assert sentence in page.text
    assert "None" not in page.text


def test_the_study_may_say_why_a_section_is_missing(synthetic):
    summary = synthetic.summary()
    del summary["explanations"]
    summary["skipped"] = {"explanations": "Explanations were switched off with --no-explain."}
    assert "Explanations were switched off with --no-explain." in Page(render(summary, {})).text


def test_numbers_that_are_missing_become_dashes(synthetic):
    def emptied(value):
        if isinstance(value, dict):
            return {name: emptied(each) for name, each in value.items()}
        if isinstance(value, list):
            return [emptied(each) for each in value]
        return None if isinstance(value, float) else value

    text = Page(render(emptied(copy.deepcopy(synthetic.summary())), {})).text
    assert "None" not in text
    assert "nan" not in text.split()


def test_energies_alone_make_a_page(synthetic):
    summary = synthetic.summary()
    del summary["test"]["forces"]
    text = Page(render(summary, {})).text
    assert "misses GFN2-xTB energies by 0.20 kcal/mol on average" in text
    assert "Force error" not in text


def test_unknown_figures_and_variants_find_a_place(synthetic, saved):
    extra = {"parity_energy_2": saved["parity_energy"], "radial_filters": saved["force_order"]}
    page = Page(render(synthetic.summary(), {**saved, **extra}))
    assert "Further figures" in page.text
    assert "Radial filters" in page.text
    assert page.ids.index("errors") < page.ids.index("parity_energy_2") < page.ids.index("checks")


def test_large_drawings_are_inlined_as_pixels(saved, tmp_path):
    big = tmp_path / "energy_drift.svg"
    big.write_bytes(saved["energy_drift"].read_bytes() + b" " * 300_000)
    assert "data:image/svg+xml" in render({}, {"energy_drift": big})
    big.with_suffix(".png").write_bytes(saved["energy_drift"].with_suffix(".png").read_bytes())
    text = render({}, {"energy_drift": big})
    assert "data:image/png" in text
    assert "data:image/svg+xml" not in text


def test_a_figure_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png.*cannot be read.*draw it again"):
        write_report(tmp_path, {}, {"parity_energy": tmp_path / "gone.png"})
    assert not list(tmp_path.iterdir())


def test_panels_of_explanations_stand_on_the_page_under_one_policy(synthetic, saved, tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'atomlens[explain]'")
    given = made_up.written(tmp_path, ["CH3CH2OH"])
    section = explained_section(tmp_path, given["systems"], given["names"], given["panels"], given["pictures"])
    text = render(synthetic.summary(), saved, section)
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert page.ids.index("explanations") < page.ids.index("explorer") < page.ids.index("limits")
    assert {"#explorer", "#analysis-contributions"} & set(page.addresses) >= {"#analysis-contributions"}
    rules = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    scripts = [body for kind, body in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S) if not kind]
    assert len(scripts) == 2
    for each in (*scripts, *re.findall(r"<style>(.*?)</style>", text, re.S), section.library):
        assert base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() in rules
    assert "This study has no explanations." not in page.text
