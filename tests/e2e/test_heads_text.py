"""Heads that read text and find it, against PP-OCR's CTCLabelDecode and RapidOCR's DBPostProcess written out with OpenCV;
and what texts, quads and vectors become in results.
"""
import csv
import json

import cv2
import numpy as np
import onnx
import pyclipper
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import records
from test_heads import Letterbox, decode  # noqa: F401
from test_heads_zoo import softmax

pytestmark = pytest.mark.sanitize


def ctc_reference(p, chars, blank=0):
    """CTCLabelDecode of PP-OCR."""
    index, prob = p.argmax(-1), p.max(-1)
    keep = np.r_[True, index[1:] != index[:-1]] & (index != blank)
    return "".join(chars[i] for i in index[keep]), prob[keep].mean() if keep.any() else 0


CHARS = [chr(c) for c in range(0x4E00, 0x4E00 + 500)] + list("0123456789ABCxyz'\"\\")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("blank", ["first", "last"])
@pytest.mark.parametrize("time_first", [False, True])
def test_ctc(decode, tmp_path, dtype, logits, blank, time_first):
    rng, steps = np.random.default_rng(31), 40
    classes = len(CHARS) + 2  # a blank and a space
    chars = ["", *CHARS, " "] if blank == "first" else [*CHARS, " ", ""]
    x = rng.normal(0, 1, (2, steps, classes))
    label = np.repeat(rng.integers(0, classes, (2, steps // 2)), 2, 1)
    label[rng.random(label.shape) < 0.4] = 0 if blank == "first" else classes - 1
    np.put_along_axis(x, label[..., None], rng.uniform(6, 12, (2, steps, 1)), 2)
    x = (x if logits else softmax(x)).astype(dtype)
    p = softmax(x.astype(np.float32)) if logits else x.astype(np.float32)
    (tmp_path / "dict.txt").write_text("\n".join(CHARS) + "\n", encoding="utf-8")
    for item in (0, 1):
        text, score = ctc_reference(p[item], chars, 0 if blank == "first" else classes - 1)
        given = {"alphabet": tmp_path / "dict.txt"} if item else {"meta_character": "\n".join(CHARS)}
        data = x.transpose(1, 0, 2) if time_first else x
        found = decode("ctc", {"out": data}, item=item, src="300x48", dst="320x48",
                       **given, **({} if blank == "first" else {"blank": -1})) if not time_first else decode(
                           "ctc", {"out": x[item][:, None]}, src="300x48", dst="320x48", **given,
                           **({} if blank == "first" else {"blank": -1}))
        (o,) = found["objects"]
        assert o["text"] == text and len(text) > 5
        assert abs(o["text_score"] - score) < (1e-5 if dtype == np.float32 else 1e-4)
        assert o["box"] == [0, 0, 300, 48]


def test_alphabets(decode, tmp_path):
    x = np.zeros((1, 4, 12), np.float32)
    x[0, np.arange(4), [1, 2, 2, 11]] = 9
    path = tmp_path / "chars.txt"
    cases = {"abcdefghijk": "abk", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n": "ab ", "_abcdefghijk": "abk",
             "\xef\xbb\xbfa\r\nb\r\n\xc3\xa9\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\n \r\n!\r\n": "ab!"}
    for text, wanted in cases.items():
        path.write_bytes(text.encode("latin-1"))
        (o,) = decode("ctc", {"o": x}, alphabet=path)["objects"]
        assert o["text"] == wanted
    for n in (9, 13):
        path.write_text("\n".join("abcdefghijklmnop"[:n]))
        complaint = decode("ctc", {"o": x}, code=1, alphabet=path)
        assert f"the outputs have 12 classes, but {path} has {n} characters; expected 11 (or one less" in complaint
    assert "no alphabet (key 'character')" in decode("ctc", {"o": x}, code=1)
    path.write_text("abcdefghijk")
    assert "blank 12: the model's classes are 0 to 11" in decode("ctc", {"o": x}, code=1, alphabet=path, blank=12)
    path.write_bytes(b"\0a")
    assert "not a text of characters" in decode("ctc", {"o": x}, code=1, alphabet=path)
    path.write_text("")
    assert "no characters in it" in decode("ctc", {"o": x}, code=1, alphabet=path)
    assert "nothere" in decode("ctc", {"o": x}, code=1, alphabet=tmp_path / "nothere")


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("logits", [False, True])
def test_slots(decode, tmp_path, flat, logits):
    rng, chars = np.random.default_rng(32), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
    label = np.array([list(map(chars.index, t)) for t in ("AB123CD__", "7XYZ_____")])
    x = rng.normal(0, 1, (2, 9, 37))
    np.put_along_axis(x, label[..., None], rng.uniform(5, 9, (2, 9, 1)), 2)
    p = softmax(x)
    data = (x if logits else p).astype(np.float32)
    (tmp_path / "a").write_text(chars)
    for item, text in enumerate(("AB123CD", "7XYZ")):
        found = decode("slots", {"plate": data.reshape(2, -1) if flat else data}, item=item, alphabet=tmp_path / "a")
        (o,) = found["objects"]
        assert o["text"] == text
        assert abs(o["text_score"] - p[item].max(-1)[:len(text)].mean()) < 1e-5
    (tmp_path / "a").write_text(chars[:30])
    assert "expected 36, or 37 with the blank" in decode("slots", {"plate": data}, code=1, alphabet=tmp_path / "a")
    assert "are no whole places" in decode("slots", {"plate": data.reshape(2, -1)}, code=1, alphabet=tmp_path / "a")


def mini_box(points):
    """get_mini_boxes of RapidOCR."""
    rect = cv2.minAreaRect(points)
    p = sorted(cv2.boxPoints(rect).tolist(), key=lambda q: q[0])
    left, right = sorted(p[:2], key=lambda q: q[1]), sorted(p[2:], key=lambda q: q[1])
    return np.array([left[0], right[0], right[1], left[1]]), rect


def box_score(pred, box):
    """box_score_fast of RapidOCR."""
    h, w = pred.shape
    low = np.clip(np.floor(box.min(0)).astype(int), 0, (w - 1, h - 1))
    high = np.clip(np.ceil(box.max(0)).astype(int), 0, (w - 1, h - 1))
    mask = np.zeros((high[1] - low[1] + 1, high[0] - low[0] + 1), np.uint8)
    cv2.fillPoly(mask, (box.astype(np.float32) - low).reshape(1, -1, 2).astype(np.int32), 1)
    return cv2.mean(pred[low[1]:high[1] + 1, low[0]:high[0] + 1], mask)[0]


def grown(box, distance):
    """unclip of RapidOCR: whole numbers and round corners."""
    clipper = pyclipper.PyclipperOffset()
    clipper.AddPath(box, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return np.array(clipper.Execute(distance)).reshape(-1, 1, 2)


def db_reference(pred, thresh=0.3, box_thresh=0.5, unclip=1.6, dilate=True):
    """DBPostProcess of RapidOCR, but that corners are not rounded at the end."""
    mask = (pred > thresh).astype(np.uint8)
    if dilate:
        mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))
    contours = cv2.findContours(mask * 255, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
    out = []
    for contour in contours:
        box, (center, sides, angle) = mini_box(contour)
        if min(sides) < 3:
            continue
        # Corners are cut to whole numbers there; what misses one by the last bit only is meant to be one.
        score = box_score(pred, np.round(box, 3))
        if score < box_thresh:
            continue
        d = sides[0] * sides[1] * unclip / (2 * sum(sides))
        big, (center, sides, angle) = mini_box(grown(np.round(box, 3), d))
        if min(sides) >= 5:
            out.append((big, score))
    out.sort(key=lambda o: -o[1])
    return out


def text_map(rng, size, lines):
    """A map as the network makes it: cores of lines, some askew, some with holes, and noise."""
    w, h = size
    m = np.zeros((h, w), np.float32)
    for _ in range(lines):
        center = rng.uniform((0, 0), (w, h))
        sides, angle = rng.uniform((12, 4), (w / 3, 22)), rng.choice([0, 0, rng.uniform(-45, 45)])
        box = cv2.boxPoints((tuple(map(float, center)), tuple(map(float, sides)), float(angle))).astype(np.int32)
        cv2.fillPoly(m, box[None], float(rng.uniform(0.6, 1)))
        if rng.random() < 0.3:
            cv2.circle(m, tuple(map(int, center)), int(rng.integers(2, 6)), 0.0, -1)
    m = cv2.GaussianBlur(m, (5, 5), 1)
    return np.clip(m + rng.uniform(0, 0.28, m.shape) * (rng.random(m.shape) < 0.3), 0, 1).astype(np.float32)


# OpenCV draws a figure that reaches out of the map a little differently than inside it.
SCORE = 0.02


def match_quads(found, place, wanted, w, h, conf):
    """Each quadrilateral has its like in whole pixels, from whichever corner on; those whose score is too near the threshold may
    miss."""
    got = [(np.array(o["quad"]).reshape(4, 2), o["score"]) for o in found["objects"]]
    matched = 0
    for corners, score in wanted:
        at = np.clip(place.points(corners * (place.dw / w, place.dh / h)), 0, (place.sw, place.sh))
        near = [i for i, (q, s) in enumerate(got)
                if abs(s - score) < SCORE and min(np.abs(np.roll(q, k, 0) - at).max() for k in range(4)) < 0.52]
        assert (np.array([q for q, _ in got]) % 1 == 0).all()
        assert near or score < conf + SCORE or np.ptp(at, 0).min() == 0, (at, score)
        if near:
            del got[near[0]]
            matched += 1
    assert all(score < conf + SCORE for _, score in got)
    return matched


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dilate", [True, False])
def test_db(decode, seed, dilate):
    rng, (w, h) = np.random.default_rng(40 + seed), ((320, 192), (480, 320))[seed % 2]
    place, m = Letterbox((640, 360) if seed % 2 else (w, h), (w, h)), text_map(rng, (w, h), 10)
    conf = 0.5 if seed < 4 else 0.3
    found = decode("db", {"maps": np.stack([m * 0, m])[:, None]}, item=1, conf=conf, mask_dilate=int(dilate), **place.keys)
    assert match_quads(found, place, db_reference(m, box_thresh=conf, dilate=dilate), w, h, conf) >= 2
    for o in found["objects"]:
        q = np.array(o["quad"]).reshape(4, 2)
        assert np.allclose(np.r_[q.min(0), np.ptp(q, 0)], o["box"], atol=1e-3)


def test_db_options(decode):
    m, place = text_map(np.random.default_rng(50), (320, 192), 10), Letterbox((320, 192), (320, 192))
    found = decode("db", {"m": m[None, None].astype(np.float16)}, mask_conf=0.5, unclip=2.2, conf=0.6, **place.keys)
    half = m.astype(np.float16).astype(np.float32)
    match_quads(found, place, db_reference(half, 0.5, 0.6, 2.2), 320, 192, 0.6)
    # A map of half the input's size.
    small = decode("db", {"m": m[None, None]}, **Letterbox((640, 384), (640, 384)).keys)
    match_quads(small, Letterbox((640, 384), (640, 384)), db_reference(m), 320, 192, 0.5)


def test_db_hostile(decode):
    """All text, none, a chessboard of single pixels, not numbers: bounded, and nothing odd comes out."""
    h, w = 192, 320
    place = Letterbox((w, h), (w, h))
    full = decode("db", {"m": np.ones((1, 1, h, w), np.float32)}, **place.keys)["objects"]
    assert len(full) == 1 and full[0]["box"] == [0, 0, w, h]
    assert not decode("db", {"m": np.zeros((1, 1, h, w), np.float32)}, **place.keys)["objects"]
    chess = np.indices((h, w)).sum(0) % 2
    match_quads(decode("db", {"m": chess[None, None].astype(np.float32)}, conf=0.1, mask_dilate=0, **place.keys), place,
                db_reference(chess.astype(np.float32), box_thresh=0.1, dilate=False), w, h, 0.1)
    dots = np.zeros((h, w), np.float32)
    dots[::2, ::2] = 1
    assert not decode("db", {"m": dots[None, None]}, mask_dilate=0, **place.keys)["objects"]
    odd = np.full((h, w), np.nan, np.float32)
    odd[50:80, 50:200] = np.inf
    assert not decode("db", {"m": odd[None, None]}, **place.keys)["objects"]
    many = np.zeros((h, w), np.float32)
    for y in range(0, h - 6, 8):
        for x in range(0, w - 6, 8):
            many[y:y + 5, x:x + 5] = 1
    assert len(decode("db", {"m": many[None, None]}, max_boxes=50, **place.keys)["objects"]) == 50


def small_model(path, nodes, out_shape, metadata, size=("h", "w"), **constants):
    """A model of a few nodes from `images` to `out`."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs.split(), outputs.split(), **attributes) for op, inputs, outputs, attributes in nodes],
        "small", [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, *size])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out_shape)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def redness(tmp_path):
    """A text detector for red: how much more red a pixel is than green."""
    nodes = [("Slice", "images zero one axis", "red", {}), ("Slice", "images one two axis", "green", {}),
             ("Sub", "red green", "difference", {}), ("Relu", "difference", "out", {})]
    return small_model(tmp_path / "db.onnx", nodes, ["n", 1, "h", "w"], {}, zero=[0], one=[1], two=[2], axis=[1])


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def test_text_regions_end_to_end(omma, redness, tmp_path):
    """The red rectangle of the pattern where the others do not touch it: its quad, in JSON and CSV."""
    r = omma("model", "inspect", redness, "--json")
    assert json.loads(r.out)["family"] == "db"
    omma("run", "-m", redness, "--normalize", "unit", "--channels", "rgb", "--unclip", "0", "--no-mask-dilate",
         "--input-size", "320x256", "-i", "pattern:320x240:frames=8:shapes=1", "-o", f"jsonl:{tmp_path}/r.jsonl", "-o",
         f"csv:{tmp_path}/r.csv")
    results, rows = records(tmp_path / "r.jsonl"), read_csv(tmp_path / "r.csv")
    assert len(results) == len(rows) == 8
    for n, (result, row) in enumerate(zip(results, rows)):
        (o,) = result["objects"]
        assert o["class"] == "text" and len(o["quad"]) == 4
        x, y, w, h = o["box"]
        # Pixels' first to last: one less than the shape's 32x28.
        assert abs(w - 31) < 1.01 and abs(h - 27) < 1.01, n
        assert np.allclose(o["quad"], [[x, y], [x + w, y], [x + w, y + h], [x, y + h]], atol=0.011)
        assert np.allclose(np.array(row["quad"].split(), float), np.ravel(o["quad"]), atol=0.011)
        assert row["text"] == row["landmarks"] == row["vector"] == row["text_score"] == ""


def test_text_end_to_end(omma, tmp_path):
    """A reader that reads the same everywhere, its alphabet from metadata, a file, or wrong."""
    text, alphabet = 'Ü"b,', ["b", ",", '"', "Ü"]
    index = [4, 4, 0, 3, 1, 0, 2]
    scores = np.eye(5, dtype=np.float32)[index][None] * 9
    nodes = [("ReduceMean", "images", "mean", {"axes": [1, 2, 3], "keepdims": 0}), ("Reshape", "mean shape", "flat", {}),
             ("Mul", "flat none", "nothing", {}), ("Add", "nothing scores", "logits", {}),
             ("Softmax", "logits", "out", {"axis": -1})]
    model = small_model(tmp_path / "ctc.onnx", nodes, ["n", 7, 5], {"character": "\n".join(alphabet)}, size=(48, "w"),
                        shape=[-1, 1, 1], none=np.float32(0), scores=scores)
    omma("run", "-m", model, "-i", "pattern:320x40:frames=2", "-i", "pattern:900x40:frames=2", "-o",
         f"jsonl:{tmp_path}/r.jsonl", "-o", f"csv:{tmp_path}/r.csv")
    results, rows = records(tmp_path / "r.jsonl"), read_csv(tmp_path / "r.csv")
    assert len(results) == 4 and {r["width"] for r in results} == {320, 900}
    for o in [r["objects"][0] for r in results]:
        assert o["class"] == "text" and o["text"] == text and abs(o["text_score"] - softmax(scores)[0].max()) < 1e-3
    assert {r["text"] for r in rows} == {text} and all(abs(float(r["text_score"]) - 0.9995) < 1e-3 for r in rows)
    other = tmp_path / "other.txt"
    other.write_text("wxyz")
    config = tmp_path / "c.yaml"
    config.write_text(f"model: {model}\nalphabet: {other}\nstreams: ['pattern:320x40:frames=1']\nsinks: ['jsonl:{tmp_path}/y.jsonl']\n")
    omma("run", config)
    assert records(tmp_path / "y.jsonl")[0]["objects"][0]["text"] == "zywx"
    other.write_text("vwxyz!!")
    r = omma("run", "-m", model, "--alphabet", other, "-i", "pattern:320x40:frames=1", code=2)
    assert f"the outputs have 5 classes, but {other} has 7 characters" in r.err and len(r.err.splitlines()) == 1
    r = omma("run", "-m", model, "--blank", "middle", "-i", "pattern:320x40:frames=1", code=2)
    assert "--blank 'middle': expected first, last or the number of a class" in r.err


def test_vectors_end_to_end(omma, tmp_path):
    nodes = [("GlobalAveragePool", "images", "pooled", {}), ("Flatten", "pooled", "out", {})]
    model = small_model(tmp_path / "e.onnx", nodes, ["n", 3], {"omma.family": "embedding"})
    for family, extra in (("embedding", []), ("raw", ["--vector-max", "2"])):
        omma("run", "-m", model, "--head", family, "--input-size", "64x64", *extra, "-i", "pattern:64x64:frames=3", "-o",
             f"jsonl:{tmp_path}/{family}.jsonl", "-o", f"csv:{tmp_path}/{family}.csv")
        results, rows = records(tmp_path / f"{family}.jsonl"), read_csv(tmp_path / f"{family}.csv")
        assert len(results) == len(rows) == 3
        for result, row in zip(results, rows):
            v = result["vector"]
            assert not result["objects"] and len(v) == (3 if family == "embedding" else 2)
            assert family == "raw" or abs(np.linalg.norm(v) - 1) < 1e-5
            assert np.allclose(np.array(row["vector"].split(), float), v, atol=1e-5) and row["class"] == ""
    r = omma("run", "-m", model, "--vector-max", "2", "-i", "pattern:64x64:frames=3", code=2)
    assert "3 numbers, but vector-max is 2" in r.err


def test_detect_tells_texts_and_quads(omma, redness, tmp_path):
    image = np.full((96, 160, 3), 128, np.uint8)
    image[30:60, 40:120] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "red.png"), image)
    flags = ["--normalize", "unit", "--channels", "rgb", "--unclip", "0", "--no-mask-dilate", "--input-size", "160x96"]
    r = omma("detect", "-m", redness, tmp_path / "red.png", "--json", "-", *flags)
    (o,) = json.loads(r.out)["images"][0]["objects"]
    assert o["box"] == [40, 30, 79, 29] and o["quad"] == [[40, 30], [119, 30], [119, 59], [40, 59]]
