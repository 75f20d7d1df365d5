"""The model IR's round trip: nothing is lost, ONNX's checker and ONNX Runtime are content."""
import struct

import numpy as np
import onnx
import pytest
from ir_tool import ir, model_of, rich_model, save, tensor
from onnx import helper, numpy_helper

pytestmark = pytest.mark.sanitize


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
