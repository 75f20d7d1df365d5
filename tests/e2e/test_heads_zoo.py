"""The further heads against their originals' arithmetic on random tensors, box for box.

Written out here from the originals: YOLOv5-face, YOLOX (demo_postprocess), SSD, RetinaFace, SCRFD (distance2bbox). Where
Ultralytics is installed in .deps/venv-peers its own decode is a witness too. Text is in test_heads_text.py.
"""
import json
import subprocess

import numpy as np
import pytest

from conftest import DEPS
from test_heads import PLACES, Letterbox, corners_of, decode, expect, scene, sigmoid, suppress  # noqa: F401

pytestmark = pytest.mark.sanitize


def softmax(x, axis=-1):
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def expect_points(found, place, corners, points, pixels=1e-3):
    """Of the boxes that lie inside the picture."""
    boxes = place.boxes(corners)
    points = points[(boxes[:, 2] > 0) & (boxes[:, 3] > 0)]
    got = np.array([o["landmarks"] for o in found["objects"]]).reshape(-1, points.shape[1], 2)
    assert np.abs(got - place.points(points)).max(initial=0) <= pixels


def face_rows(rng, n, size, classes=1):
    m = rng.uniform(0, 0.2, (n, 15 + classes)).astype(np.float32)
    at = rng.choice(n, 200, replace=False)
    center, extent, label, score = scene(rng, 200, size, classes)
    m[at, 0:2], m[at, 2:4], m[at, 4], m[at, 15 + label] = center, extent, score, rng.uniform(0.6, 1, 200)
    m[:, 5:15] = rng.uniform(0, size[0], (n, 10))
    return m


def face_reference(m, conf=0.25, iou=0.45):
    """non_max_suppression_face without multi_label."""
    m = m.astype(np.float32)
    scores = m[:, 15:] * m[:, 4:5]
    ok = (m[:, 4] > conf) & (scores.max(1) > conf)
    corners, score, best = corners_of(*m[ok, :4].T), scores[ok].max(1), scores[ok].argmax(1)
    keep = suppress(corners, score, best, iou)
    return corners[keep], score[keep], best[keep], m[ok][keep, 5:15].reshape(-1, 5, 2)


