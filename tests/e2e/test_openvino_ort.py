"""The OpenVINO backend computes what ONNX Runtime computes: the same raw outputs for the same input tensor."""
import json
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest

from conftest import BUILD

INFER = BUILD / "tests/conform/infer"


def infer(model, size, batch, tensor, folder, *flags, device="cpu"):
    """The raw outputs of one inference through a backend, and what it said of itself."""
    source, target = folder / "input.raw", folder / "output.raw"
    tensor.tofile(source)
    done = subprocess.run([INFER, device, model, f"{size[0]}x{size[1]}", str(batch), source, target, *flags],
                          capture_output=True, text=True, timeout=240)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    kinds = {"f32": np.float32, "i64": np.int64}
    outputs = [np.fromfile(f"{target}.{i}", kinds[o["dtype"]]).reshape(o["shape"])
               for i, o in enumerate(said["outputs"])]
    return outputs, said


def witness(model, tensor):
    """ONNX Runtime's outputs. Sizes that the file froze are freed first: both engines are told the shape."""
    proto = onnx.load(model)
    graph = proto.graph
    for value in [*graph.input, *graph.output]:
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.Clear()
            dim.dim_param = f"{value.name}_{i}"
    del graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})


def same(ours, theirs):
    """Within 1e-3 of each number, absolute where it is below 1."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape and np.isfinite(a).all()
        assert (np.abs(a - b) / np.maximum(1, np.abs(b))).max() < 1e-3


def prepared(pixels, prep):
    """What the model itself wants, from bytes [N,H,W,3]."""
    out = (pixels.astype(np.float32) - np.float32(prep["mean"])) * np.float32(prep["scale"])
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))


@pytest.fixture(scope="module")
def free_yolov8n(omma, session_dir):
    """Synthetic YOLOv8n whose batch and size are dynamic."""
    out = session_dir / "free_yolov8n.onnx"
    omma("model", "synth", "yolov8n", "--boxes", "30", "--dynamic", "-o", out)
    return out


def path_of(name, request, models):
    return models / "centerface.onnx" if name == "centerface" else request.getfixturevalue(name)


CASES = [("centerface", (320, 192), 1), ("centerface", (224, 160), 3), ("yolov3_tiny", (416, 416), 1),
         ("free_yolov8n", (640, 384), 1), ("free_yolov8n", (320, 320), 2)]


@pytest.mark.parametrize("name,size,batch", CASES)
def test_floats(name, size, batch, request, models, tmp_path):
    model = path_of(name, request, models)
    random = np.random.default_rng(7)
    probe = random.integers(0, 256, (batch, size[1], size[0], 3), np.uint8)
    # The description of the model decides the range of its input; it is asked for by a first run on zeros.
    zeros = np.zeros((batch, 3, size[1], size[0]), np.float32)
    _, said = infer(model, size, batch, zeros, tmp_path)
    assert "f32 input" in said["note"]
    tensor = prepared(probe, said["prep"])
    ours, _ = infer(model, size, batch, tensor, tmp_path)
    same(ours, witness(model, tensor))


@pytest.mark.parametrize("name,size,batch", CASES[1::2])
def test_bytes(name, size, batch, request, models, tmp_path):
    """Bytes in, normalised inside the engine: the same outputs as normalising before."""
    model = path_of(name, request, models)
    pixels = np.random.default_rng(8).integers(0, 256, (batch, size[1], size[0], 3), np.uint8)
    ours, said = infer(model, size, batch, pixels, tmp_path, "u8")
    assert "u8 input" in said["note"]
    same(ours, witness(model, prepared(pixels, said["prep"])))


def test_null_shapes(models, tmp_path):
    """The null backend's outputs have the shapes of the real ones."""
    tensor = np.zeros((2, 3, 192, 320), np.float32)
    zero, _ = infer(models / "centerface.onnx", (320, 192), 2, tensor, tmp_path, device="null")
    for a, b in zip(zero, witness(models / "centerface.onnx", tensor), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype and not a.any()


def test_unreadable_model(tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model at all")
    done = subprocess.run([INFER, "cpu", bad, "64x64", "1", bad, tmp_path / "out"], capture_output=True, text=True,
                          timeout=60)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "bad.onnx" in done.stderr


def gelu(nodes, x, y, swapped=False):
    """As exporters write it, its products either way round."""
    nodes += [onnx.helper.make_node(op, inputs, [f"{y}_{leaf}"], f"{y}_{leaf}") for op, inputs, leaf in (
        ("Div", [x, "root"], "scaled"), ("Erf", [f"{y}_scaled"], "erf"), ("Add", ["one", f"{y}_erf"][::-1 if swapped else 1], "sum"),
        ("Mul", [x, f"{y}_sum"][::-1 if swapped else 1], "double"))]
    nodes.append(onnx.helper.make_node("Mul", [f"{y}_double", "half"][::-1 if swapped else 1], [y], f"{y}_out"))


def test_gelus_behind_products(omma, tmp_path):
    """Behind a product with a bias or without, one that others read too, and behind none. Where processors lack AVX-512 no product has a
    GELU in it: that is slower there than both apart."""
    rng, nodes = np.random.default_rng(1), [onnx.helper.make_node("Reshape", ["x", "rows"], ["a"], "a")]
    constants = {"rows": np.array([-1, 64]), "root": np.float32(2 ** 0.5), "one": np.float32(1), "half": np.float32(0.5)}
    for name, shape in (("w", (64, 128)), ("v", (128, 64)), ("u", (64, 64)), ("bias", (128,)), ("shift", (64,))):
        constants[name] = rng.normal(0, 0.2, shape).astype(np.float32)
    for op, inputs, out in (("MatMul", ["a", "w"], "b"), ("Add", ["bias", "b"], "c")):
        nodes.append(onnx.helper.make_node(op, inputs, [out], out))
    gelu(nodes, "c", "d")
    nodes.append(onnx.helper.make_node("Gemm", ["d", "v", "shift"], ["e"], "e"))
    gelu(nodes, "e", "f", swapped=True)
    nodes.append(onnx.helper.make_node("Add", ["f", "e"], ["g"], "g"))
    gelu(nodes, "g", "h")
    nodes.append(onnx.helper.make_node("MatMul", ["h", "u"], ["i"], "i"))
    gelu(nodes, "i", "y", swapped=True)
    f32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(nodes, "gelus", [onnx.helper.make_tensor_value_info("x", f32, ["n", 3, 32, 32])],
                                   [onnx.helper.make_tensor_value_info("y", f32, ["m", 64])],
                                   [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = tmp_path / "gelus.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), model)
    tensor = rng.random((2, 3, 32, 32), np.float32)
    ours, _ = infer(model, (32, 32), 2, tensor, tmp_path)
    theirs = witness(model, tensor)
    assert len(ours) == len(theirs) == 1 and np.abs(ours[0] - theirs[0]).max() < 1e-5
    omma("profile", model, "--batch", 2, "--input-size", "32x32", "--iterations", 3, "-q", "--json", tmp_path / "p.json")
    layers = json.loads((tmp_path / "p.json").read_text())["layers"]
    products = [x["implementation"] for x in layers if x["engine_type"] == "FullyConnected"]
    assert len(products) == 3, layers
    narrow = "avx512" not in pathlib.Path("/proc/cpuinfo").read_text()
    assert not narrow or len(set(products)) == 1, products
