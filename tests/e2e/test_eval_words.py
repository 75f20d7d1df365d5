"""`omma eval` of classifiers (top-1, top-5) and readers of text (equal lines, errors a character), and their agreement."""
import csv
import json

import cv2
import numpy as np
import pytest
from conftest import DEPS


def scores(omma, tmp_path, *args, **kw):
    run = omma("eval", *args, "--json", tmp_path / "scores.json", **kw)
    return json.loads((tmp_path / "scores.json").read_text()), run.out


@pytest.fixture(scope="module")
def classifier(omma, tmp_path_factory):
    """Random weights, twenty-four pictures, and what the model says of them."""
    at = tmp_path_factory.mktemp("classes")
    model = at / "model.onnx"
    omma("model", "synth", "mobilenet_v2", "--classes", "12", "--size", "64", "-o", model)
    rng = np.random.default_rng(0)
    (at / "pictures").mkdir()
    for k in range(24):
        picture = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (96, 80), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(at / f"pictures/{k:02d}.png"), picture)
    omma("detect", "-m", model, at / "pictures", "--json", at / "seen.json", "--top-k", "12")
    ranked = {p["image"].rsplit("/", 1)[1]: [o["class_id"] for o in p["objects"]]
              for p in json.loads((at / "seen.json").read_text())["images"]}
    return model, at / "pictures", ranked


def test_top_1_and_top_5(omma, tmp_path, classifier):
    """Labels at known places of the model's own order."""
    model, pictures, ranked = classifier
    places = [0, 0, 1, 4, 5, 11]
    truth = pictures.parent / "labels.csv"
    rows = [(name, order[places[k % 6]]) for k, (name, order) in enumerate(ranked.items())]
    truth.write_text("file,class\n" + "".join(f"{name},{c}\n" for name, c in rows))
    got, out = scores(omma, tmp_path, "-m", model, "--truth", truth, "-i", pictures)
    assert got["top1"] == pytest.approx(2 / 6) and got["top5"] == pytest.approx(4 / 6) and got["pictures"] == 24
    assert "top-1 33.33 %, top-5 66.67 %" in out and "pictures a second" in out


def test_folders_of_classes(omma, tmp_path, classifier):
    """A folder a class, by number; names that the model does not know count in order where there are as many as classes."""
    model, pictures, ranked = classifier
    for kind in ("{}", "n{:05d}"):
        root = tmp_path / kind.format(0)
        for c in range(12):
            (root / kind.format(c)).mkdir(parents=True)
        for k, (name, order) in enumerate(ranked.items()):
            to = root / kind.format(order[0] if k % 2 else order[1]) / name
            to.write_bytes((pictures / name).read_bytes())
        filled = sum(any(d.iterdir()) for d in root.iterdir())
        if kind == "{}" or filled == 12:
            got, _ = scores(omma, tmp_path, "-m", model, "--truth", root)
            assert got["top1"] == 0.5 and got["top5"] == 1
        else:
            r = omma("eval", "-m", model, "--truth", root, code=2)
            assert f"{filled} of its {filled} classes are none of the model's 12" in r.err and "'n000" in r.err


def test_classifiers_agree(omma, tmp_path, classifier):
    model, pictures, _ = classifier
    got, out = scores(omma, tmp_path, "-m", model, "-r", model, "-i", pictures, "--precision", "f32")
    assert got["top1"] == 1 and got["top5"] == 1 and got["score_drift_max"] == pytest.approx(0, abs=1e-6)
    assert "best class the same on 100.00 %" in out


def test_mistakes_with_classes(omma, tmp_path, classifier):
    model, pictures, _ = classifier
    for text, words in [("a.png,77\n00.png,1\n", ["2 pictures", "a.png"]), ("00.png,zebra\n01.png,1\n", ["1 of its 2", "'zebra'"]),
                        ("00.png,12\n01.png,1\n", ["'12'"]), ("00.png\n", [":1", "picture,word"]), ("", ["no rows"]),
                        ("00.png,1\n00.png,2\n", ["'00.png'", "twice"]), ('00.png,"1\n', [":1", "quoted"])]:
        truth = tmp_path / "truth.csv"
        truth.write_text(text)
        r = omma("eval", "-m", model, "--truth", truth, "-i", pictures, code=None)
        assert r.code in (1, 2) and len(r.err.splitlines()) == 1 and all(w in r.err for w in words), r.err
    r = omma("eval", "-m", model, "--truth", "x.json", code=2)
    assert "classes, which are in a CSV or in folders" in r.err


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        corner, row[0] = row[0], i + 1
        for k, y in enumerate(b):
            corner, row[k + 1] = row[k + 1], min(corner + (x != y), row[k] + 1, row[k + 1] + 1)
    return row[-1]


WORDS = ["Hello", "GATE 12", "omma", "2026-01-31", "STOP", "north", "Exit 4", "A7"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """PP-OCR's recogniser and printed words."""
    model = DEPS / "models/ppocr-rec.onnx"
    if not model.exists():
        pytest.skip("no PP-OCR here: scripts/get-models ppocr")
    at = tmp_path_factory.mktemp("words")
    for k, word in enumerate(WORDS):
        picture = np.full((48, 40 + 26 * len(word), 3), 255, np.uint8)
        cv2.putText(picture, word, (10, 34), cv2.FONT_HERSHEY_DUPLEX, 1, (0, 0, 0), 2, cv2.LINE_AA)
        cv2.imwrite(str(at / f"{k}.png"), picture)
    return model, at


@pytest.mark.long
def test_text(omma, tmp_path, reader):
    """Equal lines and the character error rate, against what the model reads by itself and a distance written out here."""
    model, at = reader
    omma("detect", "-m", model, at, "--json", tmp_path / "seen.json")
    read = [p["objects"][0].get("text", "") if p["objects"] else ""
            for p in json.loads((tmp_path / "seen.json").read_text())["images"]]
    with open(at / "truth.csv", "w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([("image", "text"), *((f"{k}.png", w) for k, w in enumerate(WORDS))])
    got, out = scores(omma, tmp_path, "-m", model, "--truth", at / "truth.csv")
    errors = sum(distance(r, w) for r, w in zip(read, WORDS))
    assert got["lines"] == 8 and got["equal"] == sum(r == w for r, w in zip(read, WORDS)) >= 5
    assert got["errors"] == errors and got["characters"] == sum(map(len, WORDS))
    assert got["exact"] == pytest.approx(got["equal"] / 8)
    assert got["character_error_rate"] == pytest.approx(errors / got["characters"])
    for k, (r, w) in enumerate(zip(read, WORDS)):
        assert (f"{k}.png: read '{r}', is '{w}'" in out) == (r != w)
    got, _ = scores(omma, tmp_path, "-m", model, "-r", model, "-i", at, "--precision", "f32")
    assert got["exact"] == 1 and got["character_error_rate"] == 0
    assert "CSV" in omma("eval", "-m", model, "--truth", at, code=2).err


def test_models_that_cannot_be_compared(omma, yolov3_tiny, classifier):
    model, pictures, _ = classifier
    r = omma("eval", "-m", model, "-r", yolov3_tiny, "-i", pictures, code=2)
    assert "cannot be compared" in r.err
    r = omma("eval", "-m", model, "--head", "raw", "--truth", "x.csv", code=2)
    assert "neither boxes nor classes nor text" in r.err
