"""The model IR against outside witnesses: ONNX's own checker, shape inference and operator tests.

Runs tool_ir (tests/unit/tool_ir.c), which loads, infers, folds and saves without the rest of omma.
"""
import json
import os
import random
import re
import struct
import subprocess
import warnings

import numpy as np
import onnx
import pytest
from conftest import BUILD, ROOT
from onnx import TensorProto, helper, numpy_helper

TOOL = BUILD / "tests/unit/tool_ir"
DTYPES = {"f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "string": 8, "bool": 9, "f16": 10,
          "f64": 11, "u32": 12, "u64": 13, "bf16": 16, "none": 0}
pytestmark = pytest.mark.sanitize


def ir(*args, ok=True):
    """The tool's lines; a crash or a sanitizer's report fails."""
    done = subprocess.run([str(TOOL), *map(str, args)], capture_output=True, timeout=240)
    err = done.stderr.decode()
    assert done.returncode in (0, 1), (done.returncode, err)
    assert "Sanitizer" not in err and "runtime error:" not in err, err
    lines = [json.loads(line) for line in done.stdout.decode("utf-8", "replace").splitlines()]
    if ok:
        assert not [x for x in lines if "error" in x], lines
    return lines


def error_of(path):
    """The one line that refuses a file."""
    [line] = ir(path, ok=False)
    assert "error" in line, line
    assert "\n" not in line["error"] and str(path) in line["error"]
    return line["error"]


