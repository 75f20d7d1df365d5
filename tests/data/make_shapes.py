"""Makes shapes.onnx: a detector that finds the generated test pattern's rectangles exactly.

Input `images` [N,3,H,W]: RGB, 0..1. Output `output0` [N,7,3] as YOLOv8 has it: a column for red, green and blue, with
the centre, width and height of the pixels that are nearer to that colour than to grey, in input pixels, and three
class scores: 0.9 for its own class where at least 8 pixels match, else 0.

    make_shapes.py [FILE]
"""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLORS = ("red", "green", "blue")
LEAST_PIXELS = 8
SCORE = 0.9

# The sum of a colour's differences from red is (1-r) + g + b: one 1x1 convolution. It is 1.5 for mid grey and 0 for
# red, so that an edge blurred by scaling is cut in its middle.
OWN, OTHER, BIAS, BOUND = -1.0, 1.0, 1.0, 0.75


class Graph:
    """Nodes and constants in the order they are added; every call returns the name of the result."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def const(self, name, value, dtype):
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def op(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def extents(g):
    """Adds the nodes from `images` to x0, y0, x1, y1 and the number of pixels, each [N,3]."""
    weight = [[[[OWN if k == c else OTHER]] for c in range(3)] for k in range(3)]
    distance = g.op("Conv", ["images", g.const("colors", weight, np.float32),
                             g.const("bias", [BIAS] * 3, np.float32)], "distance")
    near = g.op("Less", [distance, g.const("bound", BOUND, np.float32)], "near")
    mask = g.op("Cast", [near], "mask", to=TensorProto.FLOAT)
    one = g.const("one", 1, np.float32)
    sides = {}
    for name, flat in (("x", 2), ("y", 3)):
        line = g.op("ReduceMax", [mask], f"{name}_line", axes=[flat], keepdims=0)
        first = g.op("ArgMax", [line], f"{name}_first", axis=2, keepdims=0)
        sides[name + "0"] = g.op("Cast", [first], f"{name}0", to=TensorProto.FLOAT)
        last = g.op("ArgMax", [line], f"{name}_last", axis=2, keepdims=0, select_last_index=1)
        last = g.op("Cast", [last], f"{name}_end", to=TensorProto.FLOAT)
        sides[name + "1"] = g.op("Add", [last, one], f"{name}1")
    count = g.op("ReduceSum", [mask, g.const("plane", [2, 3], np.int64)], "count", keepdims=0)
    few = g.const("few", LEAST_PIXELS - 0.5, np.float32)
    return sides, g.op("Greater", [count, few], "present")


def shapes():
    g = Graph()
    side, present = extents(g)
    row, half = g.const("row", [1], np.int64), g.const("half", 0.5, np.float32)
    rows = {}
    for name in "xy":
        total = g.op("Add", [side[name + "0"], side[name + "1"]], f"{name}_sum")
        rows["c" + name] = g.op("Mul", [total, half], f"{name}_center")
        rows["s" + name] = g.op("Sub", [side[name + "1"], side[name + "0"]], f"{name}_size")
    boxes = [g.op("Unsqueeze", [rows[name], row], f"{name}_row") for name in ("cx", "cy", "sx", "sy")]
    found = g.op("Unsqueeze", [g.op("Cast", [present], "found", to=TensorProto.FLOAT), row], "found_row")
    scores = g.op("Mul", [found, g.const("score", [np.eye(3) * SCORE], np.float32)], "scores")
    g.op("Concat", [*boxes, scores], "output0", axis=1)
    return model(g, "shapes", {"images": (TensorProto.FLOAT, ["batch", 3, "height", "width"])},
                 {"output0": (TensorProto.FLOAT, ["batch", 7, 3])},
                 {"description": "rectangles of the generated test pattern", "stride": "32", "task": "detect",
                  "batch": "1", "imgsz": "[640, 640]", "names": str(dict(enumerate(COLORS)))})


def model(g, name, inputs, outputs, metadata):
    """The checked ONNX model; nothing in it depends on when or where it is made."""
    info = [[helper.make_tensor_value_info(key, *spec) for key, spec in side.items()] for side in (inputs, outputs)]
    made = helper.make_model(helper.make_graph(g.nodes, name, *info, g.constants),
                             opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="omma tests")
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made, full_check=True)
    return made


if __name__ == "__main__":
    onnx.save(shapes(), sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("shapes.onnx"))
