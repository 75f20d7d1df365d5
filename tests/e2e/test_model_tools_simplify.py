"""omma model simplify, cut, diff and check, beside ONNX Runtime, onnx.checker and onnxsim's counts."""
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import DEPS

onnxruntime.set_default_logger_severity(3)
F = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, constants=None, opset=17):
    graph = helper.make_graph(nodes, "g", inputs, outputs,
                              [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model


def tensor(name, shape, kind=F):
    return helper.make_tensor_value_info(name, kind, shape)


def feeds(path, seed=0, batch=1, size=64):
    """Random numbers for every input; open dims get `batch` (the first) or `size`."""
    rng = np.random.default_rng(seed)
    out = {}
    for value in onnx.load(path, load_external_data=False).graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or (batch if i == 0 else size) for i, d in enumerate(kind.shape.dim)]
        out[value.name] = rng.random(shape, np.float32).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return out


def infer(path, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, inputs)


def same_outputs(a, b, inputs, bound=1e-4):
    for x, y in zip(infer(a, inputs), infer(b, inputs)):
        assert x.shape == y.shape and x.dtype == y.dtype
        if x.size:
            assert np.abs(x.astype(np.float64) - y).max() <= bound * max(1, np.abs(x).max())


def count(path):
    return len(onnx.load(path, load_external_data=False).graph.node)


def simplified(omma, path):
    out = path.with_name(path.stem + "-simple.onnx")
    omma("model", "simplify", path, "-o", out)
    onnx.checker.check_model(onnx.load(out), full_check=True)
    return out


rng = np.random.default_rng(1)
W = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
V = {k: rng.random(4).astype(np.float32) + 0.5 for k in ("s", "b", "m", "v")}
BN = [helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], epsilon=1e-3)]


def case(name, nodes, constants, left, shape=(1, 3, 8, 8), out=None, opset=17):
    return pytest.param(nodes, constants, left, shape, out, opset, id=name)