def model_of(nodes, inputs, outputs, initializers=(), opset=17, **graph):
    g = helper.make_graph(nodes, "g", inputs, outputs, list(initializers), **graph)
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def tensor(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def save(model, path):
    path.write_bytes(model.SerializeToString())
    return path


# ---- round trip ----

def normal(message):
    """Absent and empty are the same, numbers of tensors are raw, initializers have no order."""
    message = type(message).FromString(message.SerializeToString())

    def clean(m):
        if isinstance(m, onnx.TensorProto) and m.data_type and not m.HasField("raw_data") and m.data_type != 8:
            array = numpy_helper.to_array(m)
            raw = numpy_helper.from_array(array)
            if raw.data_type == m.data_type:
                for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                    m.ClearField(field)
                m.raw_data = raw.raw_data
        for field, value in m.ListFields():
            repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
            if field.message_type:
                for x in value if repeated else [value]:
                    clean(x)
            elif field.type == field.TYPE_STRING and not repeated and value == "":
                m.ClearField(field.name)
        if isinstance(m, onnx.ModelProto) and m.model_version == 0:
            m.ClearField("model_version")
        if isinstance(m, onnx.GraphProto):
            constants = {x.name for x in m.initializer}
            inputs = sorted(m.input, key=lambda x: x.name if x.name in constants else "")
            m.ClearField("input")
            m.input.extend(inputs)
            for field in ("initializer", "value_info"):
                items = sorted(getattr(m, field), key=lambda x: x.name)
                m.ClearField(field)
                getattr(m, field).extend(items)
    clean(message)
    return message


def round_trip(model, tmp_path, *flags):
    a, b = save(model, tmp_path / "a.onnx"), tmp_path / "b.onnx"
    ir("--save", "--no-infer", *flags, a, b)
    return onnx.ModelProto.FromString(b.read_bytes())


def rich_model():
    """Of everything that a file may carry, something."""
    branch = helper.make_graph([helper.make_node("Add", ["x", "k"], ["t"])], "then", [], [tensor("t", None)])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "else", [], [tensor("e", None)])
    node = helper.make_node("Conv", ["x", "w", ""], ["y"], name="conv", doc_string="a doc", kernel_shape=[1, 1],
                            auto_pad="VALID")
    node.metadata_props.add(key="pkg.torch.onnx.name", value="conv")
    node.overload = "o"
    node.device_configurations.add(configuration_id="gpus", pipeline_stage=3)
    exotic = helper.make_node("Exotic", ["y"], ["q", "", "z"], domain="org.example", f=1.5, fs=[1.0, -2.0], s="text",
                              ss=["a", "", "c"], t=helper.make_tensor("inner", 7, [2], [3, 4]), i=-9, empty="")
    exotic.attribute.append(helper.make_attribute("tp", helper.make_tensor_type_proto(1, [2, "k"])))
    exotic.attribute.append(helper.make_attribute("sp", helper.make_sparse_tensor(
        helper.make_tensor("sv", 1, [1], [2.0]), helper.make_tensor("si", 7, [1], [1]), [4])))
    exotic.attribute[0].doc_string = "of an attribute"
    inits = [
        numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3, 1, 1), "w"),
        helper.make_tensor("k", 1, [1], [0.5]),
        helper.make_tensor("f8", TensorProto.FLOAT8E4M3FN, [2], [1.0, 2.0]),
        helper.make_tensor("i4", TensorProto.INT4, [3], [1, -2, 3]),
        helper.make_tensor("bf", TensorProto.BFLOAT16, [2], [1.0, -2.0]),
        helper.make_tensor("h", TensorProto.FLOAT16, [2], [0.1, -3.0]),
        helper.make_tensor("u8", TensorProto.UINT8, [3], [0, 200, 255]),
        helper.make_tensor("i8", TensorProto.INT8, [3], [-128, 0, 127]),
        helper.make_tensor("b", TensorProto.BOOL, [2], [True, False]),
        helper.make_tensor("u32", TensorProto.UINT32, [1], [4000000000]),
        helper.make_tensor("u64", TensorProto.UINT64, [1], [2**63 + 5]),
        helper.make_tensor("d", TensorProto.DOUBLE, [1, 1], [0.1]),
        helper.make_tensor("c", TensorProto.COMPLEX64, [1], [1 + 2j]),
        helper.make_tensor("str", TensorProto.STRING, [2], [b"a\0b", b""]),
        helper.make_tensor("none", TensorProto.FLOAT, [0, 3], []),
        helper.make_tensor("deep", TensorProto.INT64, [1] * 9, [7]),
    ]
    inits[0].doc_string = "weights"
    inits[0].metadata_props.add(key="a", value="b")
    x = tensor("x", ["batch", 3, None, -1])
    x.doc_string = "a picture"
    x.metadata_props.add(key="role", value="picture")
    x.type.denotation = "IMAGE"
    x.type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    sequence = helper.make_tensor_sequence_value_info("seq", 1, [2])
    m = model_of(
        [node, exotic, helper.make_node("If", ["cond"], ["r"], then_branch=branch, else_branch=other)],
        [x, tensor("cond", [], TensorProto.BOOL), sequence, tensor("e8", [2, "n"], TensorProto.FLOAT8E5M2)],
        [tensor("z", None), tensor("r", ["batch", 3, "h", "w"]), tensor("w", [4, 3, 1, 1])], inits,
        value_info=[tensor("y", ["batch", 4, "h", "w"])], doc_string="of the graph")
    m.producer_name, m.producer_version, m.domain, m.model_version, m.doc_string = "p", "1.0", "org.x", 7, "of the model"
    m.opset_import.append(helper.make_opsetid("org.example", 3))
    m.functions.append(helper.make_function("org.example", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])],
                                            [helper.make_opsetid("", 17)]))
    helper.set_model_props(m, {"stride": "32", "names": "{0: 'cat'}", "empty": ""})
    m.graph.metadata_props.add(key="g", value="h")
    m.graph.quantization_annotation.add(tensor_name="y").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="k")
    m.configuration.add(name="gpus", num_devices=2, device=["0", "1"])
    return m


@pytest.mark.parametrize("flags", [[], ["--clone"]])
def test_round_trip_keeps_everything(tmp_path, flags):
    model = rich_model()
    assert normal(round_trip(model, tmp_path, *flags)) == normal(model)


def test_round_trip_keeps_fields_of_the_future(tmp_path):
    """Fields that no schema knows yet, in each message."""
    model = rich_model()

    def varint(v):
        out = b""
        while v > 0x7f:
            out, v = out + bytes([v & 0x7f | 0x80]), v >> 7
        return out + bytes([v])

    def with_extra(message, depth):
        """Serialises and puts fields 1000 (bytes), 1001 (varint), 1002 (fixed 32), 1003 (fixed 64) into it."""
        text = message.SerializeToString()
        return text + varint(1000 << 3 | 2) + varint(3) + b"new" + varint(1001 << 3) + varint(300 + depth) + \
            varint(1002 << 3 | 5) + struct.pack("<f", 2.5) + varint(1003 << 3 | 1) + struct.pack("<d", 0.5)

    node = model.graph.node[0]
    attr = node.attribute[0]
    attr.MergeFromString(with_extra(type(attr)(), 1))
    node.MergeFromString(with_extra(type(node)(), 2))
    for depth, m in enumerate([model.graph.initializer[0], model.graph.input[0], model.graph.value_info[0],
                               model.graph.input[0].type, model.graph.output[1].type.tensor_type.shape.dim[0],
                               model.graph.node[2].attribute[0].g, model.graph, model], 3):
        m.MergeFromString(with_extra(type(m)(), depth))
    assert model.SerializeToString().count(b"new") == 10
    back = round_trip(model, tmp_path)
    assert normal(back) == normal(model)
    assert back.SerializeToString().count(b"new") == 10


