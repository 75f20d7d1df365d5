"""omma quantize: what it writes runs in ONNX Runtime and OpenVINO and says what the float model says; bad input."""
import json

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

SIZE = (256, 192)  # width, height
SMALL = ("--input-size", "256x192", "-q")


def grab(media, folder, clip, first, step, count):
    """`count` pictures of a clip as files; returns them as arrays too."""
    folder.mkdir()
    video = cv2.VideoCapture(str(media / clip))
    pictures = []
    for i in range(first + step * count):
        ok, picture = video.read()
        assert ok
        if i >= first and (i - first) % step == 0:
            picture = cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{i:04d}.png"), picture)
            pictures.append(picture)
    return pictures


@pytest.fixture(scope="module")
def work(omma, media, tmp_path_factory):
    """Folder with yolov3-tiny as float.onnx and int8.onnx, cal/ and other pictures to judge by."""
    work = tmp_path_factory.mktemp("quantize")
    models = media.parent / "models"
    grab(media, work / "cal", "bikes.mp4", 0, 6, 20)
    omma("model", "import", models / "yolov3-tiny.cfg", models / "yolov3-tiny.weights", "-o", work / "float.onnx")
    omma("quantize", work / "float.onnx", "-o", work / "int8.onnx", "--calib", work / "cal", "--weight-bits", 8,
         "--report", work / "int8.json", *SMALL)
    return work


@pytest.fixture(scope="module")
def others(work, media):
    return [(p[..., ::-1] / 255).astype(np.float32).transpose(2, 0, 1)[None].copy()
            for p in grab(media, work / "others", "bikes.mp4", 150, 12, 6)]


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def decibels(a, b, inputs):
    """Signal to noise of model b's outputs, model a's taken for right."""
    a, b = session(a), session(b)
    signal = noise = 0
    for x in inputs:
        for u, v in zip(a.run(None, {a.get_inputs()[0].name: x}), b.run(None, {b.get_inputs()[0].name: x})):
            signal += float((u ** 2).sum())
            noise += float(((u - v) ** 2).sum())
    return 10 * np.log10(signal / noise)


def constants(model):
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def test_standard_onnx(work):
    model = onnx.load(work / "int8.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 13
    value = constants(model)
    made = {n.output[0]: n for n in model.graph.node}
    convs = [n for n in model.graph.node if n.op_type == "Conv"]
    quantised = [n for n in convs if n.input[1] in made]
    assert (len(quantised), len(convs)) == (11, 13)
    for conv in quantised:
        weights = made[conv.input[1]]
        assert weights.op_type == "DequantizeLinear"
        q, scale = value[weights.input[0]], value[weights.input[1]]
        assert q.dtype == np.int8 and scale.shape == (q.shape[0],) and not value[weights.input[2]].any()
        assert (abs(q.reshape(len(q), -1).astype(int)).max(1) == 127).all()
        bias = made[conv.input[2]]
        x = made[conv.input[0]]
        assert value[bias.input[0]].dtype == np.int32
        np.testing.assert_allclose(value[bias.input[1]], scale * value[x.input[1]], rtol=1e-6)
        assert value[x.input[2]].dtype == np.uint8


def test_agrees_in_onnx_runtime(work, others):
    assert decibels(work / "float.onnx", work / "int8.onnx", others) > 27


def test_report(work):
    report = json.loads((work / "int8.json").read_text())
    assert report["frames"] == 20 and report["damaged"] == 0 and report["int8_layers"] == 11
    assert [x["why"] for x in report["layers"] if x["precision"] == "float"] == ["before an output"] * 2
    model = onnx.load(work / "int8.onnx")
    value = constants(model)
    scales = {n.input[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert {a["name"] for a in report["activations"]} == set(scales)
    for a in report["activations"]:
        assert a["scale"] == pytest.approx(float(value[scales[a["name"]].input[1]]), rel=1e-4)
        assert a["zero_point"] == int(value[scales[a["name"]].input[2]])
        assert a["seen_min"] <= a["seen_max"] and a["db"] > 20
    assert len(report["outputs"]) == 2


def test_runs_in_openvino(omma, work, tmp_path):
    """With weights of 7 bits, which every processor adds without overflow."""
    omma("quantize", work / "float.onnx", "-o", tmp_path / "q.onnx", "--calib", work / "cal", "--weight-bits", 7,
         "--report", tmp_path / "q.json", *SMALL)
    for output in json.loads((tmp_path / "q.json").read_text())["outputs"]:
        assert output["cosine"] > 0.998 and output["inferences"] > 0
    found = {}
    for name, model in (("float", work / "float.onnx"), ("int8", tmp_path / "q.onnx")):
        omma("detect", "-m", model, work / "cal", "--json", tmp_path / "d.json", "--precision", "f32",
             "--conf", 0.05, *SMALL)
        found[name] = [len(i["objects"]) for i in json.loads((tmp_path / "d.json").read_text())["images"]]
    assert sum(found["float"]) > 20
    assert abs(sum(found["float"]) - sum(found["int8"])) <= 0.15 * sum(found["float"]), found


def mobile(path, seed=3, opset=13):
    """A block with a depthwise convolution whose channels differ 1,000 times in size; an old Softmax behind."""
    rng = np.random.default_rng(seed)
    sizes = np.logspace(-1.5, 1.5, 8).astype(np.float32)

    def weights(name, *shape, by=1.0):
        return numpy_helper.from_array((rng.normal(size=shape) * by).astype(np.float32), name)

    made = [weights("w1", 8, 3, 1, 1, by=sizes[:, None, None, None]), weights("b1", 8, by=sizes * 0.1),
            weights("w2", 8, 1, 3, 3), weights("b2", 8, by=0.1),
            weights("w3", 6, 8, 1, 1, by=0.3 / sizes[None, :, None, None]), weights("w4", 4, 6, 1, 1)]
    nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="expand"), helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("Conv", ["r", "w2", "b2"], ["d"], name="depthwise", group=8, pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["d"], ["s"]), helper.make_node("Conv", ["s", "w3"], ["p"], name="project"),
             helper.make_node("Conv", ["p", "w4"], ["y"], name="last")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 48, 64])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 48, 64])], made)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


