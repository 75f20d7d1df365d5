"""The generated street and the plates chain on it: bench/street.py, bench/plates.py, and the reader beside ONNX Runtime."""
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from conftest import BUILD, DEPS, ROOT

sys.path.insert(0, str(ROOT / "bench"))
import street  # noqa: E402

MODELS = DEPS / "models"


@pytest.fixture(scope="module")
def zoo():
    done = subprocess.run([ROOT / "scripts/get-models", "yolov3-tiny", "plate-det", "plate-rec"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"scripts/get-models: {done.stderr.strip().splitlines()[-1]}")
    return MODELS


@pytest.fixture(scope="module")
def photographs(zoo):
    done = subprocess.run([ROOT / "scripts/get-models", "street"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"scripts/get-models: {done.stderr.strip().splitlines()[-1]}")


def test_plates_are_read_as_onnx_runtime_reads_them(omma, zoo, tmp_path):
    """Clean ones, shrunk ones, blurred ones that no one reads right."""
    rng, font, reader, wanted = np.random.default_rng(3), street.glyphs(), street.Reader(), []
    for i in range(24):
        text = "".join(rng.choice(list(street.LETTERS + street.DIGITS)) for _ in range(6))
        picture = street.plate(text, font)
        if i % 3:
            width = int(rng.uniform(90, 300))
            picture = cv2.resize(picture, (width, round(width * 0.32)), interpolation=cv2.INTER_AREA)
        if i % 3 == 2:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2))
        picture = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), picture)
        wanted.append(reader.read(picture, street.INPUT))
    said = omma("detect", "-q", "-m", zoo / "plate-rec.onnx", tmp_path, "--input-size", "%dx%d" % street.INPUT, "--json", "-").out
    images = json.loads(said)["images"]
    assert len(images) == 24 and len({text for text, _ in wanted}) > 12
    for image, (text, score) in zip(images, wanted):
        [o] = image["objects"] or [{"text": "", "score": 0}]
        assert o["text"] == text and abs(o["score"] - score) < 5e-3


@pytest.mark.long
def test_a_seed_is_a_street(photographs, tmp_path):
    for name in "ab":
        subprocess.run([sys.executable, ROOT / "bench/street.py", tmp_path / name, "--texts", "1", "--streams", "1", "--seed", "5",
                        "--seconds", "0.8"], check=True, timeout=300, stdout=subprocess.DEVNULL)
    truths = [json.loads((tmp_path / name / "truth.json").read_text()) for name in "ab"]
    assert truths[0] == truths[1]
    [vehicle] = truths[0]["streams"][0]["vehicles"]
    assert len(vehicle["plates"]) == 0.8 * street.FPS
    assert all(np.linalg.norm(np.subtract(p[1], p[0])) >= street.LEAST_PLATE for p in vehicle["plates"])
    assert (tmp_path / "a/street1.mp4").read_bytes() == (tmp_path / "b/street1.mp4").read_bytes()


@pytest.mark.long
def test_plates_over_tracks(photographs, tmp_path):
    """A short street: tracks say their vehicles' plates, crops are read as ONNX Runtime reads them, with fewer questions."""
    # A crop that is between two letters may be read as either: the record gives its corners with two decimals.
    done = subprocess.run([sys.executable, ROOT / "bench/plates.py", "--build", BUILD, "--street", tmp_path / "street", "--texts", "6",
                           "--seconds", "1.6", "--least", "0.8", "--alike", "0.97", "--record", tmp_path / "record.json"],
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["crops"] > 40 and record["exact"] >= 5
    assert record["asked_per_track"]["text"] < record["asked_per_frame"]["text"]
