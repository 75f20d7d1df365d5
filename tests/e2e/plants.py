"""Models whose time goes where they are made to spend it."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def _save(path, nodes, weights, size, channels=3, outputs=("out",)):
    graph = helper.make_graph(
        nodes, "planted", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, channels, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def _conv(nodes, weights, rng, name, source, cin, cout, k, group=1, stride=1):
    weights[name + ".w"] = (rng.standard_normal((cout, cin // group, k, k)) / k / cin ** 0.5).astype(np.float32)
    nodes.append(helper.make_node("Conv", [source, name + ".w"], [name], name=name, pads=[k // 2] * 4, group=group,
                                  strides=[stride, stride]))
    return name


def depthwise(path, rng):
    """Depthwise convolutions only: each number is fetched for nine multiplications."""
    nodes, weights, channels = [], {}, 3
    at = "images"
    weights["tile"] = np.array([1, rng.integers(16, 33), 1, 1], np.int64)
    nodes.append(helper.make_node("Tile", [at, "tile"], ["tiled"], name="tile"))
    channels = 3 * int(weights["tile"][1])
    at = "tiled"
    for i in range(int(rng.integers(10, 16))):
        at = _conv(nodes, weights, rng, f"dw{i}", at, channels, channels, 3, group=channels)
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["out"], name="end"))
    return _save(path, nodes, weights, int(rng.integers(5, 8)) * 32)


def gemm(path, rng):
    """Large matrix products."""
    nodes, weights = [], {}
    size, width = 64, int(rng.integers(3, 7)) * 128
    weights["shape"] = np.array([48, 256], np.int64)
    weights["tile"] = np.array([8, 1], np.int64)
    nodes.append(helper.make_node("Reshape", ["images", "shape"], ["rows"], name="rows"))
    nodes.append(helper.make_node("Tile", ["rows", "tile"], ["tiled"], name="tiles"))
    at, wide = "tiled", 256
    for i in range(int(rng.integers(4, 8))):
        weights[f"w{i}"] = (rng.standard_normal((wide, width)) / wide ** 0.5).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [at, f"w{i}"], [f"mm{i}"], name=f"mm{i}"))
        at, wide = f"mm{i}", width
    nodes.append(helper.make_node("ReduceMean", [at], ["out"], name="end", axes=[1], keepdims=0))
    return _save(path, nodes, weights, size)


def conv(path, rng):
    """Dense 3x3 convolutions."""
    nodes, weights, at, channels = [], {}, "images", 3
    for i in range(int(rng.integers(4, 7))):
        wide = int(rng.integers(4, 9)) * 16
        at = _conv(nodes, weights, rng, f"c{i}", at, channels, wide, 3, stride=2 if i == 0 else 1)
        channels = wide
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["out"], name="end"))
    return _save(path, nodes, weights, int(rng.integers(5, 9)) * 32)


def tiny(path, rng):
    """Thousands of operators on a handful of numbers that no engine can merge."""
    nodes, weights, at = [], {}, "images"
    weights["start"] = np.array([0, 0], np.int64)
    weights["end"] = np.array([4, 4], np.int64)
    weights["axes"] = np.array([2, 3], np.int64)
    nodes.append(helper.make_node("Slice", [at, "start", "end", "axes"], ["small"], name="small"))
    at = "small"
    for i in range(int(rng.integers(1000, 2500))):
        nodes.append(helper.make_node("CumSum", [at, "axis"], [f"n{i}"], name=f"n{i}")
                     if i % 2 else helper.make_node("Softmax", [at], [f"n{i}"], name=f"n{i}", axis=1 + i % 3))
        at = f"n{i}"
    weights["axis"] = np.array(2, np.int64)
    nodes.append(helper.make_node("Identity", [at], ["out"], name="end"))
    return _save(path, nodes, weights, 32)


def resize(path, rng):
    """A picture blown up, and made small again."""
    nodes, weights, at = [], {}, "images"
    factor = float(rng.integers(4, 9))
    for i in range(int(rng.integers(2, 4))):
        weights[f"up{i}"] = np.array([1, 1, factor, factor], np.float32)
        weights[f"down{i}"] = np.array([1, 1, 1 / factor, 1 / factor], np.float32)
        nodes.append(helper.make_node("Resize", [at, "", f"up{i}"], [f"big{i}"], name=f"up{i}", mode="linear"))
        nodes.append(helper.make_node("Resize", [f"big{i}", "", f"down{i}"], [f"back{i}"], name=f"down{i}", mode="nearest"))
        at = f"back{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["out"], name="end"))
    return _save(path, nodes, weights, int(rng.integers(5, 11)) * 32)


def copies(path, rng):
    """Data laid out anew again and again, each time for a sum over the axis that was just moved."""
    nodes, weights, at = [], {}, "images"
    weights["tile"] = np.array([1, 16, 1, 1], np.int64)
    weights["axis"] = np.array(3, np.int64)
    nodes.append(helper.make_node("Tile", [at, "tile"], ["tiled"], name="tile"))
    at = "tiled"
    for i in range(int(rng.integers(8, 15))):
        order = [[0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]][int(rng.integers(3))]
        nodes.append(helper.make_node("Transpose", [at], [f"t{i}"], name=f"t{i}", perm=order))
        nodes.append(helper.make_node("Concat", [f"t{i}", f"t{i}"], [f"c{i}"], name=f"c{i}", axis=1))
        weights[f"s{i}"], weights[f"e{i}"], weights[f"a{i}"] = (np.array([v], np.int64) for v in (0, 48, 1))
        nodes.append(helper.make_node("Slice", [f"c{i}", f"s{i}", f"e{i}", f"a{i}"], [f"l{i}"], name=f"l{i}"))
        at = f"l{i}"
    nodes.append(helper.make_node("ReduceMean", [at], ["out"], name="end", axes=[1, 2, 3], keepdims=0))
    return _save(path, nodes, weights, 128)


def depthwise_and_copies(path, rng):
    """Half of each: depthwise convolutions, then transposes."""
    nodes, weights = [], {}
    weights["tile"] = np.array([1, 16, 1, 1], np.int64)
    nodes.append(helper.make_node("Tile", ["images", "tile"], ["tiled"], name="tile"))
    at = "tiled"
    for i in range(int(rng.integers(10, 15))):
        at = _conv(nodes, weights, rng, f"dw{i}", at, 48, 48, 3, group=48)
    for i in range(2):
        nodes.append(helper.make_node("Transpose", [at], [f"t{i}"], name=f"t{i}", perm=[[0, 2, 3, 1], [0, 3, 1, 2]][i % 2]))
        at = f"t{i}"
        nodes.append(helper.make_node("Concat", [at, at], [f"c{i}"], name=f"c{i}", axis=1))
        for name, value in (("s", 0), ("e", 48 if i % 2 else 192), ("a", 1)):
            weights[f"{name}{i}"] = np.array([value], np.int64)
        nodes.append(helper.make_node("Slice", [f"c{i}", f"s{i}", f"e{i}", f"a{i}"], [f"l{i}"], name=f"l{i}"))
        at = f"l{i}"
    nodes.append(helper.make_node("ReduceMean", [at], ["out"], name="end", axes=[1, 2, 3], keepdims=0))
    return _save(path, nodes, weights, 192)


# What makes each, and which of the causes omma names is right for it.
MODELS = {
    "depthwise": (depthwise, {"memory-bound"}),
    "gemm": (gemm, {"conv-dominated"}),
    "conv": (conv, {"conv-dominated"}),
    "tiny": (tiny, {"launch-bound"}),
    "resize": (resize, {"copy-bound"}),
    "copies": (copies, {"copy-bound"}),
}
