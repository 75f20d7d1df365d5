"""Models that are imported, made and made dynamic, run by ONNX Runtime beside the programs they should equal.

Witnesses: OpenCV's own Darknet reader for the import, onnx.checker for what is written, ONNX Runtime for the numbers.
"""
import json
import subprocess

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from conftest import BUILD, DEPS

TOOL = BUILD / "tests/unit/tool_model"
onnxruntime.set_default_logger_severity(3)


def tool(*args, code=0):
    done = subprocess.run([str(TOOL), *map(str, args)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def check(path):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return path


def infer(path, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})


def frame(video, number):
    capture = cv2.VideoCapture(str(DEPS / "media" / video))
    for _ in range(number + 1):
        ok, picture = capture.read()
        assert ok
    return picture


def letterbox(picture, width=640, height=640):
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = cv2.resize(picture, (round(picture.shape[1] * scale), round(picture.shape[0] * scale)))
    out = np.full((height, width, 3), 114, np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    out[top:top + inner.shape[0], left:left + inner.shape[1]] = inner
    return np.ascontiguousarray(out[..., ::-1].transpose(2, 0, 1)[None] / np.float32(255), dtype=np.float32)


@pytest.fixture(scope="module")
def tiny(models, tmp_path_factory):
    out = tmp_path_factory.mktemp("darknet") / "y.onnx"
    tool("darknet", models / "yolov3-tiny.cfg", models / "yolov3-tiny.weights", models / "yolov3-tiny.names", out)
    return check(out)


@pytest.mark.parametrize("size", [(416, 416), (640, 384), (320, 224)])
def test_import_equals_opencv(tiny, models, size):
    net = cv2.dnn.readNetFromDarknet(str(models / "yolov3-tiny.cfg"), str(models / "yolov3-tiny.weights"))
    net.enableFusion(False)
    blob = cv2.dnn.blobFromImage(frame("vtest.avi", 0), 1 / 255, size, swapRB=True)
    net.setInput(blob)
    for wanted, grid in zip(net.forward(["conv_15", "conv_22"]), infer(tiny, blob)):
        assert wanted.shape == grid.shape
        assert np.abs(wanted - grid).max() <= 1e-3


def test_import_takes_batches(tiny):
    picture = letterbox(frame("vtest.avi", 0), 416, 416)
    one, three = infer(tiny, picture), infer(tiny, np.concatenate([picture] * 3))
    for a, b in zip(one, three):
        assert b.shape[0] == 3 and np.abs(b - a).max() <= 1e-4


def test_import_describes_itself(tiny):
    said = json.loads(tool("describe", tiny))
    assert said["family"] == "yolov3" and said["classes"] == 80 and said["labels"][0] == "person"
    assert (said["width"], said["height"], said["stride"]) == (416, 416, 32)
    assert said["dynamic_batch"] and said["dynamic_size"]
    meta = {p.key: p.value for p in onnx.load(tiny).metadata_props}
    assert meta["omma.masks"] == "3,4,5;0,1,2" and meta["omma.anchors"].count(";") == 1


def test_import_refuses(models, tmp_path):
    weights = (models / "yolov3-tiny.weights").read_bytes()
    (tmp_path / "cut.weights").write_bytes(weights[: len(weights) // 2])
    said = tool("darknet", models / "yolov3-tiny.cfg", tmp_path / "cut.weights", "-", tmp_path / "x.onnx", code=1)
    assert "cut.weights: ends inside the weights of [convolutional] at" in said and said.count("\n") == 1
    (tmp_path / "bad.cfg").write_text((models / "yolov3-tiny.cfg").read_text().replace("stride=2", "stride=two", 1))
    said = tool("darknet", tmp_path / "bad.cfg", models / "yolov3-tiny.weights", "-", tmp_path / "x.onnx", code=1)
    assert "bad.cfg:35: [maxpool] stride: expected a whole number" in said
    said = tool("darknet", models / "yolov3-tiny.weights", models / "yolov3-tiny.weights", "-", tmp_path / "x.onnx", code=1)
    assert said.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def test_centerface(models):
    said = json.loads(tool("describe", models / "centerface.onnx"))
    assert said["family"] == "centerface" and said["dynamic_size"] and said["dynamic_batch"]


def pictures():
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
    return {"vtest 0": letterbox(frame("vtest.avi", 0)), "vtest 300": letterbox(frame("vtest.avi", 300)),
            "carphone 40": letterbox(frame("carphone_pristine.mp4", 40)), "noise": letterbox(noise)}


def passing(output, name):
    if name.startswith("yolov8"):
        return int((output[0, 4:].max(0) > 0.25).sum())
    return int(((output[0, :, 4:5] * output[0, :, 5:]).max(1) > 0.25).sum())


@pytest.mark.parametrize("name", ["yolov8n", "yolov5s"])
@pytest.mark.parametrize("boxes", [30, 300])
def test_boxes_that_pass(name, boxes, tmp_path):
    """About as many as asked, on footage and on noise, whatever the seed."""
    for seed in (0, 1):
        model = tmp_path / f"{seed}.onnx"
        tool("synth", name, model, f"boxes={boxes}", f"seed={seed}")
        counts = {what: passing(infer(model, x)[0], name) for what, x in pictures().items()}
        assert all(boxes / 2 <= n <= boxes * 2 for n in counts.values()), (seed, counts)


@pytest.mark.parametrize("name", ["yolov8n", "yolov5s"])
def test_numbers_stay_moderate(name, tmp_path):
    """Half precision overflows at 65504 and vanishes below 6e-8: no layer comes near either."""
    tool("synth", name, tmp_path / "m.onnx", "boxes=100")
    model = onnx.load(tmp_path / "m.onnx")
    convs = [n.output[0] for n in model.graph.node if n.op_type == "Conv"]
    for conv in convs:
        model.graph.output.append(onnx.helper.make_tensor_value_info(conv, onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "all.onnx")
    for layer in infer(tmp_path / "all.onnx", letterbox(frame("vtest.avi", 0)))[1:]:
        assert np.abs(layer).max() < 2000
        assert layer.std() > 0.05


@pytest.mark.parametrize("name", ["yolov8n", "yolov5s"])
def test_dynamic_forms_agree(name, tmp_path):
    """The static model, the dynamic one, and the static one made dynamic: the same numbers at every size."""
    fixed, opened, freed, batched = (tmp_path / f"{n}.onnx" for n in ("fixed", "open", "freed", "batched"))
    tool("synth", name, fixed, "boxes=30")
    tool("synth", name, opened, "boxes=30", "dynamic")
    tool("dynamic", fixed, freed, "both")
    tool("dynamic", fixed, batched, "batch")
    for path in (fixed, opened, freed, batched):
        check(path)
    square = letterbox(frame("vtest.avi", 0))
    wide = np.concatenate([letterbox(frame("bikes.mp4", n), 640, 384) for n in (0, 40, 80)])
    wanted = infer(fixed, square)[0]
    for path in (opened, freed, batched):
        assert np.abs(infer(path, square)[0] - wanted).max() <= 1e-5
    assert np.abs(infer(batched, np.concatenate([square] * 2))[0] - wanted).max() <= 1e-3
    wanted, is_ = infer(opened, wide)[0], infer(freed, wide)[0]
    assert wanted.shape == is_.shape and wanted.shape[0] == 3
    assert np.abs(wanted - is_).max() <= 1e-5
    said = json.loads(tool("describe", freed))
    assert said["dynamic_batch"] and said["dynamic_size"] and said["family"] == name[:6]


def test_dynamic_centerface(models, tmp_path):
    freed = tmp_path / "c.onnx"
    tool("dynamic", models / "centerface.onnx", freed, "both")
    assert [o.shape for o in infer(check(freed), np.zeros((2, 3, 96, 160), np.float32))] == [
        (2, 1, 24, 40), (2, 2, 24, 40), (2, 2, 24, 40), (2, 10, 24, 40)]


def test_dynamic_names_what_it_cannot_free(tmp_path):
    h = onnx.helper
    grid = onnx.numpy_helper.from_array(np.random.default_rng(0).random((1, 3, 32, 32), np.float32), "grid")
    graph = h.make_graph([h.make_node("Add", ["images", "grid"], ["out"], name="learned")], "g",
                         [h.make_tensor_value_info("images", 1, [1, 3, 32, 32])],
                         [h.make_tensor_value_info("out", 1, [1, 3, 32, 32])], [grid])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    said = tool("dynamic", tmp_path / "m.onnx", tmp_path / "x.onnx", "size", code=1)
    assert "'learned'" in said and "1x3x32x32" in said and said.count("\n") == 1
    tool("dynamic", tmp_path / "m.onnx", tmp_path / "x.onnx", "batch")
    assert infer(tmp_path / "x.onnx", np.zeros((4, 3, 32, 32), np.float32))[0].shape == (4, 3, 32, 32)