def test_initializers_among_the_inputs(tmp_path):
    """Formats before 4 list them; they are constants all the same, and written as they came."""
    w = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor("x", [1, 2]), tensor("w", [2, 3])],
                     [tensor("y", [1, 3])], [w], opset=9)
    for version in (3, 8):
        model.ir_version = version
        back = round_trip(model, tmp_path)
        onnx.checker.check_model(back)
        assert normal(back) == normal(model)
    [line] = ir(save(model, tmp_path / "c.onnx"))
    assert line["values"]["w"]["constant"] and line["values"]["y"]["shape"] == [1, 3]


def test_real_model(tmp_path, models):
    model = onnx.load(models / "centerface.onnx")
    back = round_trip(model, tmp_path)
    onnx.checker.check_model(back, full_check=False)
    assert normal(back) == normal(model)


def test_saved_model_passes_the_checker_and_computes_the_same(tmp_path, models):
    ort = pytest.importorskip("onnxruntime")
    out = tmp_path / "out.onnx"
    model = onnx.load(models / "centerface.onnx")
    for side in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[side].dim_value = 64
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    ir("--save", "--fold", "--forget", save(model, tmp_path / "in.onnx"), out)
    onnx.checker.check_model(onnx.load(out), full_check=True)
    x = {model.graph.input[0].name: np.random.default_rng(1).random((1, 3, 64, 64), np.float32)}
    options = ort.SessionOptions()
    options.log_severity_level = 3
    want, got = (ort.InferenceSession(f, options).run(None, x) for f in (tmp_path / "in.onnx", out))
    for a, b in zip(want, got):
        np.testing.assert_array_equal(a, b)


# ---- ONNX's own operator tests ----

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


# ---- hostile files ----

def relu_model(**kwargs):
    return model_of([helper.make_node("Relu", ["x"], ["y"], name="act")], [tensor("x", [1, 4])], [tensor("y", [1, 4])], **kwargs)


