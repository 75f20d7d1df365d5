"""The model IR's shapes and folded values against ONNX's own operator tests, shape inference and ONNX Runtime."""
import random
import re
import warnings

import numpy as np
import onnx
import pytest
from conftest import ROOT
from ir_tool import ir, model_of, save, tensor
from onnx import helper, numpy_helper

DTYPES = {"f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "string": 8, "bool": 9, "f16": 10,
          "f64": 11, "u32": 12, "u64": 13, "bf16": 16, "none": 0}
pytestmark = pytest.mark.sanitize


def operators():
    """What the table of operators has."""
    return set(re.findall(r'\{"(\w+)"', (ROOT / "src/model/ops.c").read_text()))


@pytest.fixture(scope="module")
def node_cases():
    """(name, model, inputs, outputs) of ONNX's operator tests that use known operators on plain tensors."""
    from onnx.backend.test.case.node import collect_testcases
    known, cases = operators(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        if case.model is None or not case.data_sets or not {n.op_type for n in case.model.graph.node} <= known:
            continue
        inputs, outputs = case.data_sets[0]
        for opset in case.model.opset_import:
            if opset.domain == "":
                opset.version = max(opset.version, 9)
        if all(isinstance(x, (np.ndarray, np.generic)) for x in [*inputs, *outputs]):
            cases.append((case.name, case.model, [np.asarray(x) for x in inputs], [np.asarray(x) for x in outputs]))
    assert len(cases) > 1200
    return cases


def frozen(model, inputs, first):
    """The model with its inputs from `first` on as initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for info, value in list(zip(model.graph.input, inputs))[first:]:
        copy.graph.initializer.append(numpy_helper.from_array(value, info.name))
    return copy


def run_all(files, *flags, chunk=200):
    lines = []
    for i in range(0, len(files), chunk):
        lines += ir(*flags, *files[i:i + chunk])
    return lines


# Their sizes depend on numbers that are not looked at.
BY_VALUE = {"Compress", "NonZero", "NonMaxSuppression", "Loop", "If"}


@pytest.mark.parametrize("first", [0, 1], ids=["constants", "one_input"])
def test_operators_shapes(tmp_path, node_cases, first):
    files = [save(frozen(model, inputs, first), tmp_path / f"{name}.onnx") for name, model, inputs, _ in node_cases]
    whole, wrong = 0, []
    for (name, model, _, outputs), line in zip(node_cases, run_all(files, "--forget")):
        by_value = BY_VALUE & {n.op_type for n in model.graph.node} or "_expanded" in name
        if first == 1 and model.graph.node[-1].op_type in ("ConstantOfShape", "Range"):
            by_value = True
        for info, want in zip(model.graph.output, outputs):
            got = line["values"][info.name]
            if DTYPES[got["dtype"]] != info.type.tensor_type.elem_type and info.type.tensor_type.elem_type <= 16:
                wrong.append((name, info.name, got["dtype"], want.dtype))
            if got["shape"] == list(want.shape):
                whole += 1
            elif not by_value or (got["shape"] is not None and (
                    len(got["shape"]) != want.ndim or any(g not in (-1, w) for g, w in zip(got["shape"], want.shape)))):
                wrong.append((name, info.name, got["shape"], want.shape))
    assert not wrong, wrong[:20]
    assert whole > 1300




def test_operators_values(tmp_path, node_cases):
    """Whatever folds must be what the operator test expects."""
    models, names = [], []
    for name, model, inputs, outputs in node_cases:
        copy = frozen(model, inputs, 0)
        for info in copy.graph.output:
            info.name += "_out"
        for info in model.graph.output:
            copy.graph.node.append(helper.make_node("Identity", [info.name], [info.name + "_out"]))
        models += [save(copy, tmp_path / f"{name}.onnx"), tmp_path / f"{name}.folded.onnx"]
        names.append((name, model, outputs))
    run_all(models, "--fold", "--no-infer", "--save")
    folded = set()
    for (name, model, outputs), path in zip(names, models[1::2]):
        constants = {x.name: x for x in onnx.load(path).graph.initializer}
        for info, want in zip(model.graph.output, outputs):
            if info.name not in constants or info.name in {x.name for x in model.graph.input}:
                continue
            got = numpy_helper.to_array(constants[info.name])
            assert got.dtype == want.dtype and got.shape == want.shape, name
            if got.dtype.kind in "iub":
                np.testing.assert_array_equal(got, want, name)
            else:
                loose = 2e-2 if got.dtype.name in ("bfloat16", "float8_e4m3fn") else 2e-3 if got.dtype == np.float16 else 1e-6
                np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), loose, loose, err_msg=name)
            folded.add(model.graph.node[0].op_type)
    expected = {"Abs", "Add", "And", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Cos", "Div", "Equal", "Exp",
                "Expand", "Flatten", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
                "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Range", "Reciprocal", "ReduceMax",
                "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round", "Sigmoid", "Sign", "Sin",
                "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where", "Xor"}
    assert expected <= folded, expected - folded


# ---- ONNX's own shape inference ----

class Net:
    """A random network of the kind that detectors are: windows, joins, shape arithmetic."""

    def __init__(self, seed, dynamic):
        self.random = random.Random(seed)
        self.nodes, self.inits, self.count = [], [], 0
        self.values = [("x", (2, 6, 32, 40))]
        self.input = tensor("x", ["n", 6, "h", "w"] if dynamic else [2, 6, 32, 40])

    def const(self, array):
        name = f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op, inputs, outputs=1, **attrs):
        names = [f"v{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attrs))
        return names

    def step(self):
        r = self.random
        x, shape = r.choice(self.values)
        n, c, h, w = shape
        kind = r.choice(["conv", "conv", "pool", "unary", "add", "concat", "resize", "split", "slice", "pad", "bn",
                         "shuffle", "d2s", "deconv", "reshape_back", "reduce", "space"])
        if kind == "conv":
            k, s, d, out, g = r.choice([1, 3, 5]), r.choice([1, 1, 2]), r.choice([1, 2]), r.choice([4, 6, 8, 12]), 1
            if c % 2 == 0 and r.random() < 0.3:
                g = 2
            attrs = {"pads": [k // 2 * d] * 4} if r.random() < 0.7 else {"auto_pad": r.choice(["SAME_UPPER", "SAME_LOWER"])}
            weights = self.const(np.zeros((out, c // g, k, k), np.float32))
            return self.add("Conv", [x, weights], strides=[s, s], dilations=[d, d], group=g, **attrs)
        if kind == "pool":
            return self.add(r.choice(["MaxPool", "AveragePool"]), [x], kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 0, 1],
                            ceil_mode=r.choice([0, 1]))
        if kind == "unary":
            return self.add(r.choice(["Relu", "Sigmoid", "HardSwish", "LeakyRelu", "Softmax", "Elu", "Erf"]), [x])
        if kind == "add":
            return self.add(r.choice(["Add", "Mul", "Sub", "Div"]), [x, self.const(np.ones(r.choice([(1,), (c, 1, 1), (1, 1, 1, 1)]),
                                                                                         np.float32))])
        if kind == "concat":
            return self.add("Concat", [x, x], axis=r.choice([1, -3]))
        if kind == "resize":
            if r.random() < 0.5:
                return self.add("Resize", [x, "", self.const(np.array([1, 1, 2, 1.5], np.float32))], mode="nearest")
            return self.add("Resize", [x, "", "", self.const(np.array([n, c, 16, 20], np.int64))], mode="linear")
        if kind == "split" and c > 2:
            return self.add("Split", [x, self.const(np.array([1, c - 1], np.int64))], 2, axis=1)
        if kind == "slice":
            return self.add("Slice", [x, self.const(np.array([1], np.int64)), self.const(np.array([2**63 - 1 if r.random() < .5
                            else -1], np.int64)), self.const(np.array([-1], np.int64)), self.const(np.array([r.choice([1, 2])]))])
        if kind == "pad":
            return self.add("Pad", [x, self.const(np.array([0, 0, 1, 2, 0, 0, 3, 0], np.int64))])
        if kind == "bn":
            return self.add("BatchNormalization", [x, *(self.const(np.ones(c, np.float32)) for _ in range(4))])
        if kind == "shuffle":
            return self.add("Transpose", self.add("Transpose", [x], perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
        if kind == "d2s" and c % 4 == 0:
            return self.add("DepthToSpace", [x], blocksize=2)
        if kind == "deconv":
            return self.add("ConvTranspose", [x, self.const(np.zeros((c, 4, 2, 2), np.float32))], strides=[2, 2])
        if kind == "reshape_back":
            [s] = self.add("Shape", [x])
            dims = [self.add("Unsqueeze", [self.add("Gather", [s, self.const(np.array(i))])[0], self.const(np.array([0]))])[0]
                    for i in range(4)]
            hw = self.add("Mul", [dims[2], dims[3]])
            [flat] = self.add("Reshape", [x, *self.add("Concat", [*dims[:2], *hw], axis=0)])
            return self.add("Reshape", [flat, *self.add("Concat", dims, axis=0)])
        if kind == "space":
            [s] = self.add("Shape", [x])
            [half] = self.add("Div", [*self.add("Slice", [s, self.const(np.array([2])), self.const(np.array([4]))]),
                                      self.const(np.array(2))])
            [whole] = self.add("Mul", [half, self.const(np.array([2, 4]))])
            head = self.add("Slice", [s, self.const(np.array([0])), self.const(np.array([2]))])
            return self.add("Resize", [x, "", "", *self.add("Concat", [*head, whole], axis=0)])
        if kind == "reduce":
            return self.add("Mul", [x, *self.add("ReduceMean", [x], axes=[2, 3], keepdims=1)])
        return self.add("Identity", [x])

    def build(self, steps):
        for _ in range(steps):
            for name in self.step():
                static = onnx.shape_inference.infer_shapes(
                    model_of(self.nodes, [tensor("x", [2, 6, 32, 40])], [tensor(name, None)], self.inits), data_prop=True)
                shape = tuple(d.dim_value for d in static.graph.output[0].type.tensor_type.shape.dim)
                if len(shape) == 4 and all(0 < d < 200 for d in shape):
                    self.values.append((name, shape))
        out = self.values[-1][0]
        return model_of(self.nodes, [self.input], [tensor(out, None)], self.inits)


def onnx_shapes(model):
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=True)
    return {v.name: [d.dim_value if d.HasField("dim_value") else -1 for d in v.type.tensor_type.shape.dim]
            for v in [*inferred.graph.value_info, *inferred.graph.output] if v.type.tensor_type.HasField("shape")}


def disagreements(ours, theirs):
    """Where both know a size and it is not the same, or only they know it."""
    return [(name, ours[name]["shape"], shape) for name, shape in theirs.items()
            if ours[name]["shape"] is None or len(ours[name]["shape"]) != len(shape)
            or any(t >= 0 and o != t for o, t in zip(ours[name]["shape"], shape))]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_shapes_of_random_networks(tmp_path, dynamic):
    models = [Net(seed, dynamic).build(14) for seed in range(24)]
    lines = ir(*[save(m, tmp_path / f"{i}.onnx") for i, m in enumerate(models)])
    for seed, (model, line) in enumerate(zip(models, lines)):
        assert not disagreements(line["values"], onnx_shapes(model)), seed
        if not dynamic:
            assert all(v["shape"] is not None and -1 not in v["shape"] for v in line["values"].values()), seed


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("opset", [11, 17, 22])
def test_window_that_begins_in_the_padding(tmp_path, op, opset):
    """It does not count: so computes ONNX Runtime for every opset, and so infers ONNX from opset 22 on."""
    ort = pytest.importorskip("onnxruntime")
    model = model_of([helper.make_node(op, ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1], ceil_mode=1)],
                     [tensor("x", [1, 2, 32, 40])], [tensor("y", None)], opset=opset)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    [y] = ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": np.zeros((1, 2, 32, 40), np.float32)})
    [line] = ir(save(model, tmp_path / "m.onnx"))
    assert line["values"]["y"]["shape"] == list(y.shape)


def test_shapes_of_a_real_model(tmp_path, models):
    model = onnx.load(models / "centerface.onnx")
    model.graph.ClearField("value_info")
    for dims in ([1, 3, 64, 96], [1, 3, "h", "w"], ["n", 3, 224, 320]):
        model.graph.input[0].CopyFrom(tensor(model.graph.input[0].name, dims))
        for out in model.graph.output:
            out.type.tensor_type.ClearField("shape")
        [line] = ir(save(model, tmp_path / "m.onnx"))
        assert not disagreements(line["values"], onnx_shapes(model))