CASES = [
    case("bn into conv", [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), *BN], {"w": W, **V}, 1),
    case("bn into grouped deconvolution",
         [helper.make_node("ConvTranspose", ["x", "w"], ["c"], group=2, strides=[2, 2]), *BN],
         {"w": rng.standard_normal((6, 2, 2, 2)).astype(np.float32), **V}, 1, shape=(1, 6, 5, 5)),
    case("bn into gemm", [helper.make_node("Gemm", ["x", "w", "k"], ["c"], transB=1, alpha=0.5, beta=2.0), *BN],
         {"w": W[:, :, 0, 0], "k": V["s"], **V}, 1, shape=(2, 3)),
    case("bn into gemm, columns", [helper.make_node("Gemm", ["x", "w"], ["c"]), *BN],
         {"w": np.ascontiguousarray(W[:, :, 0, 0].T), **V}, 1, shape=(2, 3)),
    case("scale and shift into conv",
         [helper.make_node("Conv", ["x", "w", "s"], ["c"]), helper.make_node("Mul", ["k", "c"], ["d"]),
          helper.make_node("Sub", ["j", "d"], ["e"]), helper.make_node("Div", ["e", "two"], ["y"])],
         {"w": W, "s": V["s"], "k": V["b"].reshape(4, 1, 1), "j": V["m"].reshape(1, 4, 1, 1),
          "two": np.array(2, np.float32)}, 1),
    case("a scale along the width stays",
         [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "k"], ["y"])],
         {"w": W, "k": np.arange(1, 7, dtype=np.float32)}, 2),
    case("idle nodes",
         [helper.make_node("Identity", ["x"], ["a"]), helper.make_node("Cast", ["a"], ["b1"], to=F),
          helper.make_node("Dropout", ["b1"], ["d"]), helper.make_node("Transpose", ["d"], ["e"], perm=[0, 1, 2, 3]),
          helper.make_node("Concat", ["e"], ["f"], axis=1), helper.make_node("Add", ["zero", "f"], ["h"]),
          helper.make_node("Mul", ["h", "one"], ["i"]), helper.make_node("Pad", ["i", "none"], ["j"]),
          helper.make_node("Relu", ["j"], ["k"]), helper.make_node("Relu", ["k"], ["l"]),
          helper.make_node("Slice", ["l", "lo", "hi"], ["n"]), helper.make_node("Expand", ["n", "own"], ["o"]),
          helper.make_node("Flatten", ["o"], ["p"], axis=1), helper.make_node("Flatten", ["p"], ["y"], axis=1)],
         {"zero": np.zeros(1, np.float32), "one": np.ones((1, 3, 1, 1), np.float32), "none": np.zeros(8, np.int64),
          "lo": np.array([0, 0]), "hi": np.array([9, 9]), "own": np.array([1, 1, 8, 8])}, 2),
    case("adding zeros that widen stays", [helper.make_node("Add", ["x", "zeros"], ["y"])],
         {"zeros": np.zeros((5, 3, 8, 8), np.float32)}, 1),
    case("a backward slice stays", [helper.make_node("Slice", ["x", "lo", "hi", "axes", "by"], ["y"])],
         {"lo": np.array([-1]), "hi": np.array([-99]), "axes": np.array([3]), "by": np.array([-1])}, 1),
    case("shapes", [helper.make_node("Shape", ["x"], ["sh"]), helper.make_node("Slice", ["sh", "two", "four"], ["hw"]),
                    helper.make_node("Cast", ["hw"], ["f"], to=F), helper.make_node("Mul", ["f", "half"], ["g"]),
                    helper.make_node("Cast", ["g"], ["i"], to=TensorProto.INT64),
                    helper.make_node("Slice", ["sh", "nil", "two"], ["nc"]),
                    helper.make_node("Concat", ["nc", "i"], ["to"], axis=0),
                    helper.make_node("Resize", ["x", "", "", "to"], ["y"], mode="nearest")],
         {"nil": np.array([0]), "two": np.array([2]), "four": np.array([4]), "half": np.array([0.5], np.float32)}, 1),
    case("weights that are computed",
         [helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]), helper.make_node("MatMul", ["x", "wt"], ["m"]),
          helper.make_node("Add", ["m", "s"], ["y"])], {"w": W[:, :, 0, 0], "s": V["s"]}, 1, shape=(5, 3)),
    case("equal nodes",
         [helper.make_node("Sigmoid", ["x"], ["a"]), helper.make_node("Sigmoid", ["x"], ["b1"]),
          helper.make_node("Mul", ["a", "k"], ["c"]), helper.make_node("Mul", ["b1", "j"], ["d"]),
          helper.make_node("Sub", ["c", "d"], ["y"])],
         {"k": np.full(1, 3, np.float32), "j": np.full(1, 3, np.float32)}, 3),
    case("joins, cuts and pads",
         [helper.make_node("Slice", ["x", "nil", "end", "h", "two"], ["r"]),
          helper.make_node("Slice", ["x", "one", "end", "h", "two"], ["q"]),
          helper.make_node("Slice", ["r", "nil", "end", "v", "two"], ["a"]),
          helper.make_node("Slice", ["q", "one", "end", "v", "two"], ["b1"]),
          helper.make_node("Concat", ["a", "b1"], ["ab"], axis=1), helper.make_node("Concat", ["ab", "a"], ["aba"], axis=-3),
          helper.make_node("Pad", ["aba", "pads"], ["p"]), helper.make_node("Conv", ["p", "w"], ["y"], pads=[0, 1, 0, 0])],
         {"nil": np.array([0]), "one": np.array([1]), "end": np.array([2 ** 31 - 1]), "h": np.array([2]), "v": np.array([3]),
          "two": np.array([2]), "pads": np.array([0, 0, 1, 1, 0, 0, 2, 0]),
          "w": rng.standard_normal((4, 9, 3, 3)).astype(np.float32)}, 4),
    case("reshapes in a row",
         [helper.make_node("Unsqueeze", ["x", "nil"], ["a"]), helper.make_node("Squeeze", ["a", "one"], ["b1"]),
          helper.make_node("Reshape", ["b1", "to"], ["c"]), helper.make_node("Transpose", ["c"], ["d"], perm=[1, 0]),
          helper.make_node("Transpose", ["d"], ["y"])],
         {"nil": np.array([0]), "one": np.array([1]), "to": np.array([24, -1])}, 1),
    case("a pad of ones stays", [helper.make_node("Pad", ["x", "pads", "v1"], ["p"]), helper.make_node("Conv", ["p", "w"], ["y"])],
         {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v1": np.array(1, np.float32), "w": W}, 2),
    case("old pads and slices", [helper.make_node("Pad", ["x"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1]),
                                 helper.make_node("Conv", ["p", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"]),
                                 helper.make_node("Slice", ["r"], ["y"], starts=[0], ends=[99], axes=[2])],
         {"w": W}, 2, opset=9),
]


@pytest.mark.parametrize("nodes,constants,left,shape,out,opset", CASES)
@pytest.mark.sanitize
def test_pass(omma, tmp_path, nodes, constants, left, shape, out, opset):
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, [tensor("x", shape)], [tensor("y", out)], constants, opset), path)
    simple = simplified(omma, path)
    assert count(simple) == left, [n.op_type for n in onnx.load(simple).graph.node]
    same_outputs(path, simple, feeds(path))


def test_half_floats_fold(omma, tmp_path):
    """Weights of 16 bits are scaled in 16 bits."""
    half = {k: v.astype(np.float16) for k, v in {"w": W, "k": V["b"].reshape(4, 1, 1)}.items()}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "k"], ["y"])]
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, [tensor("x", (1, 3, 8, 8), TensorProto.FLOAT16)], [tensor("y", None, TensorProto.FLOAT16)],
                       half), path)
    simple = simplified(omma, path)
    assert count(simple) == 1
    same_outputs(path, simple, feeds(path), bound=4e-3)


