"""The zoo of models with random weights: each passes onnx.checker, is recognised, computes the same in ONNX Runtime
and in the OpenVINO backend, lets about as many boxes pass as asked, and can be given a dynamic batch."""
import json

import numpy as np
import onnx
import pytest

from test_model_tools import check, frame, infer, letterbox, tool
from test_openvino_ort import infer as backend

DETECTORS = {  # family, size of the quick runs
    "yolov5n-face": ("yolov5-face", 320), "yolov5s-face": ("yolov5-face", 640), "yolov5m-face": ("yolov5-face", 640),
    "yolo11n": ("yolov8", 320), "yolov10n": ("yolov10", 320), "yolox-s": ("yolox", 320), "yolov3-tiny": ("yolov3", 416)}
FIRST = {"yolov8n": 320, "yolov8s": 640, "yolov8m": 640, "yolov5n": 320, "yolov5s": 640, "yolov5m": 640}
CLASSIFIERS = ["mobilenet_v2", "efficientnet-lite0", "resnet50", "vit_b_16"]
SLOW = {"yolov8s", "yolov8m", "yolov5s", "yolov5m", "yolov5s-face", "yolov5m-face", "yolox-s", "resnet50", "vit_b_16"}
LARGEST = "fasterrcnn_resnet50_fpn_v2"
ALL = [*FIRST, *DETECTORS, *CLASSIFIERS]


def names(of):
    return [pytest.param(n, marks=pytest.mark.long) if n in SLOW else n for n in of]


def picture(name, size, video="vtest.avi", number=0):
    """A frame as the model wants it."""
    x = letterbox(frame(video, number), size, size)
    if name == "yolox-s":
        return np.ascontiguousarray(x[:, ::-1] * np.float32(255))
    if name in CLASSIFIERS:
        return (x - np.float32(0.45)) / np.float32(0.225)
    return x


def size_of(name):
    return DETECTORS[name][1] if name in DETECTORS else FIRST.get(name, 224)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, done = tmp_path_factory.mktemp("zoo"), {}

    def make(name, *keys):
        if (name, keys) not in done:
            out = folder / f"{name}{len(done)}.onnx"
            tool("synth", name, out, *keys)
            done[name, keys] = out
        return done[name, keys]

    return make


BOUND = 1e-3  # of each number, absolute where it is below 1


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape and np.isfinite(a).all()
        off = np.abs(a - b) / np.maximum(1, np.abs(b))
        assert off.max() <= BOUND, [float(np.quantile(off, q)) for q in (0.9, 0.99, 0.999, 1)]


def same_rows(ours, theirs):
    """Rows [box, score, class] in order of score: rows whose scores are within the bound of each other may have changed
    places, and the last of them, where the list is full, may be others."""
    a, b = (np.asarray(x).reshape(-1, 6).astype(np.float64) for x in (ours, theirs))
    assert a.shape == b.shape and np.isfinite(a).all()
    assert np.abs(a[:, 4] - b[:, 4]).max() <= BOUND
    off = (np.abs(a[None] - b[:, None]) / np.maximum(1, np.abs(b[:, None]))).max(2).min(1)
    sure = b[:, 4] > b[-1, 4] + BOUND
    assert sure.sum() > len(b) / 2 and off[sure].max() <= BOUND


@pytest.mark.parametrize("name", names(ALL))
def test_engines_agree(name, made, tmp_path):
    """ONNX Runtime and OpenVINO, every number of every output."""
    size = size_of(name)
    model = check(made(name, f"width={size}", "boxes=30"))
    x = picture(name, size)
    theirs = infer(model, x)
    ours, said = backend(model, (size, size), 1, x, tmp_path)
    assert "f32 input" in said["note"]
    (same_rows if name == "yolov10n" else same)(ours, theirs)
    assert all(np.isfinite(t).all() and t.std() > 0 for t in theirs)


