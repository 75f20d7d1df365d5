"""Text in the scene: PP-OCR's detector, direction classifier and reader as one run, beside RapidOCR's own code on ONNX Runtime.

The pictures are the six photographs of opencv-doc's text module.
"""
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest

from conftest import DEPS, ROOT, records

MODELS = DEPS / "models"
QUICK = [2, 6]
ALL = [1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def zoo():
    done = subprocess.run([ROOT / "scripts/get-models", "ppocr-det", "ppocr-cls", "ppocr-rec", "rapidocr", "scenetext"], capture_output=True,
                          text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"scripts/get-models: {done.stderr.strip().splitlines()[-1]}")
    return MODELS


@pytest.fixture(scope="module")
def rapidocr(zoo):
    """The package's own class. Of Pillow it needs no more than names here: pictures come as arrays."""
    made = []
    try:
        import PIL  # noqa: F401
    except ImportError:
        for name in ("PIL", "PIL.Image", "PIL.ImageDraw", "PIL.ImageFont"):
            made.append(name)
            sys.modules[name] = types.ModuleType(name)
            if "." in name:
                setattr(sys.modules["PIL"], name[4:], sys.modules[name])
        sys.modules["PIL"].UnidentifiedImageError = ValueError
        sys.modules["PIL.Image"].Image = type("Image", (), {})
    sys.path.insert(0, str(zoo))
    try:
        from rapidocr_onnxruntime.main import RapidOCR
    finally:
        sys.path.remove(str(zoo))
        for name in made:
            del sys.modules[name]
    paths = {f"{part}_model_path": str(zoo / f"ppocr-{part}.onnx") for part in ("det", "cls", "rec")}
    return RapidOCR(**paths)


def network_size(picture):
    """What RapidOCR makes of a picture's size: the shorter side at least 736, both in whole 32s."""
    h, w = picture.shape[:2]
    ratio = max(1.0, 736 / min(h, w))
    return tuple(int(round(int(v * ratio) / 32) * 32) for v in (w, h))


def flags(zoo):
    return ["--secondary", f"model={zoo}/ppocr-cls.onnx,name=turned,crop=quad,tall=1.5,each=frame,budget=300,normalize=half,channels=bgr,fit=corner,input-size=192x48",
            "--secondary", f"model={zoo}/ppocr-rec.onnx,name=text,parent=turned,each=frame,budget=300,turn-classes=upside down,turn-score=0.9"]


def read(omma, zoo, path, folder):
    """Of each line: corners, text, score."""
    picture = cv2.imread(str(path))
    size = network_size(picture)
    out = folder / f"{path.stem}.jsonl"
    omma("run", "-m", zoo / "ppocr-det.onnx", "--input-size", f"{size[0]}x{size[1]}", "--fit", "stretch", "-i", path, *flags(zoo), "-o", f"jsonl:{out}")
    [record] = records(out)
    return [(np.array(o["quad"]), o.get("text", ""), o.get("text_score", 0)) for o in record["objects"]]


def distance(a, b):
    """Levenshtein's."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def compare(omma, zoo, rapidocr, number, folder):
    """(characters, wrong ones, the greatest distance of a corner) against RapidOCR."""
    path = zoo / f"pictures/scenetext{number:02}.jpg"
    picture = cv2.imread(str(path))
    theirs, _ = rapidocr(picture)
    ours = read(omma, zoo, path, folder)
    boxes, _ = rapidocr(picture, use_cls=False, use_rec=False)
    worst = 0
    assert len(boxes) == len(ours) > 0
    for box in boxes:  # all that were found, whatever they say; cut to the picture as theirs are
        limit = (picture.shape[1], picture.shape[0])
        worst = max(worst, min(np.abs(np.clip(q, 0, limit) - np.clip(box, 0, limit)).max() for q, _, _ in ours))
    wrong, left = 0, ours
    for box, text, score in theirs or []:
        near = min(left, key=lambda o: np.abs(o[0] - box).max(), default=None)
        if near is None or np.abs(near[0] - box).max() > 3:
            wrong += len(text)
            continue
        left = [o for o in left if o is not near]
        wrong += distance(near[1], text)
    wrong += sum(len(text) for _, text, score in left if score >= 0.5)  # RapidOCR keeps no others
    return sum(len(t) for _, t, _ in theirs or []), wrong, worst


@pytest.mark.long
def test_two_pictures_as_rapidocr(omma, zoo, rapidocr, tmp_path):
    for number in QUICK:
        characters, wrong, worst = compare(omma, zoo, rapidocr, number, tmp_path)
        assert characters and wrong <= max(1, 0.01 * characters) and worst < 1.5


@pytest.mark.long
def test_all_pictures_as_rapidocr(omma, zoo, rapidocr, tmp_path):
    """One character in a hundred, corners within a pixel and a half."""
    found = {number: compare(omma, zoo, rapidocr, number, tmp_path) for number in ALL}
    print(found)
    assert sum(wrong for _, wrong, _ in found.values()) <= 0.01 * sum(n for n, _, _ in found.values())
    assert max(worst for _, _, worst in found.values()) < 1.5


def test_a_line_on_its_head_is_turned(omma, zoo, rapidocr, tmp_path):
    """The picture turned by half has the same text."""
    path = zoo / "pictures/scenetext02.jpg"
    turned = tmp_path / "turned.png"
    cv2.imwrite(str(turned), cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_180))
    upright = [t for _, t, score in read(omma, zoo, path, tmp_path) if score > 0.9 and len(t) > 4]
    found = " ".join(t for _, t, _ in read(omma, zoo, turned, tmp_path))
    assert upright and sum(t in found for t in upright) >= 0.8 * len(upright)