@pytest.mark.parametrize("src,dst", PLACES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_yolov5_face(decode, src, dst, dtype):
    place = Letterbox(src, dst)
    m = face_rows(np.random.default_rng(20), 6300, dst).astype(dtype)
    found = decode("yolov5-face", {"output": np.stack([m[::-1], m])}, item=1, **place.keys)
    *boxes, points = face_reference(m)
    assert len(points) > 20
    expect(found, place, *boxes)
    if dtype == np.float32:  # equal half-precision scores may stand in another order
        expect_points(found, place, boxes[0], points)


FACE_ANCHORS = np.array([[4, 5, 8, 10, 13, 16], [23, 29, 43, 55, 73, 105], [146, 217, 231, 300, 335, 433]]).reshape(3, 3, 2)


def face_grid(x, anchors, stride):
    """models/yolo.py of YOLOv5-face: a raw [3, rows, columns, 16] decoded."""
    rows, columns = x.shape[1:3]
    yv, xv = np.mgrid[:rows, :columns]
    grid, a = np.stack([xv, yv], 2)[None], anchors[:, None, None]
    y = x.astype(np.float64)
    y[..., [0, 1, 2, 3, 4, 15]] = sigmoid(x[..., [0, 1, 2, 3, 4, 15]])
    y[..., :2] = (y[..., :2] * 2 - 0.5 + grid) * stride
    y[..., 2:4] = (y[..., 2:4] * 2) ** 2 * a
    for k in range(5, 15, 2):
        y[..., k:k + 2] = y[..., k:k + 2] * a + grid * stride
    return y.reshape(-1, 16)


@pytest.mark.parametrize("flat", [False, True])
def test_yolov5_face_grids(decode, flat):
    rng, size = np.random.default_rng(21), (320, 192)
    place, rows, tensors = Letterbox((500, 300), size), [], {}
    for stride, anchors in zip((8, 16, 32), FACE_ANCHORS):
        x = rng.normal(0, 1, (3, size[1] // stride, size[0] // stride, 16)).astype(np.float32)
        x[..., 4] = np.where(rng.random(x.shape[:-1]) < 0.1, rng.uniform(0, 4, x.shape[:-1]), -6)
        rows.append(face_grid(x, anchors, stride))
        if flat:
            x = x.transpose(0, 3, 1, 2).reshape(48, *x.shape[1:3])
        tensors[f"stride{stride}"] = x[None]
    boxes = face_reference(np.concatenate(rows))
    assert len(boxes[0]) > 30
    order = list(tensors)[::-1] if flat else list(tensors)
    found = decode("yolov5-face", {k: tensors[k] for k in order}, **place.keys)
    expect(found, place, *boxes[:3], pixels=1e-2)
    expect_points(found, place, boxes[0], boxes[3], pixels=1e-2)
    text = ";".join(",".join(str(v) for v in a.ravel()) for a in FACE_ANCHORS)
    assert decode("yolov5-face", tensors, anchors=text, **place.keys)["objects"] == found["objects"]
    assert "3 width,height pairs for each of 3 strides" in decode("yolov5-face", tensors, code=1, anchors="1,2;3,4")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_yolov10(decode, dtype):
    rng, place = np.random.default_rng(22), Letterbox((1280, 720), (640, 384))
    center, extent, label, score = scene(rng, 300, (640, 384), 80)
    order = np.argsort(-score)
    m = np.hstack([corners_of(*center.T, *extent.T), score[:, None], label[:, None]])[order].astype(dtype)
    found = decode("yolov10", {"output0": m[None]}, conf=0.5, **place.keys)
    m = m.astype(np.float32)
    ok = m[:, 4] > 0.5
    expect(found, place, m[ok, :4], m[ok, 4], m[ok, 5].astype(int))


def yolox_decode(m, size):
    """demo_postprocess of YOLOX."""
    grids, strides = [], []
    for stride in (8, 16, 32):
        w, h = size[0] // stride, size[1] // stride
        xv, yv = np.meshgrid(np.arange(w), np.arange(h))
        grids.append(np.stack((xv, yv), 2).reshape(-1, 2))
        strides.append(np.full((w * h, 1), stride))
    grids, strides = np.concatenate(grids), np.concatenate(strides)
    m = m.astype(np.float64)
    m[:, :2] = (m[:, :2] + grids) * strides
    m[:, 2:4] = np.exp(m[:, 2:4]) * strides
    return m


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("raw", [True, False])
def test_yolox(decode, dtype, raw):
    rng, size, classes = np.random.default_rng(23), (640, 384), 80
    place, n = Letterbox((1280, 720), size), 5040
    m = rng.uniform(0, 0.2, (n, 5 + classes))
    m[:, :2], m[:, 2:4] = rng.uniform(-2, 3, (n, 2)), rng.normal(0.8, 0.6, (n, 2))
    at = rng.choice(n, 300, replace=False)
    m[at, 4], m[at, 5 + rng.integers(0, 5, 300)] = rng.uniform(0.5, 1, 300), rng.uniform(0.6, 1, 300)
    m = m.astype(dtype)
    wanted = yolox_decode(m, size)
    found = decode("yolox", {"output": m[None] if raw else wanted[None].astype(np.float32)}, decoded=int(not raw),
                   **place.keys)
    scores = wanted[:, 5:] * wanted[:, 4:5]
    ok = scores.max(1) > 0.25
    corners, score, best = corners_of(*wanted[ok, :4].T), scores[ok].max(1), scores[ok].argmax(1)
    keep = suppress(corners, score, best, 0.45)
    assert len(keep) > 50
    expect(found, place, corners[keep], score[keep], best[keep])


def test_yolox_refuses_other_grids(decode):
    m = np.zeros((1, 100, 85), np.float32)
    assert "100 rows; the grids of strides 8, 16 and 32 of an input of 640x640 have 8400 cells" in decode(
        "yolox", {"o": m}, code=1)


def retina_priors(size, min_sizes):
    """PriorBox of RetinaFace, in pixels."""
    out = []
    for stride, sizes in zip((8, 16, 32), min_sizes):
        rows, columns = -(-size[1] // stride), -(-size[0] // stride)
        for i in range(rows):
            for j in range(columns):
                out += [((j + 0.5) * stride, (i + 0.5) * stride, s, s) for s in sizes]
    return np.array(out, np.float64)


def from_offsets(t, p):
    xy, wh = p[:, :2] + t[:, :2] * 0.1 * p[:, 2:], p[:, 2:] * np.exp(t[:, 2:] * 0.2)
    return np.hstack([xy - wh / 2, xy + wh / 2])


@pytest.mark.parametrize("points,sizes", [(5, ((16, 32), (64, 128), (256, 512))), (4, ((24, 48), (96, 192), (384, 768)))])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("logits", [False, True])
def test_retinaface(decode, points, sizes, dtype, logits):
    rng, size = np.random.default_rng(24), (328, 200)  # no multiple of 16: cells are rounded up
    place = Letterbox((500, 300), size)
    priors = retina_priors(size, sizes)
    n = len(priors)
    loc, marks = rng.normal(0, 1, (n, 4)).astype(dtype), rng.normal(0, 2, (n, 2 * points)).astype(dtype)
    raw = rng.normal(0, 1, (n, 2))
    raw[:, 0] += np.where(rng.random(n) < 0.1, -1, 6)
    conf = (raw if logits else softmax(raw)).astype(dtype)
    found = decode("retinaface", {"a": conf[None], "b": marks[None], "c": loc[None]}, **place.keys)
    score = (softmax(conf.astype(np.float32)) if logits else conf.astype(np.float32))[:, 1]
    ok = score > 0.5
    corners = from_offsets(loc[ok].astype(np.float64), priors[ok])
    keep = suppress(corners, score[ok], np.zeros(ok.sum(), int), 0.4)
    assert len(keep) > 10
    expect(found, place, corners[keep], score[ok][keep], np.zeros(len(keep), int))
    xy = priors[ok][:, None, :2] + marks[ok].reshape(-1, points, 2).astype(np.float64) * 0.1 * priors[ok][:, None, 2:]
    if dtype == np.float32:
        expect_points(found, place, corners[keep], xy[keep])
        assert all(bool(o["quad"]) == (points == 4) for o in found["objects"])
        assert points == 5 or all(o["quad"] == o["landmarks"] for o in found["objects"])


def test_retinaface_sizes(decode):
    size = (160, 96)
    priors = retina_priors(size, ((10, 20, 40), (80,), (160,)))
    n = len(priors)
    conf = np.zeros((1, n, 2), np.float32)
    conf[:, :, 0] = 1
    conf[0, 7] = (0.1, 0.9)
    tensors = {"loc": np.zeros((1, n, 4), np.float32), "cls": conf, "landms": np.zeros((1, n, 10), np.float32)}
    place = Letterbox(size, size)
    found = decode("retinaface", tensors, anchors="10,20,40;80;160", **place.keys)
    expect(found, place, from_offsets(np.zeros((1, 4)), priors[7:8]), [0.9], [0])
    assert f"has {n} rows, but an input of 160x96 has 630 priors of sizes 16,32" in decode(
        "retinaface", tensors, code=1, **place.keys)
    assert "expected sides of squares" in decode("retinaface", tensors, code=1, anchors="16,x")


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("strides,anchors", [((8, 16, 32), 2), ((8, 16, 32, 64, 128), 1)])
def test_scrfd(decode, marks, batch, strides, anchors):
    rng, size = np.random.default_rng(25), (384, 256)
    place, all_boxes, all_scores, all_points, parts = Letterbox((500, 300), size), [], [], [], {}
    for stride in strides:
        h, w = size[1] // stride, size[0] // stride
        centers = np.stack(np.mgrid[:h, :w][::-1], -1).astype(np.float32).reshape(-1, 2) * stride
        centers = np.stack([centers] * anchors, 1).reshape(-1, 2)
        n = len(centers)
        score = np.where(rng.random((n, 1)) < 0.1, rng.uniform(0.4, 1, (n, 1)), 0.01).astype(np.float32)
        box, points = (rng.uniform(0.2, 4, (n, c)).astype(np.float32) for c in (4, 10))
        parts |= {f"score_{stride}": score, f"bbox_{stride}": box, f"kps_{stride}": points}
        all_boxes.append(np.hstack([centers - box[:, :2] * stride, centers + box[:, 2:] * stride]))
        all_points.append(centers[:, None] + points.reshape(-1, 5, 2) * stride)
        all_scores.append(score[:, 0])
    corners, scores, points = map(np.concatenate, (all_boxes, all_scores, all_points))
    kinds = ("score", "bbox", "kps") if marks else ("score", "bbox")
    tensors = {k: v[None] if batch else v for kind in kinds for k, v in parts.items() if k.startswith(kind)}
    found = decode("scrfd", tensors, **place.keys)
    ok = np.flatnonzero(scores > 0.5)
    keep = ok[suppress(corners[ok], scores[ok], 0 * ok, 0.4)]
    assert len(keep) > 20
    expect(found, place, corners[keep], scores[keep], 0 * keep)
    if marks:
        expect_points(found, place, corners[keep], points[keep])
    else:
        assert not any(o["landmarks"] for o in found["objects"])


def test_scrfd_refuses_other_sizes(decode):
    t = {f"{kind}{s}": np.zeros((s, c), np.float32) for s in (40, 10, 5) for kind, c in (("s", 1), ("b", 4))}
    assert "stride 8 of an input of 640x640 has 6400 cells" in decode("scrfd", t, code=1)


def ssd_rows(rng, n, classes):
    raw = rng.normal(0, 1, (n, classes))
    raw[:, 0] += np.where(rng.random(n) < 0.08, -2, 6)
    return raw.astype(np.float32)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("pixels", [False, True])
def test_ssd_decoded(decode, logits, pixels):
    rng, size, n, classes = np.random.default_rng(26), (320, 240), 3000, 21
    place = Letterbox((640, 480), size, stretch=True)
    center, extent, _, _ = scene(rng, n, size, classes)
    corners, raw = corners_of(*center.T, *extent.T), ssd_rows(rng, n, classes)
    p = softmax(raw)
    scores = raw if logits else p.astype(np.float32)
    boxes = (corners if pixels else corners / (*size, *size)).astype(np.float32)
    for labels, shift in ((0, 0), (21, 0), (20, 1)):
        found = decode("ssd", {"scores": scores[None], "boxes": boxes[None]}, n_labels=labels, **place.keys)
        best = 1 + p[:, 1:].argmax(1)
        ok = p.max(1, where=np.arange(classes) > 0, initial=0) > 0.25
        score = p[np.arange(n), best]
        keep = suppress(corners[ok], score[ok], best[ok], 0.45)
        assert len(keep) > 30
        expect(found, place, corners[ok][keep], score[ok][keep], best[ok][keep] - shift, pixels=2e-3)
    assert "21 scores a box for 5 labels" in decode("ssd", {"scores": scores[None], "boxes": boxes[None]}, code=1,
                                                    n_labels=5)


def test_ssd_without_background(decode):
    """Classes that were judged apart, as YOLO-NAS has them: rows do not sum to one, and class 0 is one of them."""
    rng, size, n = np.random.default_rng(27), (640, 640), 2000
    place = Letterbox(size, size)
    center, extent, label, score = scene(rng, n, size, 80)
    corners, scores = corners_of(*center.T, *extent.T), rng.uniform(0, 0.2, (n, 80)).astype(np.float32)
    scores[np.arange(n), label] = np.where(rng.random(n) < 0.2, score, 0.21)
    found = decode("ssd", {"boxes": corners[None], "scores": scores[None]}, **place.keys)
    ok = scores.max(1) > 0.25
    keep = suppress(corners[ok], scores[ok].max(1), label[ok], 0.45)
    expect(found, place, corners[ok][keep], scores[ok].max(1)[keep], label[ok][keep])


def ssd300_priors():
    """PriorBox of ssd.pytorch for VOC, in pixels, cut to the picture."""
    out = []
    for f, step, small, large, ratios in ((38, 8, 30, 60, (2,)), (19, 16, 60, 111, (2, 3)), (10, 32, 111, 162, (2, 3)),
                                          (5, 64, 162, 213, (2, 3)), (3, 100, 213, 264, (2,)), (1, 300, 264, 315, (2,))):
        for i in range(f):
            for j in range(f):
                cx, cy = (j + 0.5) * step, (i + 0.5) * step
                mean = np.sqrt(small * large)
                out += [(cx, cy, small, small), (cx, cy, mean, mean)]
                for r in ratios:
                    out += [(cx, cy, small * r**0.5, small / r**0.5), (cx, cy, small / r**0.5, small * r**0.5)]
    return np.clip(out, 0, 300)


@pytest.mark.parametrize("form", ["known", "output", "caffe"])
def test_ssd_offsets(decode, form):
    rng, size, classes = np.random.default_rng(28), (300, 300), 21
    place, priors = Letterbox((640, 480), size, stretch=True), ssd300_priors()
    n = len(priors)
    assert n == 8732
    loc, scores = rng.normal(0, 0.7, (n, 4)).astype(np.float32), softmax(ssd_rows(rng, n, classes)).astype(np.float32)
    tensors = {"loc": loc[None], "probs": scores[None]}
    if form == "output":
        tensors["priors"] = (priors / 300).astype(np.float32)
    if form == "caffe":
        flat = np.hstack([priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2]) / 300
        variances = np.tile([0.1, 0.1, 0.2, 0.2], n)
        tensors = {"mbox_loc": loc.reshape(1, -1), "mbox_conf_flatten": scores.reshape(1, -1),
                   "mbox_priorbox": np.stack([flat.ravel(), variances])[None].astype(np.float32)}
    found = decode("ssd", tensors, **place.keys)
    best, score = 1 + scores[:, 1:].argmax(1), scores[:, 1:].max(1)
    ok = score > 0.25
    corners = from_offsets(loc[ok].astype(np.float64), priors[ok])
    keep = suppress(corners, score[ok], best[ok], 0.45)
    assert len(keep) > 50
    expect(found, place, corners[keep], score[ok][keep], best[ok][keep], pixels=2e-3)


def test_ssd_refuses(decode):
    loc, conf = np.zeros((1, 100, 4), np.float32), np.zeros((1, 100, 3), np.float32)
    assert "offsets of 100 boxes, but the model gives no priors" in decode("ssd", {"loc": loc, "probs": conf}, code=1)
    assert "has 5 priors" not in decode("ssd", {"loc": loc, "probs": conf}, code=1, anchors="64,30,60,2")
    assert "expected step, smallest size" in decode("ssd", {"loc": loc, "probs": conf}, code=1, anchors="8")
    assert "as many scores" in decode("ssd", {"boxes": loc, "scores": conf[:, :7, :2]}, code=1)


def test_ssd_chosen(decode):
    rng, n, place = np.random.default_rng(29), 100, Letterbox((640, 480), (300, 300), stretch=True)
    center, extent, label, score = scene(rng, n, (300, 300), 90)
    corners, order = corners_of(*center.T, *extent.T), np.argsort(-score)
    corners, label, score = corners[order], label[order] + 1, score[order]
    yxyx = (corners[:, [1, 0, 3, 2]] / 300).astype(np.float32)
    tensors = {"detection_boxes": np.stack([yxyx, yxyx]), "detection_classes": np.stack([label, label]).astype(np.float32),
               "detection_scores": np.stack([score, score]), "num_detections": np.array([n, 60], np.float32)}
    for item, used in ((0, n), (1, 60)):
        ok = (score > 0.4) & (np.arange(n) < used)
        expect(decode("ssd", tensors, item=item, conf=0.4, **place.keys), place, corners[ok], score[ok], label[ok])
    rows = np.hstack([np.repeat([[0], [1]], n // 2, 0), label[:, None], score[:, None], corners / 300])
    ok = (score > 0.25) & (rows[:, 0] == 1)
    found = decode("ssd", {"detection_out": rows[None, None].astype(np.float32)}, item=1, **place.keys)
    expect(found, place, corners[ok], score[ok], label[ok])


def test_boxes_as_shares(decode):
    """The ONNX zoo's SSD: boxes, labels and scores with a batch, corners as shares of the input."""
    rng, n, place = np.random.default_rng(30), 50, Letterbox((640, 480), (300, 300), stretch=True)
    center, extent, label, score = scene(rng, n, (300, 300), 80)
    corners, order = corners_of(*center.T, *extent.T), np.argsort(-score)
    tensors = {"bboxes": (corners[order] / 300).astype(np.float32)[None], "labels": label[order][None],
               "scores": score[order][None]}
    ok = score[order] > 0.5
    expect(decode("boxes", tensors, conf=0.5, **place.keys), place, corners[order][ok], score[order][ok],
           label[order][ok], pixels=2e-3)


def test_embedding(decode):
    v = np.random.default_rng(33).normal(0, 5, (2, 512)).astype(np.float32)
    v[1, 7] = np.nan
    for item in (0, 1):
        found = decode("embedding", {"fc1": v}, item=item)
        wanted = np.nan_to_num(v[item].astype(np.float64))
        assert np.allclose(found["vector"], wanted / np.linalg.norm(wanted), atol=1e-6) and not found["objects"]
    assert "512 numbers, but vector-max is 100" in decode("embedding", {"fc1": v}, code=1, vector_max=100)
    assert decode("embedding", {"fc1": 0 * v[:1]})["vector"] == [0] * 512


def test_raw(decode):
    rng = np.random.default_rng(34)
    a, b = rng.normal(0, 1, (2, 3, 5)).astype(np.float32), rng.integers(-9, 9, (2, 4))
    a[1, 0, 0] = np.inf
    found = decode("raw", {"a": a, "b": b, "c": np.array([7, 8], np.float16)}, item=1)
    a[1, 0, 0] = 0
    assert np.allclose(found["vector"], np.r_[a[1].ravel(), b[1]], atol=1e-6)
    assert len(decode("raw", {"a": a}, vector_max=4)["vector"]) == 4
    assert decode("raw", {"a": a}, vector_max=0)["vector"] == []


def test_complaints(decode):
    m = np.zeros((1, 10, 7), np.float32)
    assert "expected one output [N, boxes, 6]" in decode("yolov10", {"o": m}, code=1)
    assert "points [N, A, 8 or 10]" in decode("retinaface", {"o": m}, code=1)
    assert "for each of 3 or 5 strides" in decode("scrfd", {"o": m}, code=1)
    assert "raw grids" in decode("yolov5-face", {"o": m[None]}, code=1)
    assert "7 columns; 5 and one for each of 3 labels" in decode("yolox", {"o": m}, code=1, n_labels=3)
    assert "7 columns; 5 and one for each of 3 labels" in decode("yolov5", {"o": m}, code=1, n_labels=3)
    wide = np.zeros((1, 10, 17), np.float32)
    assert "17 columns; 15 and one for each of 1 labels" in decode("yolov5-face", {"o": wide}, code=1, n_labels=1)
    assert "17 scores for 3 labels" in decode("classify", {"o": wide[0]}, code=1, n_labels=3)
    assert "a first output [N, 1, h, w]" in decode("db", {"o": m}, code=1)


ULTRALYTICS = """
import sys, json, numpy as np, torch
from ultralytics.utils.ops import xywh2xyxy
try:
    from ultralytics.utils.nms import non_max_suppression
except ImportError:
    from ultralytics.utils.ops import non_max_suppression
m = torch.from_numpy(np.load(sys.argv[1]))
end = sys.argv[2] == "end"
out = non_max_suppression(m, 0.25, 0.7, end2end=end, max_det=300)[0]
json.dump(out.tolist(), open(sys.argv[3], "w"))
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["yolov8", "yolov10"])
def test_against_ultralytics(decode, tmp_path, kind):
    """Its own suppression on the same tensor, where it is installed."""
    python = DEPS / "venv-peers/bin/python"
    if subprocess.run([python, "-c", "import ultralytics"], capture_output=True).returncode if python.exists() else True:
        pytest.skip("no Ultralytics in .deps/venv-peers")
    rng, place = np.random.default_rng(60), Letterbox((640, 640), (640, 640))
    center, extent, label, score = scene(rng, 250, (640, 640), 80)
    if kind == "yolov10":
        order = np.argsort(-score)
        m = np.hstack([corners_of(*center.T, *extent.T), score[:, None], label[:, None]])[order].astype(np.float32)
    else:
        m = rng.uniform(0, 0.2, (84, 8400)).astype(np.float32)
        at = rng.choice(8400, 250, replace=False)
        m[0:2, at], m[2:4, at], m[4 + label, at] = center.T, extent.T, score
    np.save(tmp_path / "m.npy", m[None])
    script = tmp_path / "witness.py"
    script.write_text(ULTRALYTICS)
    subprocess.run([python, script, tmp_path / "m.npy", "end" if kind == "yolov10" else "nms", tmp_path / "out.json"],
                   check=True, timeout=300, capture_output=True)
    rows = np.array(json.loads((tmp_path / "out.json").read_text()))
    found = decode(kind, {"output0": m[None]}, **place.keys)
    expect(found, place, rows[:, :4], rows[:, 4], rows[:, 5].astype(int), pixels=2e-3)