def sizes_and_scores(name, outputs):
    """Of each anchor the logarithms of its box's sides (of the finest level, whose anchors are alike) and the logits of
    its classes; YOLOv3's raw numbers are of that kind."""
    if name == "yolov3-tiny":
        grids = [g.reshape(3, 85, -1).transpose(0, 2, 1).reshape(-1, 85) for g in outputs]
        return [(g[:, 2:4], g[:, 5:]) for g in grids]
    rows = outputs[0][0].T if name.startswith(("yolov8", "yolo11")) else outputs[0][0]
    first = 4 if name.startswith(("yolov8", "yolo11")) else 15 if name.endswith("face") else 5
    sides = rows[:len(rows) * 16 // 21, 2:4]
    p = np.clip(rows[:, first:], 1e-30, 1 - 1e-7)
    return [(sides if name == "yolox-s" else np.log(sides), np.log(p) - np.log1p(-p))]


def apart(a, b):
    """How much numbers differ between two pictures, of how they are spread over both: independent ones give 1.1."""
    return float(np.abs(a - b).mean() / np.concatenate([a, b]).std())


@pytest.mark.parametrize("name", names(ALL))
def test_outputs_tell_pictures_apart(name, made):
    """Weights are drawn to keep rounding small; what a picture shows has to come through all the same."""
    size = size_of(name)
    model = made(name, f"width={size}", "boxes=30")
    one, other = (infer(model, picture(name, size, *of)) for of in (("vtest.avi", 0), ("carphone_pristine.mp4", 40)))
    if name in CLASSIFIERS:
        assert apart(one[0], other[0]) > 0.2
    elif name == "yolov10n":  # other anchors are among the best
        best = [{(*row[:4].round(), int(row[5])) for row in y[0][0, :50]} for y in (one, other)]
        assert len(best[0] & best[1]) < 25
    else:
        for (sides, scores), (sides2, scores2) in zip(sizes_and_scores(name, one), sizes_and_scores(name, other)):
            assert apart(sides, sides2) > 0.2 and apart(scores, scores2) > 0.2


def passing(name, outputs):
    if name == "yolov3-tiny":
        count = 0
        for grid in outputs:
            slots = 1 / (1 + np.exp(-grid.reshape(3, -1, *grid.shape[2:])))
            count += int(((slots[:, 4:5] * slots[:, 5:]).max(1) > 0.25).sum())
        return count
    out = outputs[0][0]
    if name.endswith("-face"):
        return int((out[:, 4] * out[:, 15] > 0.25).sum())
    if name == "yolov10n":
        return int((out[:, 4] > 0.25).sum())
    if name == "yolo11n":
        return int((out[4:].max(0) > 0.25).sum())
    return int((out[:, 4:5] * out[:, 5:]).max(1).__gt__(0.25).sum())


@pytest.mark.parametrize("name", names(DETECTORS))
def test_boxes_that_pass(name, made):
    """About as many as asked at the model's own size, on footage."""
    size = 416 if name == "yolov3-tiny" else 640
    model = made(name, "boxes=60")
    count = passing(name, infer(model, picture(name, size)))
    assert 20 <= count <= 180, count


@pytest.mark.parametrize("name", names([*DETECTORS, *CLASSIFIERS]))
def test_is_recognised(name, made):
    said = json.loads(tool("describe", made(name, f"width={size_of(name)}", "boxes=30")))
    assert said["family"] == (DETECTORS[name][0] if name in DETECTORS else "classify")
    classes = 1 if name.endswith("face") else 80 if name in DETECTORS else 1000
    assert name == "yolov10n" or said["classes"] == classes  # its rows do not tell how many there are
    if name in DETECTORS:
        assert len(said["labels"]) == classes
        assert said["labels"][0] == ("face" if name.endswith("face") else "person")


def test_yolov3_tiny_is_the_import(made, models, tmp_path):
    """The same nodes with the same attributes and shapes as the import of Darknet's own files."""
    tool("darknet", models / "yolov3-tiny.cfg", models / "yolov3-tiny.weights", models / "yolov3-tiny.names",
         tmp_path / "m.onnx")

    def form(path):
        model = onnx.load(path)
        graph = model.graph
        shapes = {i.name: tuple(i.dims) for i in graph.initializer}
        nodes = [(n.op_type, sorted(shapes[i] for i in n.input if i in shapes),
                  {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute
                   if a.name in ("kernel_shape", "pads", "strides", "alpha", "mode")}) for n in graph.node]
        # The names in Darknet's file are of an older spelling.
        meta = {p.key: p.value for p in model.metadata_props if p.key not in ("description", "names")}
        return sorted(nodes, key=repr), meta, [o.name for o in graph.output]

    ours, theirs = form(made("yolov3-tiny", "dynamic")), form(tmp_path / "m.onnx")
    assert ours[0] == theirs[0] and ours[2] == theirs[2]
    assert ours[1] == theirs[1]


@pytest.mark.parametrize("name", ["yolov5n-face", "yolo11n", "yolov10n",
                                  *(pytest.param(n, marks=pytest.mark.long) for n in ("vit_b_16", "yolox-s"))])
def test_batch_opens(name, made, tmp_path):
    """`omma model batch` on the static form: three pictures give what each gives alone."""
    size = size_of(name)
    fixed, freed = made(name, f"width={size}", "boxes=30"), tmp_path / "freed.onnx"
    tool("dynamic", fixed, freed, "batch")
    check(freed)
    x = picture(name, size)
    one, three = infer(fixed, x), infer(freed, np.concatenate([x, x * np.float32(0.5), x]))
    for a, b in zip(one, three):
        assert b.shape[0] == 3
        np.testing.assert_allclose(b[0], a[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["yolo11n", "yolov3-tiny", "mobilenet_v2", "efficientnet-lite0",
                                  pytest.param("vit_b_16", marks=pytest.mark.long)])
def test_dynamic_export(name, made):
    """Made dynamic: at another size where there may be one, and with a batch."""
    model = check(made(name, "boxes=30", "dynamic"))
    width, height = (224, 224) if name == "vit_b_16" else (256, 192)
    x = np.concatenate([letterbox(frame("vtest.avi", 0), width, height)] * 2)
    outputs = infer(model, x)
    assert outputs[0].shape[0] == 2
    if name == "yolo11n":
        assert outputs[0].shape == (2, 84, sum(256 // s * 192 // s for s in (8, 16, 32)))


@pytest.mark.long
def test_faster_rcnn(made, tmp_path):
    """Boxes, labels and scores in order; about as many pass as asked; the engines find the same."""
    model = check(made(LARGEST, "boxes=30"))
    said = json.loads(tool("describe", model))
    assert said["family"] == "boxes"
    x = picture(LARGEST, 640)
    boxes, labels, scores = infer(model, x)
    assert boxes.shape == (len(scores), 4) and labels.shape == scores.shape and len(scores) <= 100
    assert (np.diff(scores) <= 0).all() and scores.min() > 0.05 and labels.min() >= 1 and labels.max() <= 90
    assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 640
    assert 8 <= (scores > 0.25).sum() <= 90
    ours, _ = backend(model, (640, 640), 1, x, tmp_path)
    for box, label, score in zip(boxes, labels, scores):
        if score < 0.05 + BOUND:
            break  # at the least score that is told the last bit decides
        near = (ours[1] == label) & (np.abs(ours[2] - score) <= BOUND)
        assert (np.abs(ours[0][near] - box) / np.maximum(1, np.abs(box))).max(1).min(initial=9) <= BOUND
    assert abs(len(ours[2]) - len(scores)) <= 1
