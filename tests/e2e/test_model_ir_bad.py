"""Broken and hostile ONNX files: one line each."""
import os

import numpy as np
import onnx
import pytest
from ir_tool import error_of, ir, model_of, rich_model, save, tensor
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.sanitize


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