def test_cut_files(tmp_path, models):
    """A file cut at every fiftieth is refused with one line that names it, or is a model that merely ends early."""
    whole = (models / "centerface.onnx").read_bytes()
    for data in (whole, rich_model().SerializeToString()):
        for i in range(50):
            path = tmp_path / f"cut{i}.onnx"
            path.write_bytes(data[:len(data) * i // 50])
            error_of(path)


@pytest.mark.parametrize("content, says", [
    (b"", "the file is empty"),
    (b"hello, this is no model at all\n", "not a valid ONNX model"),
    (b"\x08\x07", "there is no graph"),
    (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "length"),
    (b"\x3a\xff\xff\xff\xff\x07ab", "longer than what holds it"),
    (bytes([0x0b, 1, 2]), "wire type"),
    (b"\x0a\x02ab", "wire type"),
    (b"\x3a\x00\x3a\x00", "second message"),
    (b"\x3a\x05\x12\x03a\0b", "zero byte"),
    (b"\x00\x01", "field number"),
], ids=range(10))
def test_bytes_that_are_no_model(tmp_path, content, says):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert says in error_of(path)


def nested(levels):
    """Graphs in attributes of nodes of graphs, written by hand: no library makes so many."""
    def field(number, payload):
        length, n = b"", len(payload)
        while n > 0x7f:
            length, n = length + bytes([n & 0x7f | 0x80]), n >> 7
        return bytes([number << 3 | 2]) + length + bytes([n]) + payload
    graph = field(1, field(2, b"y") + field(4, b"Relu")) + field(12, field(1, b"y"))
    for _ in range(levels):
        attr = field(1, b"then_branch") + field(6, graph) + bytes([20 << 3 & 0x7f | 0x80, 1, 5])
        graph = field(1, field(2, b"y") + field(4, b"If") + field(5, attr)) + field(12, field(1, b"y"))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


def test_nesting(tmp_path):
    path = tmp_path / "m.onnx"
    for levels in (25, 200, 20000):
        path.write_bytes(nested(levels))
        assert "nested deeper than 64" in error_of(path)
    path.write_bytes(nested(15))
    assert "nested" not in ir(path, ok=False)[0].get("error", "")


def test_many_tiny_messages(tmp_path):
    """Two bytes in the file that would be hundreds in memory, millions of times."""
    path = tmp_path / "m.onnx"
    body = b"\x0a\x00" * 8_000_000
    length = len(body)
    path.write_bytes(b"\x3a" + bytes([length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14 & 0x7f | 0x80,
                                      length >> 21]) + body)
    assert "would take more than" in error_of(path)


def broken_models():
    relu = lambda *a, **k: helper.make_node("Relu", *a, **k)  # noqa: E731
    x, y = tensor("x", [1, 4]), tensor("y", None)
    f = np.float32

    def init(name, dims, raw):
        t = TensorProto(name=name, data_type=1, raw_data=raw)
        t.dims.extend(dims)
        return t
    inner = helper.make_graph([relu(["ghost"], ["t"], name="inner")], "then", [], [tensor("t", None)])
    fine = helper.make_graph([relu(["x"], ["e"])], "else", [], [tensor("e", None)])
    cond = tensor("c", [], TensorProto.BOOL)
    yield "dangling", model_of([relu(["ghost"], ["y"], name="act")], [x], [y]), ["'act'", "nothing makes", "'ghost'"]
    yield "dangling_nameless", model_of([relu(["ghost"], ["y"])], [x], [y]), ["making 'y'", "'ghost'"]
    yield "dangling_inside", model_of([helper.make_node("If", ["c"], ["y"], name="if", then_branch=inner, else_branch=fine)],
                                      [x, cond], [y]), ["'if'", "'inner'", "'ghost'"]
    yield "cycle", model_of([helper.make_node("Add", ["x", "b"], ["a"], name="one"), relu(["a"], ["b"], name="two"),
                             relu(["a"], ["y"])], [x], [y]), ["cycle"]
    yield "self_cycle", model_of([helper.make_node("Add", ["x", "y"], ["y"], name="me")], [x], [y]), ["'me'", "cycle"]
    yield "twice", model_of([relu(["x"], ["y"], name="a"), relu(["x"], ["y"], name="b")], [x], [y]), ["'b'", "'y'", "twice"]
    yield "input_again", model_of([relu(["x"], ["x"], name="a")], [x], [x]), ["'x'", "twice"]
    yield "input_twice", model_of([relu(["x"], ["y"])], [x, x], [y]), ["'x'", "twice"]
    yield "no_output", model_of([relu(["x"], ["y"])], [x], []), ["no output"]
    yield "missing_output", model_of([relu(["x"], ["y"])], [x], [tensor("z", None)]), ["nothing makes its output 'z'"]
    yield "empty_name", model_of([relu(["x"], ["y"])], [tensor("", [1])], [y]), ["without a name"]
    yield "node_without_output", model_of([relu(["x"], [""], name="a"), relu(["x"], ["y"])], [x], [y]), ["'a'", "no output"]
    yield "short", model_of([relu(["w"], ["y"])], [], [y], [init("w", [3, 3], b"1234")]), ["'w'", "4 bytes", "36"]
    yield "negative", model_of([relu(["w"], ["y"])], [], [y], [init("w", [-3], b"")]), ["'w'", "dimension 0 is -3"]
    yield "overflow", model_of([relu(["w"], ["y"])], [], [y], [init("w", [2**33, 2**33], b"")]), ["'w'", "any memory"]
    yield "huge", model_of([relu(["w"], ["y"])], [], [y], [init("w", [2**62], b"")]), ["'w'", str(2**62)]
    yield "huge_input", model_of([relu(["x"], ["y"])], [tensor("x", [2**62, 4])], [y]), ["'x'", str(2**62)]
    yield "old", model_of([relu(["x"], ["y"])], [x], [y], opset=8), ["opset 8", "9 to 28"]
    yield "new", model_of([relu(["x"], ["y"])], [x], [y], opset=29), ["opset 29", "9 to 28"]
    yield "channels", model_of([helper.make_node("Conv", ["p", "w"], ["y"], name="conv")], [tensor("p", [1, 3, 8, 8])], [y],
                               [numpy_helper.from_array(np.zeros((4, 5, 3, 3), f), "w")]), ["'conv'", "3 channels", "5"]
    yield "broadcast", model_of([helper.make_node("Add", ["x", "w"], ["y"], name="sum")], [x], [y],
                                [numpy_helper.from_array(np.zeros(3, f), "w")]), ["'sum'", "1x4", "3"]
    yield "types", model_of([helper.make_node("Add", ["x", "w"], ["y"], name="sum")], [x], [y],
                            [numpy_helper.from_array(np.zeros(4, np.int64), "w")]), ["'sum'", "f32", "i64"]
    yield "reshape", model_of([helper.make_node("Reshape", ["x", "s"], ["y"], name="r")], [x], [y],
                              [numpy_helper.from_array(np.array([3, -1]), "s")]), ["'r'", "4 elements", "3"]
    yield "window", model_of([helper.make_node("MaxPool", ["p"], ["y"], name="pool", kernel_shape=[9, 9])],
                             [tensor("p", [1, 3, 8, 8])], [y]), ["'pool'", "window of 9"]
    yield "grown", model_of([helper.make_node("Tile", ["x", "t"], ["y"], name="tile")], [x], [y],
                            [numpy_helper.from_array(np.array([2**39, 2**39]), "t")]), ["'tile'"]
    sparse = relu_model()
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(
        helper.make_tensor("sv", 1, [1], [2.0]), helper.make_tensor("si", 7, [1], [1]), [4]))
    yield "sparse", sparse, ["sparse"]


@pytest.mark.parametrize("name, model, words", [pytest.param(*x, id=x[0]) for x in broken_models()])
def test_broken_models(tmp_path, name, model, words):
    path = save(model, tmp_path / "m.onnx")
    [line] = ir(path, ok=False)
    assert "error" in line and all(w in line["error"] for w in words), line


def external(tmp_path, location, offset=None, length=None, data=b"\0" * 64):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "w.bin").write_bytes(data)
    (tmp_path / "secret.bin").write_bytes(data)
    (folder / "in.bin").symlink_to("sub/w.bin")
    (folder / "out.bin").symlink_to("../secret.bin")
    (folder / "away").symlink_to("..")
    os.mkfifo(folder / "pipe")
    w = TensorProto(name="w", data_type=1, data_location=TensorProto.EXTERNAL)
    w.dims.extend([2, 4])
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            w.external_data.add(key=key, value=str(value))
    return save(model_of([helper.make_node("Relu", ["w"], ["y"])], [], [tensor("y", None)], [w]), folder / "m.onnx")


