"""omma collect: pictures that differ, spread over streams, hard ones kept, gone on with; omma run --drift."""
import json
import shutil
import signal
import time

import cv2
import numpy as np
import pytest

SIZE = (256, 192)


@pytest.fixture(scope="module")
def set_of(omma, media, tmp_path_factory):
    """A collection of two clips, and what was said."""
    folder = tmp_path_factory.mktemp("collect") / "set"
    said = omma("collect", media / "vtest.avi", media / "bikes.mp4", "-o", folder, "-n", 24)
    return folder, said.out


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def bits(a, b):
    return bin(int(a["hash"], 16) ^ int(b["hash"], 16)).count("1")


def clip(path, pictures, fps=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (pictures[0].shape[1], pictures[0].shape[0]))
    for p in pictures:
        writer.write(p)
    writer.release()
    return path


def scene(seed):
    """Big blocks of grey: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 255, (12, 16, 3)).astype(np.uint8)
    return cv2.resize(small, SIZE, interpolation=cv2.INTER_NEAREST)


def test_set(set_of):
    folder, said = set_of
    m = manifest(folder)
    assert m["version"] == 1 and len(m["pictures"]) == 24 and "24 of 24 pictures from 2 streams" in said
    for p in m["pictures"]:
        picture = cv2.imread(str(folder / p["file"]))
        assert picture.shape[:2] == (p["height"], p["width"])
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        assert p["brightness"] == pytest.approx(grey.mean() * 219 / 255 + 16, abs=8) or p["brightness"] == pytest.approx(grey.mean(), abs=4)
    kept = [s["kept"] for s in m["streams"]]
    assert sum(kept) == 24 and min(kept) >= 10, kept
    for s in range(2):
        own = [p for p in m["pictures"] if p["stream"] == s]
        assert min(bits(a, b) for i, a in enumerate(own) for b in own[:i]) >= m["distance"]
        times = sorted(p["pts"] for p in own)
        assert times[-1] - times[0] > 0.5 * m["streams"][s]["position"]
    assert sum(m["coverage"]["brightness"]) == 24
    assert sorted(f.name for f in folder.iterdir()) == sorted([p["file"] for p in m["pictures"]] + ["contact.jpg", "manifest.json"])
    sheet = cv2.imread(str(folder / "contact.jpg"))
    assert sheet.shape == (4 + 3 * 139, 4 + 8 * 244, 3)


def test_goes_on(omma, set_of, media, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(set_of[0], folder)
    before = manifest(folder)
    omma("collect", media / "vtest.avi", media / "bikes.mp4", "-o", folder, "-n", 24)
    after = manifest(folder)
    assert [p["file"] for p in after["pictures"]] == [p["file"] for p in before["pictures"]]
    (folder / before["pictures"][0]["file"]).unlink()
    said = omma("collect", media / "vtest.avi", media / "carphone_pristine.mp4", "-o", folder, "-n", 30)
    assert "1 pictures that it lists are gone" in said.err
    assert len(manifest(folder)["pictures"]) == 30 and len(manifest(folder)["streams"]) == 3


def test_alike_and_hard(omma, tmp_path):
    """Each scene is there once however often it is seen; dark and blurred pictures are told."""
    rng = np.random.default_rng(5)
    pictures = []
    for s in range(30):
        base = scene(s)
        if s == 25:
            base = (base * 0.15).astype(np.uint8)
        if s == 27:
            base = cv2.GaussianBlur(base, (0, 0), 12)
        pictures += [np.clip(base + rng.normal(0, 2, base.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    omma("collect", clip(tmp_path / "c.avi", pictures), "-o", tmp_path / "set", "-n", 100, "--interval", "200ms")
    m = manifest(tmp_path / "set")
    scenes = [int(p["pts"] / 0.6 + 1e-6) for p in m["pictures"]]
    hard = {scene: p["hard"] for scene, p in zip(scenes, m["pictures"]) if p["hard"]}
    assert "dark" in hard.get(25, []) and "blur" in hard.get(27, []), hard
    assert set(scenes) == set(range(30)) and m["streams"][0]["alike"] + len(scenes) == 90
    assert all(scenes.count(s) == 1 for s in range(30) if s not in hard), scenes  # hard ones may be a little alike


def test_model_counts_objects(omma, media, tmp_path):
    models = media.parent / "models"
    omma("model", "import", models / "yolov3-tiny.cfg", models / "yolov3-tiny.weights", "-o", tmp_path / "m.onnx")
    said = omma("collect", media / "vtest.avi", "-o", tmp_path / "set", "-n", 6, "-m", tmp_path / "m.onnx", "--input-size", "256x192",
                "--interval", "8s")
    m = manifest(tmp_path / "set")
    assert m["model"].endswith("m.onnx") and all(p["objects"] >= 0 for p in m["pictures"]) and "objects" in said.out
    assert sum(m["coverage"]["objects"].values()) == len(m["pictures"]) == 6
    assert max(p["objects"] for p in m["pictures"]) >= 2


def test_interrupted(omma, tmp_path):
    """Ctrl-C keeps what is there, and the next run goes on."""
    process = omma.start("collect", "pattern:320x240@25", "-o", tmp_path / "set", "-n", 500, "--distance", 0, "--interval", "10ms")
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "set").glob("*.jpg"))) < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    m = manifest(tmp_path / "set")
    files = {p.name for p in (tmp_path / "set").glob("*.jpg")} - {"contact.jpg"}
    assert files == {p["file"] for p in m["pictures"]} and len(files) >= 5


def test_drift(omma, set_of, media, tmp_path):
    """The same camera is covered; another one, at night, is not; an old set is told."""
    folder = tmp_path / "set"
    shutil.copytree(set_of[0], folder)
    model = media.parents[1] / "tests/data/boxes.onnx"
    same = omma("run", "-m", model, media / "vtest.avi", "--drift", folder, "--device", "null", "--fps", 1)
    assert "not calibrated" not in same.err, same
    night = clip(tmp_path / "night.avi", [(scene(s) * 0.1).astype(np.uint8) for s in range(50) for _ in range(10)])
    other = omma("run", "-m", model, night, "--drift", folder, "--device", "null", "--fps", 1)
    assert "brighter or darker" in other.err and "look like nothing that was collected" in other.err, other
    m = manifest(folder)
    m["updated_us"] -= int(100 * 86400e6)
    (folder / "manifest.json").write_text(json.dumps(m))
    old = omma("run", "-m", model, media / "bikes.mp4", "--drift", folder / "manifest.json", "--device", "null", "--max-frames", 2)
    assert "100 days old, more than --max-age" in old.err
    quiet = omma("run", "-m", model, media / "bikes.mp4", "--drift", folder, "--device", "null", "--max-frames", 2, "--max-age", 0)
    assert "days old" not in quiet.err


def test_bad(omma, media, tmp_path):
    assert "no input" in omma("collect", "-o", tmp_path / "s", code=2).err
    assert "no output" in omma("collect", media / "bikes.mp4", code=2).err
    assert "missing.mp4" in omma("collect", tmp_path / "missing.mp4", "-o", tmp_path / "s", code=1).err
    (tmp_path / "file").write_text("x")
    omma("collect", media / "bikes.mp4", "-o", tmp_path / "file", code=1)
    bad = tmp_path / "bad"
    bad.mkdir()
    for text, says in (("{", "manifest.json"), ("{}", "'version': expected a number"),
                       ('{"version":1,"created_us":0,"updated_us":0,"count":5,"distance":6,"streams":[],"pictures":[{"hash":"x"}]}',
                        "picture 0: 'hash': expected 64 hexadecimal digits"),
                       ('{"version":1,"created_us":0,"updated_us":0,"count":5,"distance":6,"streams":[],"pictures":[{"hash":"' + "0" * 64 +
                        '","brightness":1,"contrast":1,"sharpness":1,"motion":0}]}', "expected streams")):
        (bad / "manifest.json").write_text(text)
        assert says in omma("collect", media / "bikes.mp4", "-o", bad, code=1).err
        assert (bad / "manifest.json").read_text() == text
    assert "no such file" in omma("run", "-m", media.parents[1] / "tests/data/boxes.onnx", media / "bikes.mp4", "--device", "null",
                                  "--drift", tmp_path / "nowhere", code=None).err