def test_large_constants_fold(omma, tmp_path):
    """Constant nodes and reshapes of weights beyond what shape arithmetic looks at."""
    big = rng.standard_normal((600, 700)).astype(np.float32)
    nodes = [helper.make_node("Constant", [], ["w0"], value=numpy_helper.from_array(big)),
             helper.make_node("Reshape", ["w0", "to"], ["w1"]), helper.make_node("Transpose", ["w1"], ["w2"], perm=[1, 0]),
             helper.make_node("MatMul", ["x", "w2"], ["y"])]
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, [tensor("x", (2, 600))], [tensor("y", None)], {"to": np.array([700, 600])}), path)
    simple = simplified(omma, path)
    assert count(simple) == 1
    same_outputs(path, simple, feeds(path))


def test_captured_names_follow(omma, tmp_path):
    """A branch reads a value of the outer graph that simplifying renames or removes."""
    then = helper.make_graph([helper.make_node("Add", ["b", "c"], ["t"])], "then", [], [tensor("t", None)])
    other = helper.make_graph([helper.make_node("Neg", ["b"], ["e"])], "else", [], [tensor("e", None)])
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["b"]),
             helper.make_node("Relu", ["x"], ["a2"]), helper.make_node("Identity", ["a2"], ["c"]),
             helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0), helper.make_node("Greater", ["m", "zero"], ["q"]),
             helper.make_node("If", ["q"], ["y"], then_branch=then, else_branch=other)]
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, [tensor("x", (2, 3))], [tensor("y", None)], {"zero": np.array(0, np.float32)}), path)
    simple = simplified(omma, path)
    assert count(simple) == 4
    same_outputs(path, simple, feeds(path))


# ---- beside onnxsim ----

# Operators that onnxsim 0.8.1 (PyPI) with ONNX Runtime 1.31.1 leaves of each, and how many of them are Constant nodes.
ONNXSIM = {"centerface": (119, 0), "ppocr-cls": (220, 41), "ppocr-rec": (568, 185), "ppocr-det": (494, 197),
           "plate-det": (179, 1), "plate-rec": (182, 20)}
# Of what `omma model synth` writes, the structure of exports that were simplified already.
SYNTHETIC = {"yolov8n": 233, "yolov8m": 299, "yolov5n": 236, "yolov5n-face": 422, "yolov5s-face": 322, "yolo11n": 320,
             "yolov10n": 308, "yolox-s": 275, "yolov3-tiny": 32, "resnet50": 122, "mobilenet_v2": 100,
             "efficientnet-lite0": 94, "vit_b_16": 512}
SIZES = {"ppocr-cls": (48, 192), "ppocr-rec": (48, 320), "ppocr-det": (96, 160), "plate-rec": (32, 96)}


@pytest.mark.parametrize("name", ONNXSIM)
def test_real_models(omma, name, tmp_path):
    """No more operators than onnxsim leaves, its constants not counted, and the same outputs."""
    path = DEPS / "models" / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"scripts/get-models {name}")
    simple = tmp_path / "simple.onnx"
    omma("model", "simplify", path, "-o", simple)
    whole, constants = ONNXSIM[name]
    assert count(simple) <= whole - constants
    height, width = SIZES.get(name, (96, 128))
    value = onnx.load(path).graph.input[0]
    x = np.random.default_rng(3).random((1 if name != "centerface" else 10, 3, height, width), np.float32)
    if name == "centerface":  # its file says one size
        x = np.random.default_rng(3).random([d.dim_value for d in value.type.tensor_type.shape.dim], np.float32)
    same_outputs(path, simple, {value.name: x})


@pytest.mark.long
@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_models(omma, name, tmp_path):
    path, simple = tmp_path / "m.onnx", tmp_path / "simple.onnx"
    omma("model", "synth", name, "-o", path)
    omma("model", "simplify", path, "-o", simple)
    assert count(simple) <= SYNTHETIC[name]
    x = {i.name: np.random.default_rng(4).random([d.dim_value for d in i.type.tensor_type.shape.dim], np.float32)
         for i in onnx.load(path).graph.input}
    same_outputs(path, simple, x, bound=1e-3)


# ---- cut ----

LIVE = ["/model.4/cv2/act/Mul_output_0", "/model.6/cv2/act/Mul_output_0", "/model.9/cv2/act/Mul_output_0"]


