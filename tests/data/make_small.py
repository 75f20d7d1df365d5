"""Makes small models of the other families, whose answers a test can tell beforehand.

classify.onnx  [N,3,H,W] RGB 0..1 -> `output0` [N,10]: logits of ten colours; the nearest to the picture's mean wins
boxes.onnx     [1,3,H,W] RGB 0..1 -> `boxes` [n,4] corners, `labels` [n] from 1, `scores` [n], as torchvision's
               detectors answer: the test pattern's red, green and blue rectangles, only those that are there
ctc.onnx       [N,3,16,W], blue first, as models of text have it -> `output0` [N,W/8,4]: a letter for every 8 columns, the
               first, second or third by the largest colour, or none (the last class) where all are dark

    make_small.py [FOLDER]
"""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from make_shapes import COLORS, SCORE, Graph, extents, model

NAMED = {
    "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "cyan": (0, 1, 1),
    "magenta": (1, 0, 1), "black": (0, 0, 0), "grey": (0.5, 0.5, 0.5), "white": (1, 1, 1), "orange": (1, 0.5, 0),
}
SHARPNESS = 20


def classify():
    """-SHARPNESS * |mean - color|^2 without the term that all classes share is linear in the mean."""
    g = Graph()
    colors = np.array(list(NAMED.values()))
    mean = g.op("Flatten", [g.op("GlobalAveragePool", ["images"], "mean")], "flat", axis=1)
    g.op("Gemm", [mean, g.const("weight", 2 * SHARPNESS * colors, np.float32),
                  g.const("bias", -SHARPNESS * (colors**2).sum(1), np.float32)], "output0", transB=1)
    return model(g, "classify", {"images": (TensorProto.FLOAT, ["batch", 3, "height", "width"])},
                 {"output0": (TensorProto.FLOAT, ["batch", len(NAMED)])},
                 {"description": "colours of whole pictures", "stride": "1", "task": "classify", "batch": "1",
                  "imgsz": "[64, 64]", "names": str(dict(enumerate(NAMED)))})


def boxes():
    g = Graph()
    side, present = extents(g)
    last, flat = g.const("last", [2], np.int64), g.const("flat", [-1], np.int64)
    corners = [g.op("Unsqueeze", [side[name], last], f"{name}_column") for name in ("x0", "y0", "x1", "y1")]
    table = g.op("Reshape", [g.op("Concat", corners, "corners", axis=2), g.const("rows", [3, 4], np.int64)], "table")
    there = g.op("NonZero", [g.op("Reshape", [present, flat], "present_flat")], "there_row")
    there = g.op("Reshape", [there, flat], "there")
    g.op("Gather", [table, there], "boxes", axis=0)
    g.op("Gather", [g.const("numbers", [1, 2, 3], np.int64), there], "labels", axis=0)
    g.op("Gather", [g.const("score", [SCORE] * 3, np.float32), there], "scores", axis=0)
    return model(g, "boxes", {"images": (TensorProto.FLOAT, [1, 3, "height", "width"])},
                 {"boxes": (TensorProto.FLOAT, ["n", 4]), "labels": (TensorProto.INT64, ["n"]),
                  "scores": (TensorProto.FLOAT, ["n"])},
                 {"description": "rectangles of the generated test pattern", "stride": "32", "task": "detect",
                  "batch": "1", "imgsz": "[640, 640]",
                  "names": str(dict(enumerate(("background", *COLORS))))})


def ctc():
    g = Graph()
    mean = g.op("AveragePool", ["images"], "mean", kernel_shape=[16, 8], strides=[16, 8])
    columns = g.op("Squeeze", [mean, g.const("row", [2], np.int64)], "columns")
    steps = g.op("Transpose", [columns], "steps", perm=[0, 2, 1])
    logits = g.op("MatMul", [steps, g.const("weight", SHARPNESS * np.eye(3, 4), np.float32)], "logits")
    g.op("Softmax", [g.op("Add", [logits, g.const("bias", [0, 0, 0, SHARPNESS / 4], np.float32)], "biased")], "output0",
         axis=2)
    return model(g, "ctc", {"images": (TensorProto.FLOAT, ["batch", 3, 16, "width"])},
                 {"output0": (TensorProto.FLOAT, ["batch", "steps", 4])},
                 {"description": "colours of columns", "omma.family": "ctc", "stride": "8"})


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    onnx.save(classify(), folder / "classify.onnx")
    onnx.save(boxes(), folder / "boxes.onnx")
    onnx.save(ctc(), folder / "ctc.onnx")