RAW = ("--head", "raw", "--normalize", "unit")


def corners(pictures):
    """As the model of 64x48 is judged: no picture needs to be scaled for it."""
    return [x[:, :, :48, :64].copy() for x in pictures]


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile", "mse"])
def test_methods(omma, work, others, tmp_path, method):
    omma("quantize", mobile(tmp_path / "m.onnx"), "-o", tmp_path / "q.onnx", "--calib", work / "cal", "--method", method,
         "--weight-bits", 8, *RAW)
    assert decibels(tmp_path / "m.onnx", tmp_path / "q.onnx", corners(others)) > (8 if method == "entropy" else 25)


def test_target_cuda(omma, work, others, tmp_path):
    omma("quantize", mobile(tmp_path / "m.onnx"), "-o", tmp_path / "q.onnx", "--calib", work / "cal", "--target", "cuda",
         "--keep-float", "project", *RAW)
    model = onnx.load(tmp_path / "q.onnx")
    onnx.checker.check_model(model, full_check=True)
    value = constants(model)
    zeros = [value[n.input[2]] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert len(zeros) == 2 and all(z.dtype == np.int8 and z == 0 for z in zeros)
    assert value[next(n for n in model.graph.node if n.name == "project").input[1]].dtype == np.float32
    assert decibels(tmp_path / "m.onnx", tmp_path / "q.onnx", corners(others)) > 25


def test_equalises_channels(omma, work, others, tmp_path):
    figures = {}
    for flag in ("--equalise", "--no-equalise"):
        omma("quantize", mobile(tmp_path / "m.onnx"), "-o", tmp_path / "q.onnx", "--calib", work / "cal", flag,
             *RAW, "--weight-bits", 8, "-q")
        figures[flag] = decibels(tmp_path / "m.onnx", tmp_path / "q.onnx", corners(others))
    assert figures["--equalise"] > figures["--no-equalise"] + 3, figures
    assert figures["--equalise"] > 25


def test_raises_the_opset(omma, work, others, tmp_path):
    omma("quantize", mobile(tmp_path / "m.onnx", opset=9), "-o", tmp_path / "q.onnx", "--calib", work / "cal",
         *RAW, "--weight-bits", 8, "-q")
    model = onnx.load(tmp_path / "q.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 13
    assert decibels(tmp_path / "m.onnx", tmp_path / "q.onnx", corners(others)) > 25


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt").mkdir()
    for i in range(3):
        (tmp_path / "corrupt" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "black").mkdir()
    for i in range(4):
        cv2.imwrite(str(tmp_path / "black" / f"{i}.png"), np.zeros((48, 64, 3), np.uint8))
    return tmp_path


def refuse(omma, bad, code, words, model, *args):
    result = omma("quantize", model, "-o", bad / "out.onnx", *args, code=code)
    assert words in result.err, result
    assert not list(bad.glob("out.onnx*"))


def test_bad_calibration(omma, bad):
    model = mobile(bad / "m.onnx")
    refuse(omma, bad, 2, "no pictures to calibrate with", model)
    refuse(omma, bad, 1, "empty", model, "--calib", bad / "empty")
    refuse(omma, bad, 1, "missing", model, "--calib", bad / "missing.mp4")
    refuse(omma, bad, 2, "too few pictures: 0 (3 more could not be read)", model, "--calib", bad / "corrupt")
    refuse(omma, bad, 2, "too few pictures: 4, at least 16 are needed", model, "--calib", bad / "black")


def test_constant_and_not_finite(omma, bad):
    few = ["--calib", bad / "black", "--min-frames", 2, *RAW]
    result = omma("quantize", mobile(bad / "m.onnx"), "-o", bad / "ok.onnx", *few)
    assert "expand (Conv): its input 'x' was always 0" in result.out
    onnx.checker.check_model(onnx.load(bad / "ok.onnx"), full_check=True)
    refuse(omma, bad, 1, "nothing to quantise", mobile(bad / "m.onnx"), *few, "--keep-float", "depthwise",
           "--keep-float", "project")
    model = onnx.load(mobile(bad / "m.onnx"))
    for i in model.graph.initializer:
        if i.name == "w2":
            i.CopyFrom(numpy_helper.from_array(np.full((8, 1, 3, 3), np.nan, np.float32), "w2"))
    onnx.save(model, bad / "nan.onnx")
    refuse(omma, bad, 1, "'w2' holds numbers that are not finite", bad / "nan.onnx", *few)
    model = onnx.load(mobile(bad / "m.onnx"))
    model.graph.node[1].CopyFrom(helper.make_node("Log", ["a"], ["r"]))
    onnx.save(model, bad / "log.onnx")
    refuse(omma, bad, 1, "numbers that are not finite", bad / "log.onnx", *few)


def test_bad_models(omma, work, bad):
    cal = ["--calib", work / "cal"]
    refuse(omma, bad, 2, "already quantised", work / "int8.onnx", *cal)
    refuse(omma, bad, 2, "did you mean 'convolutional_0'?", work / "float.onnx", *cal,
           "--keep-float", "convolutional_00")
    refuse(omma, bad, 1, "nothing to quantise", work / "float.onnx", *cal, "--keep-float", "Conv")
    refuse(omma, bad, 1, "missing.onnx", bad / "missing.onnx", *cal)
    copy = bad / "same.onnx"
    copy.write_bytes((work / "float.onnx").read_bytes())
    result = omma("quantize", copy, "-o", copy, *cal, code=2)
    assert "is the float model itself" in result.err
    assert copy.read_bytes() == (work / "float.onnx").read_bytes()
    result = omma("quantize", copy, "-o", bad / "nowhere" / "q.onnx", *cal, code=1)
    assert "nowhere" in result.err


@pytest.mark.long
def test_not_below_onnx_runtime(work, others, tmp_path):
    """Against onnxruntime.quantization on the same pictures, with the same layers left float."""
    from onnxruntime import quantization as other

    name = onnx.load(work / "float.onnx").graph.input[0].name

    class Reader(other.CalibrationDataReader):
        def __init__(self):
            files = sorted((work / "cal").glob("*.png"))
            self.left = iter([{name: (cv2.imread(str(f))[..., ::-1] / 255).astype(np.float32).transpose(2, 0, 1)[None]}
                              for f in files])

        def get_next(self):
            return next(self.left, None)

    ours = decibels(work / "float.onnx", work / "int8.onnx", others)
    keep = [x["name"] for x in json.loads((work / "int8.json").read_text())["layers"] if x["precision"] == "float"]
    for method in (other.CalibrationMethod.MinMax, other.CalibrationMethod.Entropy):
        other.quantize_static(str(work / "float.onnx"), str(tmp_path / "o.onnx"), Reader(), calibrate_method=method,
                              quant_format=other.QuantFormat.QDQ, per_channel=True, nodes_to_exclude=keep,
                              activation_type=other.QuantType.QUInt8, weight_type=other.QuantType.QInt8)
        theirs = decibels(work / "float.onnx", tmp_path / "o.onnx", others)
        print(f"{method}: omma {ours:.2f} dB, onnxruntime {theirs:.2f} dB")
        assert ours > theirs, method
