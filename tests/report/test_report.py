"""The HTML report of one run: whole, escaped, self-contained, and true to the tables."""

import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch

from smartbox.benchmark._folding import percent
from smartbox.report import write_report
from smartbox.report._curves import mean_roc
from smartbox.report._folder import read_run
from smartbox.report._summary import findings, headlines, measured
from tests.report.conftest import ATTACKS, EVIL, make_run

_VOID = {"meta", "link", "img", "input", "br", "wbr", "path"}


class Page(HTMLParser):
    """Elements with their attributes, and the rows of each table by its id; fails where tags do not nest."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.open, self.text = [], {}, [], []
        self.inside = Bunch(item=None, cell=None)
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "div" and "item" in attributes.get("class", "").split():
            self.inside.item = attributes["id"]
        if tag == "tr":
            self.tables.setdefault(self.inside.item, []).append([])
        if tag in ("td", "th"):
            self.tables[self.inside.item][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[self.inside.item][-1][-1] += data

    def lines(self, table):
        return [[" ".join(cell.split()) for cell in row] for row in self.tables[table]]


@pytest.fixture(scope="module")
def page(run_folder, tmp_path_factory):
    path = write_report(run_folder, tmp_path_factory.mktemp("page") / "page.html")
    return Bunch(text=path.read_text(), parsed=Page(path.read_text()))


def test_page_needs_nothing_else(page):
    text, parsed = page.text, page.parsed
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text
    ids = [one["id"] for _, one in parsed.elements if "id" in one]
    assert len(ids) == len(set(ids))
    for _, attributes in parsed.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
        for name in ("src", "href"):
            target = attributes.get(name, "data:")
            assert target.startswith("data:") or target.lstrip("#") in ids
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids


def test_only_the_pages_own_style_and_script_may_run(page):
    policy = next(
        one["content"] for _, one in page.parsed.elements if one.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.text, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_names_are_text_only(page):
    assert EVIL not in page.text
    assert sum(tag == "script" for tag, _ in page.parsed.elements) == 1
    assert EVIL in "".join(page.parsed.text)
    people = [row[0] for row in page.parsed.lines("people")]
    assert EVIL in people and "NA" in people and "50 % & $5_a\\b|c#~^{}" in people


def test_figures_are_those_of_the_tables(page, run_folder):
    results = read_run(run_folder).results
    columns = {
        "mitigation": (("attack", "defense", "metric"), ("clean_mitigated", "transferred", "adaptive", "worst")),
        "guard": (("attack", "detector", "then"), ("clean", "clean_flagged", "transferred", "adaptive", "worst")),
    }
    for table, (names, figures) in columns.items():
        shown = {tuple(row[: len(names)]): row[len(names) :] for row in page.parsed.lines(table)}
        for row in results.over_seeds(table):
            cells = shown[tuple(row[name] for name in names)]
            for cell, figure in zip(cells, figures, strict=False):
                assert cell.split()[0].replace("–", "-") == percent(row[figure]).split()[0]
                if cell != "–":
                    ends = [100 * row[f"{figure}_{end}"][0] for end in ("low", "high")]
                    assert f"[{ends[0]:.1f}, {ends[1]:.1f}]" in cell
                    spread = row[figure][1:]
                    assert ("…" in cell) == (spread[0] != spread[1])
                    assert "…" not in cell or f"{100 * spread[0]:.2f} … {100 * spread[1]:.2f}" in cell
    aware = {tuple(row[:2]): row[2:] for row in page.parsed.lines("awareness")}
    for row in results.over_seeds("detection"):
        place = 1 + ["unaware", "aware"].index(row["threat"])
        assert aware[row["detector"], row["attack"]][place].split()[0] == percent(row["recall"]).split()[0]


def test_curves_are_those_of_the_records(page, run_folder):
    """Area and rank 1 against scikit-learn and the tables."""
    run = read_run(run_folder)
    frame = run.records["predictions"]
    roc = {tuple(row[:2]): row[2:] for row in page.parsed.lines("roc-table")}
    cmc = {tuple(row[:2]): row[2:] for row in page.parsed.lines("cmc-table")}
    identified = {(row["attack"], row["defense"]): row for row in run.results.over_seeds("mitigation")
                  if row["metric"] == "identification"}  # fmt: skip
    for attack in ATTACKS:
        for name, against, defense, column in (
            ("after attack", "network", "none", "after_attack"),
            ("gaussian_blur, transferred", "network", "gaussian_blur", "transferred"),
            ("jpeg_compression, adaptive", "jpeg_compression", "jpeg_compression", "adaptive"),
        ):
            rows = frame[(frame["attack"] == attack) & (frame["against"] == against) & (frame["defense"] == defense)]
            areas = [roc_auc_score(part["is_genuine"], part["claim_score"]) for _, part in rows.groupby("seed")]
            assert roc[attack, name][3].split()[0] == f"{100 * np.mean(areas):.2f}"
            row = identified[attack, "gaussian_blur" if defense == "none" else defense]
            assert cmc[attack, name][0].split()[0] == percent(row[column]).split()[0]
            ends = [f"{100 * row[f'{column}_{end}'][0]:.1f}" for end in ("low", "high")]
            assert f"[{ends[0]}, {ends[1]}]" in cmc[attack, name][0]
    for figure in ("roc", "cmc", "detector-roc", "robustness"):
        assert f'id="{figure}"' in page.text
    assert all(one["aria-label"] for tag, one in page.parsed.elements if tag == "svg" and one.get("role") == "img")


def test_mean_of_rocs_is_vertical():
    one = Bunch(far=np.array([0, 0, 0.5, 1]), tar=np.array([0, 0.4, 0.8, 1]))
    other = Bunch(far=np.array([0, 0.25, 1]), tar=np.array([0.2, 0.6, 1]))
    far, tar = mean_roc([one, other])
    np.testing.assert_allclose(far, [0, 0.25, 0.5, 1])
    np.testing.assert_allclose(tar, [0.3, 0.5, 0.7, 1])


def test_folder_without_records_has_tables_and_says_so(tmp_path):
    folder = make_run(tmp_path / "old", records=False, seeds=(3,))
    path = write_report(folder)
    parsed = Page(path.read_text())
    assert path == folder / "report.html" and "no records of each face" in " ".join(parsed.text)
    assert {"recognition", "mitigation", "attacks", "provenance"} <= set(parsed.tables)
    assert not {"roc-table", "cmc-table", "people"} & set(parsed.tables)
    assert "over the seeds" not in "".join(parsed.text).split("Recognition under attack")[2], "there is one seed"


def test_papers_figures_and_cross_attack_matrix(tmp_path):
    parsed = Page(write_report(make_run(tmp_path / "paper", records=False, protocol="paper", seeds=(0,))).read_text())
    assert parsed.tables["detection"][0][-3:] == ["accuracy", "accuracy, paper", "ROC AUC"]
    assert [cell for row in parsed.lines("recognition")[2:3] for cell in row[3:8:2]] == ["96.96", "50.00", "93.56"]
    lines = Page(
        write_report(make_run(tmp_path / "cross", records=False, protocol="cross", seeds=(0,))).read_text()
    ).lines("cross-recall")
    everything = " + ".join(ATTACKS)
    (row,) = [row for row in lines if row[:2] == ["pca", "all"] or row[:2] == ["pca", everything]]
    assert all(cell != "–" for cell in row[2:]) and any(cell == "–" for line in lines for cell in line)


def test_without_mitigation_detector_or_picture(tmp_path):
    folder = make_run(tmp_path / "bare", records=False, seeds=(0,))
    whole = json.loads((folder / "results.json").read_text())
    rows = [row for row in whole["tables"]["mitigation"] if row["defense"] == "gaussian_blur"]
    empty = dict.fromkeys(
        name for name in rows[0] if name.startswith(("clean_mit", "transferred", "adaptive", "worst", "masked"))
    )
    whole["tables"] |= {
        "mitigation": [{**row, **empty, "defense": "none"} for row in rows],
        "detection": [],
        "guard": [],
    }
    (folder / "results.json").write_text(json.dumps(whole))
    (folder / "faces.png").unlink()
    parsed = Page(write_report(folder).read_text())
    assert set(parsed.tables) == {"recognition", "robustness-table", "attacks", "provenance", "parameters"}


_FACES = "seed,face,image,identity,claim,is_genuine\n{},0,0,a,a,1\n{},1,0,a,a,1\n"


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def _write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def _without(path):
    whole = json.loads(path.read_text())
    for row in whole["tables"]["mitigation"]:
        del row["worst"]
    path.write_text(json.dumps(whole))


def _put(path, name, value):
    whole = json.loads(path.read_text())
    whole["provenance"][name] = value
    path.write_text(json.dumps(whole))


def _sums(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "records": {"faces.csv.gz": "0" * 64}}))


@pytest.mark.parametrize(
    "file, damage, message",
    [
        ("results.json", lambda path: path.unlink(), "without results.json"),
        ("results.json", _truncate, "damaged"),
        ("results.json", lambda path: _write(path, "[]"), "damaged"),
        ("results.json", lambda path: _write(path, '{"format": "smartbox evaluate"}'), "there is no 'provenance'"),
        ("results.json", _without, "a row of mitigation has no worst"),
        ("results.json", lambda path: _put(path, "parameters", {"network": []}), "the parameters of network are []"),
        ("results.json", lambda path: _put(path, "attacks", {"pgd": True}), "the attacks of pgd are True"),
        ("results.json", lambda path: _put(path, "attacks", ["pgd"]), "attacks is ['pgd']"),
        ("results.json", lambda path: _put(path, "command", 3), "command is 3"),
        ("results.json", lambda path: _put(path, "data", {"images": []}), "the shape of the data is []"),
        ("results.json", _sums, "is not the file that results.json speaks of"),
        ("faces.png", lambda path: _write(path, "GIF89a"), "no PNG"),
        ("records/predictions.csv.gz", _truncate, "damaged"),
        ("records/predictions.csv.gz", lambda path: _write(path, "a,b\n1,2\n"), "damaged"),
        ("records/predictions.csv.gz", lambda path: path.write_bytes(b"no gzip"), "damaged"),
        ("records/faces.csv.gz", lambda path: _write(path, _FACES.format(7, 7)), "its seeds are [7]"),
        ("records/faces.csv.gz", lambda path: _write(path, _FACES.format(0, 1)), "faces that faces has not"),
    ],
)  # fmt: skip
def test_damaged_folder_is_told_and_leaves_the_report_that_was(run_folder, tmp_path, file, damage, message):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    (folder / "report.html").write_text("as it was")
    damage(folder / file)
    before = sorted(folder.rglob("*"))
    with pytest.raises(ValueError, match=re.escape(message)):
        write_report(folder)
    assert sorted(folder.rglob("*")) == before and (folder / "report.html").read_text() == "as it was"


def test_folder_of_something_else(tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder that smartbox bench wrote, got .* without results.json"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_best_where_no_mitigation_leaves_anything(tmp_path):
    results = read_run(make_run(tmp_path / "run")).results
    assert any("does best at worst" in each for each in findings(results))
    for row in results.tables["mitigation"]:
        row["worst"] = 0.0
    said = "No mitigation leaves a face that is right both transferred and adaptive under all attacks together."
    assert said in findings(results)
    meaning = "are, whatever the mitigation, at worst under all attacks"
    assert ("Best mitigation", "0.0\N{NO-BREAK SPACE}%", meaning) in headlines(results)


def test_attacks_that_are_as_strong_are_all_named(tmp_path):
    results = read_run(make_run(tmp_path / "run")).results
    assert any("The strongest attack, pgd, leaves" in each for each in findings(results))
    for row in results.tables["mitigation"]:
        if row["attack"] in ("pgd", "fgsm@8/255"):
            row["after_attack"] = 0.0
    said = "The strongest attacks, fgsm@8/255 and pgd, leave 0.0\N{NO-BREAK SPACE}% identified; the weakest, fgsm@2/255, "
    assert any(said in each for each in findings(results))
    assert headlines(results)[1][2] == "are, under fgsm@8/255 or pgd"


def test_detection_is_headed_by_the_hardest_attack_and_its_best_detector(tmp_path):
    results = read_run(make_run(tmp_path / "run")).results
    areas = {}
    for row in results.over_seeds("detection"):
        if (row["population"], row["threat"]) == ("all", "unaware"):
            areas.setdefault(row["attack"], {})[row["detector"]] = row["roc_auc"][0]
    hardest = min(areas, key=lambda attack: max(areas[attack].values()))
    best = max(areas[hardest], key=areas[hardest].get)
    (meaning,) = [meaning for label, _, meaning in headlines(results) if label == "Detection"]
    assert f"attacked by {hardest}, the hardest to detect, are flagged by its best detector, {best}, at" in meaning


def test_what_attacks_aim_at_is_told(tmp_path):
    results = read_run(make_run(tmp_path / "run")).results
    assert any(each.endswith("All aim away from the true identity.") for each in measured(results))
    results.provenance["parameters"]["attack.pgd"]["targeted"] = True
    assert any("false claims name: pgd; away from the true identity: fgsm@2/255" in each for each in measured(results))