def test_cut_runs_like_the_whole(omma, yolov8n, tmp_path):
    """Two halves of a detector, cut through its three live tensors, do what the whole does."""
    front, back = tmp_path / "front.onnx", tmp_path / "back.onnx"
    omma("model", "cut", yolov8n, *(x for v in LIVE for x in ("--to", v)), "-o", front)
    omma("model", "cut", yolov8n, *(x for v in LIVE for x in ("--from", v)), "-o", back)
    for part in (front, back):
        onnx.checker.check_model(onnx.load(part), full_check=True)
    shapes = [[d.dim_value for d in o.type.tensor_type.shape.dim] for o in onnx.load(back).graph.input]
    assert shapes == [[1, 64, 80, 80], [1, 128, 40, 40], [1, 256, 20, 20]]
    x = feeds(yolov8n)
    middle = dict(zip(LIVE, infer(front, x)))
    assert np.abs(infer(yolov8n, x)[0] - infer(back, middle)[0]).max() < 1e-4


def test_cut_names_what_is_missing(omma, yolov8n, tmp_path):
    said = omma("model", "cut", yolov8n, "--from", LIVE[2], "--from", LIVE[1], "-o", tmp_path / "x.onnx", code=2).err
    assert f"also live there: '{LIVE[0]}'" in said and said.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def test_cut_by_layer(omma, yolov8n, tmp_path):
    omma("model", "cut", yolov8n, "--from", "/model.9/m/MaxPool", "--to", "/model.9/m_2/MaxPool", "-o", tmp_path / "x.onnx")
    assert [n.op_type for n in onnx.load(tmp_path / "x.onnx").graph.node] == ["MaxPool"] * 3


def test_cut_says_what_is_near(omma, yolov8n, tmp_path):
    name = next(n.name for n in onnx.load(yolov8n).graph.node if n.op_type == "Conv")
    said = omma("model", "cut", yolov8n, "--to", name + "x", "-o", tmp_path / "x.onnx", code=2).err
    assert f"did you mean '{name}" in said and said.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


# ---- diff ----

def test_diff(omma, yolov8n, tmp_path):
    done = omma("model", "diff", yolov8n, yolov8n)
    assert done.out.startswith("the same:")
    model = onnx.load(yolov8n)
    model.metadata_props.add(key="author", value="me")
    weight = next(t for t in model.graph.initializer if t.name.endswith("conv.weight"))
    array = numpy_helper.to_array(weight).copy()
    array.flat[3] += 0.5
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, tmp_path / "b.onnx")
    said = json.loads(omma("model", "diff", yolov8n, tmp_path / "b.onnx", "--json", code=1).out)
    found = {(d["what"], d["change"], d["name"]): d for d in said["differences"]}
    assert set(found) == {("metadata", "added", "author"), ("weight", "changed", weight.name)}
    assert abs(found["weight", "changed", weight.name]["max_difference"] - 0.5) < 1e-6
    out = omma("model", "diff", yolov8n, tmp_path / "b.onnx", code=1).out
    assert "differs by up to 0.5" in out and "1 weight changed" in out


# ---- check ----

def test_check(omma, yolov8n):
    said = json.loads(omma("model", "check", yolov8n, "--json").out)
    assert said["runs"] and said["family"] == "yolov8"
    engine = next(e for e in said["engines"] if e["chosen"])
    assert engine["engine"] == "openvino" and engine["supported"] == said["operators"] and not engine["missing"]
    assert "runs" in omma("model", "check", yolov8n, "--quick").out


def test_check_names_what_is_missing(omma, tmp_path):
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Exotic", ["a"], ["y"], name="odd", domain="org.example")]
    graph = helper.make_graph(nodes, "g", [tensor("x", (1, 3, 8, 8))], [tensor("y", (1, 3, 8, 8))])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)],
                                ir_version=8), path)
    done = omma("model", "check", path, code=1)
    assert "does not run: openvino lacks 1 operator, first Exotic 'odd'" in done.out
    said = json.loads(omma("model", "check", path, "--json", code=1).out)
    [engine] = [e for e in said["engines"] if e["chosen"]]
    assert [m["operator"] for m in engine["missing"]] == ["Exotic"] and engine["missing"][0]["falls_back_to"] is None


def test_check_counts_external_data(omma, tmp_path):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = model_of(nodes, [tensor("x", (1, 3, 8, 8))], [tensor("y", (1, 4, 6, 6))], {"w": W})
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    said = json.loads(omma("model", "check", tmp_path / "m.onnx", "--json").out)
    assert said["external_tensors"] == 1 and said["runs"]
    (tmp_path / "m.bin").unlink()
    said = omma("model", "check", tmp_path / "m.onnx", code=1).err
    assert "m.bin" in said and said.count("\n") == 1