@pytest.mark.parametrize("args", [("sub/w.bin",), ("in.bin", 32, 32), ("./sub/w.bin", 16)])
def test_external_data(tmp_path, args):
    data = np.arange(16, dtype=np.float32).tobytes()
    path = external(tmp_path, *args, data=data)
    out = tmp_path / "out.onnx"
    ir("--save", path, out)
    start = args[1] if len(args) > 1 else 0
    assert onnx.load(out).graph.initializer[0].raw_data == data[start:start + 32]


@pytest.mark.parametrize("args, says", [
    (("/etc/hostname",), "outside the model's folder"), (("../secret.bin",), "outside the model's folder"),
    (("sub/../../secret.bin",), "outside the model's folder"), (("out.bin",), "out of the model's folder"),
    (("away/secret.bin",), "out of the model's folder"), (("absent.bin",), "No such file"),
    (("sub/w.bin", 33), "but the file has 64"), (("sub/w.bin", 2**62), "but the file has 64"),
    (("sub/w.bin", -1), "is no size"), (("sub/w.bin", "x"), "is no size"), (("sub/w.bin", 0, 31), "needs 32 bytes"),
    (("sub",), "not a regular file"), (("pipe",), "not a regular file"), ((None,), "without a location"),
], ids=range(14))
def test_external_data_refused(tmp_path, args, says):
    error = error_of(external(tmp_path, *args))
    assert says in error and "'w'" in error


def test_missing_file(tmp_path):
    assert "No such file" in error_of(tmp_path / "absent.onnx")
