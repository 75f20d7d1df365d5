"""omma annotate: what is drawn and written agrees with what `omma detect` finds."""
import json
import shutil

import cv2
import numpy as np
import pytest
from conftest import ROOT, packets

SHAPES = ROOT / "tests/data/shapes.onnx"


@pytest.fixture(scope="module")
def pictures(omma, session_dir):
    """Six frames of the test pattern as pictures without losses."""
    out = session_dir / "pattern-pictures"
    omma("frames", "pattern:320x240:frames=60", "-o", out, "--fps", 2.5, "--format", "png", "-q")
    assert len(list(out.iterdir())) == 6
    return out


@pytest.fixture(scope="module")
def detected(omma, pictures):
    """What `omma detect` finds in them, by the name without suffix."""
    out = json.loads(omma("detect", "-m", SHAPES, pictures, "--json", "-").out)
    found = {image["image"].rsplit("/", 1)[1][:-4]: image for image in out["images"]}
    assert all(image["objects"] for image in found.values())
    return found


def test_all_forms_agree(omma, pictures, detected, tmp_path):
    omma("annotate", "-m", SHAPES, pictures, "-o", tmp_path / "a", "--plain")
    out = tmp_path / "a"
    ours = json.loads((out / "detections.json").read_text())
    coco = json.loads((out / "coco.json").read_text())
    classes = (out / "classes.txt").read_text().split()
    assert classes == ["red", "green", "blue"]
    assert coco["categories"] == [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    assert [i["file_name"] for i in coco["images"]] == [f"{n}.jpg" for n in detected]
    boxes = {}
    for a in coco["annotations"]:
        boxes.setdefault(coco["images"][a["image_id"] - 1]["file_name"][:-4], []).append(a)
    for image in ours["images"]:
        name = image["image"][:-4]
        expected = detected[name]
        assert image["objects"] == expected["objects"]
        assert [b["bbox"] for b in boxes[name]] == [pytest.approx(o["box"], abs=0.011) for o in expected["objects"]]
        assert [b["category_id"] - 1 for b in boxes[name]] == [o["class_id"] for o in expected["objects"]]
        lines = [line.split() for line in (out / "labels" / f"{name}.txt").read_text().splitlines()]
        for line, o in zip(lines, expected["objects"], strict=True):
            x, y, w, h = o["box"]
            assert int(line[0]) == o["class_id"]
            assert [float(v) for v in line[1:]] == pytest.approx(
                [(x + w / 2) / 320, (y + h / 2) / 240, w / 320, h / 240], abs=1e-4)
    for name, image in detected.items():
        plain, drawn = (cv2.imread(str(out / f / f"{name}.jpg")).astype(int) for f in ("images", "labelled"))
        original = cv2.imread(str(pictures / f"{name}.png"))
        assert np.mean(np.abs(plain - original)) < 3
        x, y, w, h = (int(v) for v in image["objects"][0]["box"])
        assert np.abs(drawn - plain)[y:y + h, max(x - 2, 0):x + 3].max() > 60  # the box's left edge


@pytest.mark.sanitize
def test_video(omma, tmp_path):
    omma("annotate", "-m", SHAPES, "pattern:320x240:frames=20", "-o", tmp_path / "a", "--video", "--no-pictures",
         "--no-coco", "--no-yolo")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["detections.json", "pattern.mp4"]
    assert packets(tmp_path / "a/pattern.mp4") == 20
    images = json.loads((tmp_path / "a/detections.json").read_text())["images"]
    assert [i["seq"] for i in images] == list(range(20))
    assert [i["pts"] for i in images] == pytest.approx([i / 25 for i in range(20)])


def test_threshold(omma, pictures, tmp_path):
    """The model's scores are 0.9."""
    for threshold, some in (("0.85", True), ("0.95", False)):
        omma("annotate", "-m", SHAPES, pictures, "-o", tmp_path / threshold, "--threshold", threshold, "-q")
        out = json.loads((tmp_path / threshold / "detections.json").read_text())
        assert any(i["objects"] for i in out["images"]) == some
        assert out["threshold"] == pytest.approx(float(threshold))


def test_damaged_picture_and_names_that_meet(omma, pictures, tmp_path):
    first = sorted(pictures.iterdir())[0]
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        shutil.copy(first, tmp_path / folder / "p.png")
    (tmp_path / "x/bad.png").write_bytes(first.read_bytes()[:200])
    result = omma("annotate", "-m", SHAPES, tmp_path / "x", tmp_path / "y", "-o", tmp_path / "a", code=1)
    assert "bad.png" in result.err
    assert sorted(p.name for p in (tmp_path / "a/labelled").iterdir()) == ["p-2.jpg", "p.jpg"]
    assert len(json.loads((tmp_path / "a/coco.json").read_text())["images"]) == 2


@pytest.mark.parametrize("args,code,words", [
    (["x.png", "-o", "a"], 2, "no model"),
    (["-m", SHAPES, "-o", "a"], 2, "no input"),
    (["-m", SHAPES, "x.png"], 2, "no output"),
    (["-m", SHAPES, "x.png", "-o", "a", "--threshold", "2"], 2, "not from -1 to 1"),
    (["-m", ROOT / "tests/data/classify.onnx", "x.png", "-o", "a"], 2, "annotate wants a detector"),
    (["-m", SHAPES, "nothing.mp4", "-o", "a"], 1, "nothing.mp4: No such file"),
    (["-m", SHAPES, "x.png", "-o", "a", "--no-pictures", "--no-json", "--no-coco", "--no-yolo"], 2, "nothing to write"),
])
def test_bad_input(omma, tmp_path, args, code, words):
    result = omma("annotate", *args, code=code, cwd=tmp_path)
    assert words in result.err
    assert result.err.count("\n") == 1


@pytest.mark.long
def test_real_detector_on_real_video(omma, yolov3_tiny, media, tmp_path):
    """People walk through this video; the labels say so in each form."""
    omma("annotate", "-m", yolov3_tiny, media / "vtest.avi", "-o", tmp_path / "a", "--fps", 1, "--max-frames", 10,
         "--threshold", "0.4", timeout=300)
    coco = json.loads((tmp_path / "a/coco.json").read_text())
    people = [a for a in coco["annotations"] if a["category_id"] == 1]
    assert coco["categories"][0]["name"] == "person" and len(people) > 20
    lines = sum(len(p.read_text().splitlines()) for p in (tmp_path / "a/labels").iterdir())
    assert lines == len(coco["annotations"])
