"""Cases for test_engine_cuda: small graphs of every operator and fused pattern, with ONNX Runtime's answers.

    make_engine_cases.py OUT [--node-tests] [--models OMMA] [--real FOLDER] [--operators]

--node-tests adds the ONNX project's own node tests of the operators that the engine has. --models adds whole networks
that `OMMA model synth` makes, at a small size; --real those of scripts/get-models that lie in FOLDER. --operators makes
instead, and nothing else, what examples/user_depthwise.cu computes: nodes of a domain of its own, with ONNX Runtime's answers
for the same in standard operators.
"""

import argparse
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ap = argparse.ArgumentParser()
ap.add_argument("out")
ap.add_argument("--node-tests", action="store_true")
ap.add_argument("--models")
ap.add_argument("--operators", action="store_true")
ap.add_argument("--real")
args = ap.parse_args()
os.makedirs(args.out, exist_ok=True)
rng = np.random.default_rng(7)
listing = open(os.path.join(args.out, "cases.txt"), "w")


def reference(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def write(name, model, feeds, f32=1e-4, f16=4e-3, int8=0, outputs=None):
    outputs = reference(model, feeds) if outputs is None else outputs
    onnx.save(model, os.path.join(args.out, name + ".onnx"))
    order = [i.name for i in model.graph.input if i.name in feeds]
    arrays = [feeds[n] for n in order] + list(outputs)
    with open(os.path.join(args.out, name + ".bin"), "wb") as f:
        for a in arrays:
            f.write(np.ascontiguousarray(a, dtype=np.float32).tobytes())
    listing.write(f"{name} {f32} {f16} {int8}\n")


def case(name, nodes, inputs, consts=(), outputs=("y",), opset=17, **bounds):
    """nodes: (op, inputs, outputs, attributes); inputs: name -> shape or array."""
    feeds = {k: v.astype(np.float32) if isinstance(v, np.ndarray) else rng.standard_normal(v).astype(np.float32)
             for k, v in inputs.items()}
    made = [helper.make_node(op, i, o, **{"name": f"n{k}", **attrs}) for k, (op, i, o, attrs) in enumerate(nodes)]
    graph = helper.make_graph(
        made, name,
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in feeds.items()],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in dict(consts).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    write(name, model, feeds, **bounds)


def w(*shape):
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


SILU = [("Sigmoid", ["c"], ["s"], {}), ("Mul", ["c", "s"], ["y"], {})]


def one_number_apart():
    """Products that differ by a slope or a bound alone."""
    for name, acts, consts in [("slopes", [("LeakyRelu", ["c0"], ["a0"], {"alpha": 0.1}), ("LeakyRelu", ["c1"], ["a1"], {"alpha": 0.7})], {}),
                               ("bounds", [("Clip", ["c0", "lo", "six"], ["a0"], {}), ("Clip", ["c1", "lo", "half"], ["a1"], {})],
                                {"lo": np.float32(0), "six": np.float32(6), "half": np.float32(0.5)})]:
        case(f"conv_two_{name}", [("Conv", ["x", f"w{i}", f"b{i}"], [f"c{i}"], {}) for i in range(2)] + acts +
             [("Concat", ["a0", "a1"], ["y"], {"axis": 1})], {"x": (2, 32, 9, 9)},
             {**consts, **{f"w{i}": w(32, 32, 1, 1) for i in range(2)}, **{f"b{i}": w(32) for i in range(2)}})


def user_operators():
    """DepthwiseConvAct of the domain com.example, alone, between standard operators and in a concatenation."""
    for c, stride, act, h in [(32, 1, "", 19), (40, 2, "relu", 18), (7, 1, "silu", 9), (96, 2, "", 33)]:
        x, w3, b = rng.standard_normal((2, c, h, h + 3)).astype(np.float32), w(c, 1, 3, 3), w(c)
        for name, behind in [("alone", []), ("clip", [("Clip", ["u", "lo", "hi"], ["v"], {})]),
                             ("relu", [("Relu", ["u"], ["v"], {})]), ("gelu", [("Tanh", ["u"], ["v"], {})]),
                             ("joined", [("Relu", ["u"], ["v"], {})])]:
            last = behind[0][2][0] if behind else "u"
            tail = behind + [("Concat", ["r", last, "r"], ["y"], {"axis": 1})] if name == "joined" else \
                behind + [("Identity", [last], ["y"], {})]
            front = [("Sigmoid", ["x"], ["r"], {})]
            conv = [("Conv", ["r", "w", "b"], ["u0"], dict(group=c, kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2))]
            acts = {"": [("Identity", ["u0"], ["u"], {})], "relu": [("Relu", ["u0"], ["u"], {})],
                    "silu": [("Sigmoid", ["u0"], ["g"], {}), ("Mul", ["u0", "g"], ["u"], {})]}[act]
            if name == "joined":
                if stride != 1:
                    continue
            consts = {"w": w3, "b": b, "lo": np.float32(-0.2), "hi": np.float32(0.3)}
            own = [("DepthwiseConvAct", ["r", "w", "b"], ["u"], dict(domain="com.example", stride=stride, activation=act))]

            def build(nodes, opsets):
                made = [helper.make_node(op, i, o, name=f"n{k}", **attrs) for k, (op, i, o, attrs) in enumerate(nodes)]
                used = {i for n in nodes for i in n[1]}
                graph = helper.make_graph(
                    made, "user", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
                    [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                    [numpy_helper.from_array(np.asarray(v), k) for k, v in consts.items() if k in used])
                return helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets], ir_version=8)

            answers = reference(build(front + conv + acts + tail, [("", 17)]), {"x": x})
            write(f"user_{name}_{c}_{stride}_{act or 'none'}", build(front + own + tail, [("", 17), ("com.example", 1)]),
                  {"x": x}, outputs=answers)


def convolutions():
    for c, k, r, stride, pad, h, n in [(16, 32, 3, 1, 1, 20, 2), (32, 64, 1, 1, 0, 13, 3), (8, 8, 3, 2, 1, 17, 1),
                                       (64, 255, 1, 1, 0, 10, 2), (24, 40, 5, 1, 2, 9, 1), (128, 128, 3, 1, 1, 12, 1),
                                       (3, 20, 3, 1, 1, 15, 2), (5, 7, 3, 2, 0, 11, 1), (256, 136, 1, 1, 0, 7, 2)]:
        conv = ("Conv", ["x", "w", "b"], ["c"], dict(kernel_shape=[r, r], strides=[stride] * 2, pads=[pad] * 4))
        case(f"conv_silu_{c}_{k}_{r}_{stride}", [conv] + SILU, {"x": (n, c, h, h + 3)},
             {"w": w(k, c, r, r), "b": w(k)})
    conv = ("Conv", ["x", "w"], ["y"], dict(kernel_shape=[3, 3], dilations=[2, 2], pads=[2, 2, 2, 2]))
    case("conv_dilated", [conv], {"x": (1, 16, 14, 14)}, {"w": w(16, 16, 3, 3)})
    case("conv_same_upper", [("Conv", ["x", "w"], ["y"], dict(kernel_shape=[3, 3], strides=[2, 2],
                                                              auto_pad="SAME_UPPER"))],
         {"x": (1, 8, 14, 15)}, {"w": w(16, 8, 3, 3)})
    case("conv_1d", [("Conv", ["x", "w"], ["y"], dict(kernel_shape=[3], pads=[1, 1]))], {"x": (2, 16, 30)},
         {"w": w(24, 16, 3)})
    for c, mult, r, stride in [(32, 1, 3, 1), (40, 1, 3, 2), (16, 1, 5, 1), (24, 1, 5, 2), (12, 1, 3, 1), (8, 2, 3, 1)]:
        case(f"depthwise_{c}_{mult}_{r}_{stride}",
             [("Conv", ["x", "w", "b"], ["c"], dict(group=c, kernel_shape=[r, r], strides=[stride] * 2, pads=[r // 2] * 4)),
              ("Clip", ["c", "lo", "hi"], ["y"], {})],
             {"x": (2, c, 19, 14)}, {"w": w(c * mult, 1, r, r), "b": w(c * mult),
                                     "lo": np.float32(0), "hi": np.float32(6)})
    dw = dict(group=32, kernel_shape=[3, 3], pads=[1] * 4)
    case("depthwise_residual", [("Conv", ["x", "w", "b"], ["c"], dw), ("Add", ["c", "x"], ["d"], {}),
                                ("Relu", ["d"], ["y"], {})], {"x": (2, 32, 11, 13)}, {"w": w(32, 1, 3, 3), "b": w(32)})
    for first in (8, 12):
        case(f"depthwise_of_a_part_{first}",
             [("Slice", ["x", "from", "to", "axis"], ["p"], {}), ("Relu", ["p"], ["r"], {}),
              ("Conv", ["p", "w", "b"], ["c"], dw), ("Concat", ["r", "c"], ["y"], {"axis": 1})],
             {"x": (1, 56, 9, 10)}, {"w": w(32, 1, 3, 3), "b": w(32), "from": np.array([first]),
                                     "to": np.array([first + 32]), "axis": np.array([1])})
    case("depthwise_bn_silu", [("Conv", ["x", "w"], ["d"], dict(dw, strides=[2, 2])),
                               ("BatchNormalization", ["d", "s", "b", "m", "v"], ["c"], {}),
                               ("Sigmoid", ["c"], ["g"], {}), ("Mul", ["c", "g"], ["y"], {})], {"x": (2, 32, 30, 21)},
         {"w": w(32, 1, 3, 3), "s": w(32) + 1, "b": w(32), "m": w(32), "v": np.abs(w(32)) + 0.5})
    for k, stride, res in [(16, 1, False), (24, 2, False), (32, 1, True), (96, 1, False), (160, 2, False)]:
        nodes = [("Relu", ["x"], ["r"], {}), ("Conv", ["r", "w", "b"], ["d"], dict(dw, strides=[stride] * 2)),
                 ("Clip", ["d", "lo", "hi"], ["e"], {}), ("Conv", ["e", "w2", "b2"], ["p"], {})]
        case(f"depthwise_pointwise_{k}_{stride}_{int(res)}",
             nodes + ([("Add", ["p", "r"], ["y"], {})] if res else [("Identity", ["p"], ["y"], {})]),
             {"x": (2, 32, 19, 13)}, {"w": w(32, 1, 3, 3), "b": w(32), "w2": w(k, 32, 1, 1), "b2": w(k),
                                      "lo": np.float32(0), "hi": np.float32(6)})
    case("depthwise_pointwise_wide", [("Conv", ["x", "w", "b"], ["d"], dict(group=144, kernel_shape=[3, 3], pads=[1] * 4)),
                                      ("Relu", ["d"], ["e"], {}), ("Conv", ["e", "w2", "b2"], ["y"], {})],
         {"x": (1, 144, 30, 31)}, {"w": w(144, 1, 3, 3), "b": w(144), "w2": w(24, 144, 1, 1), "b2": w(24)})
    case("conv_groups_relu", [("Conv", ["x", "w", "b"], ["c"], dict(group=4, kernel_shape=[3, 3], pads=[1] * 4)),
                              ("Relu", ["c"], ["y"], {})], {"x": (2, 64, 9, 9)}, {"w": w(64, 16, 3, 3), "b": w(64)})
    case("conv_groups", [("Conv", ["x", "w"], ["y"], dict(group=4, kernel_shape=[3, 3], pads=[1] * 4))],
         {"x": (1, 32, 9, 9)}, {"w": w(16, 8, 3, 3)})
    for act, attrs in [("Relu", {}), ("LeakyRelu", {"alpha": 0.1}), ("HardSwish", {}), ("Sigmoid", {}), ("Tanh", {})]:
        case(f"conv_{act.lower()}", [("Conv", ["x", "w", "b"], ["c"], {}), (act, ["c"], ["y"], attrs)],
             {"x": (1, 16, 9, 9)}, {"w": w(32, 16, 1, 1), "b": w(32)})
    case("conv_mish", [("Conv", ["x", "w", "b"], ["c"], {}), ("Softplus", ["c"], ["p"], {}), ("Tanh", ["p"], ["t"], {}),
                       ("Mul", ["c", "t"], ["y"], {})], {"x": (1, 16, 9, 9)}, {"w": w(32, 16, 1, 1), "b": w(32)})
    case("conv_bn_relu",
         [("Conv", ["x", "w"], ["c"], dict(pads=[1] * 4)), ("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], {}),
          ("Relu", ["n"], ["y"], {})], {"x": (2, 16, 9, 9)},
         {"w": w(24, 16, 3, 3), "s": w(24) + 1, "b": w(24), "m": w(24), "v": np.abs(w(24)) + 0.5})
    case("bn_alone", [("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], {})], {"x": (2, 6, 5, 5)},
         {"s": w(6) + 1, "b": w(6), "m": w(6), "v": np.abs(w(6)) + 0.5})
    case("bottleneck",
         [("Conv", ["x", "w"], ["c"], {}), ("Sigmoid", ["c"], ["s"], {}), ("Mul", ["c", "s"], ["a"], {}),
          ("Conv", ["a", "w2"], ["d"], dict(pads=[1] * 4)), ("Sigmoid", ["d"], ["e"], {}), ("Mul", ["d", "e"], ["f"], {}),
          ("Add", ["a", "f"], ["y"], {})], {"x": (1, 16, 12, 12)}, {"w": w(32, 16, 1, 1), "w2": w(32, 32, 3, 3)})
    case("resnet_block",
         [("Conv", ["x", "w"], ["a"], {}), ("Conv", ["x", "w2"], ["b"], {}), ("Add", ["a", "b"], ["c"], {}),
          ("Relu", ["c"], ["y"], {})], {"x": (2, 16, 8, 8)}, {"w": w(32, 16, 1, 1), "w2": w(32, 16, 1, 1)})
    case("conv_transpose", [("ConvTranspose", ["x", "w", "b"], ["y"], dict(strides=[2, 2], kernel_shape=[2, 2]))],
         {"x": (1, 16, 7, 7)}, {"w": w(16, 8, 2, 2), "b": w(8)})
    case("conv_transpose_pads", [("ConvTranspose", ["x", "w"], ["y"],
                                  dict(strides=[2, 2], kernel_shape=[4, 4], pads=[1, 1, 1, 1], group=2))],
         {"x": (2, 8, 6, 7)}, {"w": w(8, 3, 4, 4)})
    for r, pad, k in [(3, 1, 16), (6, 2, 32), (7, 3, 64), (3, 1, 40)]:
        case(f"pic_first_{r}_{k}", [("Conv", ["x", "w", "b"], ["c"], dict(strides=[2, 2], pads=[pad] * 4))] + SILU,
             {"x": rng.random((2, 3, 46, 70))}, {"w": w(k, 3, r, r), "b": w(k)})
    case("pic_patches", [("Conv", ["x", "w", "b"], ["y"], dict(strides=[8, 8]))],
         {"x": rng.random((2, 3, 32, 48))}, {"w": w(64, 3, 8, 8), "b": w(64)})


def structure():
    case("c2f", [("Conv", ["x", "w"], ["a"], {}), ("Split", ["a", "sizes"], ["p", "q"], {"axis": 1}),
                 ("Conv", ["q", "w2"], ["c"], dict(pads=[1] * 4)), ("Relu", ["c"], ["r"], {}),
                 ("Add", ["q", "r"], ["s"], {}), ("Concat", ["p", "q", "s"], ["k"], {"axis": 1}),
                 ("Conv", ["k", "w3"], ["y"], {})], {"x": (2, 16, 10, 10)},
         {"w": w(32, 16, 1, 1), "sizes": np.array([16, 16]), "w2": w(16, 16, 3, 3), "w3": w(24, 48, 1, 1)})
    # A detector's levels, joined along their rows: what one convolution writes has gaps between pictures.
    levels = [("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], {}) for i in range(3)]
    levels += [("Reshape", [f"c{i}", f"s{i}"], [f"r{i}"], {}) for i in range(3)]
    case("levels", levels + [("Concat", ["r0", "r1", "r2"], ["y"], {"axis": 2})], {"x0": (3, 16, 16, 16), "x1": (3, 32, 8, 8), "x2": (3, 64, 4, 4)},
         {**{f"w{i}": w(64, 16 << i, 1, 1) for i in range(3)}, **{f"s{i}": np.array([0, 64, -1]) for i in range(3)}})
    case("sppf", [("Conv", ["x", "w"], ["a"], {})] +
         [("MaxPool", [i], [o], dict(kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)) for i, o in
          [("a", "p1"), ("p1", "p2"), ("p2", "p3")]] +
         [("Concat", ["a", "p1", "p2", "p3"], ["k"], {"axis": 1}), ("Conv", ["k", "w2"], ["y"], {})],
         {"x": (2, 16, 11, 13)}, {"w": w(16, 16, 1, 1), "w2": w(16, 64, 1, 1)})
    case("upsample_concat", [("Resize", ["x", "", "scales"], ["u"],
                              dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")),
                             ("Concat", ["u", "z"], ["k"], {"axis": 1}), ("Conv", ["k", "w"], ["y"], {})],
         {"x": (1, 16, 5, 6), "z": (1, 8, 10, 12)},
         {"scales": np.array([1, 1, 2, 2], np.float32), "w": w(16, 24, 1, 1)})
    case("shuffle", [("Reshape", ["x", "s1"], ["a"], {}), ("Transpose", ["a"], ["b"], {"perm": [0, 2, 1, 3, 4]}),
                     ("Reshape", ["b", "s2"], ["y"], {})], {"x": (2, 12, 4, 5)},
         {"s1": np.array([2, 3, 4, 4, 5]), "s2": np.array([2, 12, 4, 5])})
    # yolov5's and yolov8's heads, small
    case("head_v5", [("Conv", ["x", "w", "b"], ["c"], {}), ("Reshape", ["c", "s1"], ["r"], {}),
                     ("Transpose", ["r"], ["t"], {"perm": [0, 1, 3, 4, 2]}), ("Sigmoid", ["t"], ["g"], {}),
                     ("Split", ["g", "parts"], ["xy", "wh", "sc"], {"axis": 4}), ("Mul", ["xy", "two"], ["a"], {}),
                     ("Add", ["a", "grid"], ["d"], {}), ("Mul", ["d", "stride"], ["e"], {}),
                     ("Mul", ["wh", "two"], ["f"], {}), ("Pow", ["f", "two"], ["h"], {}), ("Mul", ["h", "grid"], ["i"], {}),
                     ("Concat", ["e", "i", "sc"], ["k"], {"axis": 4}), ("Reshape", ["k", "s2"], ["y"], {})],
         {"x": (2, 16, 4, 6)},
         {"w": w(21, 16, 1, 1), "b": w(21), "s1": np.array([2, 3, 7, 4, 6]), "parts": np.array([2, 2, 3]),
          "two": np.float32(2), "stride": np.float32(8), "grid": rng.random((1, 3, 4, 6, 2)).astype(np.float32),
          "s2": np.array([2, 72, 7])})
    case("head_v8", [("Conv", ["x", "w"], ["c"], {}), ("Reshape", ["c", "s1"], ["r"], {}),
                     ("Conv", ["z", "w"], ["c2"], {}), ("Reshape", ["c2", "s1b"], ["r2"], {}),
                     ("Concat", ["r", "r2"], ["j"], {"axis": 2}), ("Reshape", ["j", "s2"], ["k"], {}),
                     ("Transpose", ["k"], ["t"], {"perm": [0, 2, 1, 3]}), ("Softmax", ["t"], ["q"], {"axis": 1}),
                     ("Conv", ["q", "bins"], ["d"], {}), ("Reshape", ["d", "s3"], ["e"], {}),
                     ("Slice", ["e", "o0", "o2", "o1"], ["near"], {}), ("Slice", ["e", "o2", "o4", "o1"], ["far"], {}),
                     ("Sub", ["pts", "near"], ["f"], {}), ("Add", ["pts", "far"], ["g"], {}), ("Add", ["f", "g"], ["h"], {}),
                     ("Sub", ["g", "f"], ["i"], {}), ("Div", ["h", "two"], ["l"], {}), ("Concat", ["l", "i"], ["m"], {"axis": 1}),
                     ("Mul", ["m", "two"], ["n"], {}), ("Sigmoid", ["j"], ["u"], {}),
                     ("Concat", ["n", "u"], ["y"], {"axis": 1})],
         {"x": (2, 16, 4, 6), "z": (2, 16, 2, 3)},
         {"w": w(64, 16, 1, 1), "s1": np.array([2, 64, 24]), "s1b": np.array([2, 64, 6]), "s2": np.array([2, 4, 16, 30]),
          "bins": np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1), "s3": np.array([2, 4, 30]), "o0": np.array([0]),
          "o1": np.array([1]), "o2": np.array([2]), "o4": np.array([4]),
          "pts": rng.random((1, 2, 30)).astype(np.float32), "two": np.float32(2)})


def products():
    case("gemm", [("Gemm", ["x", "w", "b"], ["y"], {"transB": 1})], {"x": (5, 64)}, {"w": w(30, 64), "b": w(30)})
    case("gemm_plain", [("Gemm", ["x", "z", "b"], ["y"], {"transA": 1, "alpha": 0.5, "beta": 2.0})],
         {"x": (7, 5), "z": (7, 9)}, {"b": w(5, 9)})
    case("matmul_bias_gelu",
         [("MatMul", ["x", "w"], ["m"], {}), ("Add", ["b", "m"], ["a"], {}), ("Div", ["a", "r2"], ["d"], {}),
          ("Erf", ["d"], ["e"], {}), ("Add", ["e", "one"], ["f"], {}), ("Mul", ["a", "f"], ["g"], {}),
          ("Mul", ["g", "half"], ["y"], {})], {"x": (2, 19, 64)},
         {"w": w(64, 128) * 1.4, "b": w(128), "r2": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)})
    case("matmul_residual", [("MatMul", ["x", "w"], ["m"], {}), ("Add", ["m", "b"], ["a"], {}), ("Add", ["z", "a"], ["y"], {})],
         {"x": (2, 19, 64), "z": (2, 19, 64)}, {"w": w(64, 64), "b": w(64)})
    case("matmul_batch", [("MatMul", ["x", "z"], ["y"], {})], {"x": (2, 3, 7, 20), "z": (3, 20, 9)})
    for d, s in [(64, 50), (32, 197), (64, 130)]:
        case(f"attention_{d}_{s}",
             [("MatMul", ["x", "w"], ["p"], {}), ("Reshape", ["p", "s1"], ["r"], {}),
              ("Transpose", ["r"], ["t"], {"perm": [2, 0, 3, 1, 4]}),
              ("Gather", ["t", "i0"], ["q"], {"axis": 0}), ("Gather", ["t", "i1"], ["k"], {"axis": 0}),
              ("Gather", ["t", "i2"], ["v"], {"axis": 0}), ("Mul", ["q", "f"], ["q2"], {}),
              ("Transpose", ["k"], ["kt"], {"perm": [0, 1, 3, 2]}), ("MatMul", ["q2", "kt"], ["a"], {}),
              ("Softmax", ["a"], ["sm"], {"axis": -1}), ("MatMul", ["sm", "v"], ["o"], {}),
              ("Transpose", ["o"], ["ot"], {"perm": [0, 2, 1, 3]}), ("Reshape", ["ot", "s2"], ["y"], {})],
             {"x": (2, s, 48)}, {"w": w(48, 3 * 2 * d) * 4, "s1": np.array([2, s, 3, 2, d]), "i0": np.int64(0),
                                 "i1": np.int64(1), "i2": np.int64(2), "f": np.float32(d ** -0.5),
                                 "s2": np.array([2, s, 2 * d])})
    # A block of torchvision's vision transformer, as it is exported: [sequence, batch, width] inside.
    n, q, e, h = 3, 17, 128, 2
    nodes = [("LayerNormalization", ["x", "g1", "b1"], ["l1"], {"axis": -1}), ("Transpose", ["l1"], ["t1"], {"perm": [1, 0, 2]}),
             ("MatMul", ["t1", "wi"], ["m1"], {}), ("Add", ["bi", "m1"], ["a1"], {}), ("Reshape", ["a1", "split"], ["r1"], {}),
             ("Unsqueeze", ["r1", "zero"], ["u1"], {}), ("Transpose", ["u1"], ["t2"], {"perm": [3, 1, 2, 0, 4]}),
             ("Squeeze", ["t2", "three"], ["s1"], {})]
    for i, k in enumerate("qkv"):
        nodes += [("Gather", ["s1", f"i{i}"], [k + "0"], {"axis": 0}), ("Reshape", [k + "0", "flat"], [k + "1"], {}),
                  ("Transpose", [k + "1"], [k + "2"], {"perm": [1, 0, 2]}), ("Reshape", [k + "2", "heads"], [k + "3"], {})]
    nodes += [("Transpose", ["k3"], ["k4"], {"perm": [0, 1, 3, 2]}), ("Mul", ["q3", "half"], ["q4"], {}),
              ("Mul", ["k4", "half"], ["k5"], {}), ("MatMul", ["q4", "k5"], ["dots"], {}),
              ("Softmax", ["dots"], ["shares"], {"axis": -1}), ("MatMul", ["shares", "v3"], ["o1"], {}),
              ("Transpose", ["o1"], ["o2"], {"perm": [2, 0, 1, 3]}), ("Reshape", ["o2", "rows"], ["o3"], {}),
              ("Gemm", ["o3", "wo", "bo"], ["o4"], {"transB": 1}), ("Reshape", ["o4", "apart"], ["o5"], {}),
              ("Transpose", ["o5"], ["o6"], {"perm": [1, 0, 2]}), ("Add", ["o6", "x"], ["x2"], {}),
              ("LayerNormalization", ["x2", "g1", "b1"], ["l2"], {"axis": -1}), ("MatMul", ["l2", "w1"], ["f1"], {}),
              ("Relu", ["f1"], ["f2"], {}), ("MatMul", ["f2", "w2"], ["f3"], {}), ("Add", ["x2", "f3"], ["y"], {})]
    case("transformer", nodes, {"x": (n, q, e)},
         {"g1": w(e) + 1, "b1": w(e), "wi": w(e, 3 * e), "bi": w(3 * e), "split": np.array([q, n, 3, e]), "zero": np.array([0]),
          "three": np.array([3]), "i0": np.int64(0), "i1": np.int64(1), "i2": np.int64(2), "flat": np.array([q, n * h, e // h]),
          "heads": np.array([n, h, q, e // h]), "half": np.float32(0.35), "rows": np.array([q * n, e]), "wo": w(e, e),
          "bo": w(e), "apart": np.array([q, n, e]), "w1": w(e, 256), "w2": w(256, e)})
    case("layer_norm", [("LayerNormalization", ["x", "s", "b"], ["y"], {"axis": -1, "epsilon": 1e-6})], {"x": (2, 9, 96)},
         {"s": w(96) + 1, "b": w(96)})
    case("layer_norm_odd", [("LayerNormalization", ["x", "s"], ["y"], {"axis": 1})], {"x": (3, 5, 7)}, {"s": w(5, 7) + 1})
    for axis in (1, 2, -1):
        case(f"softmax_{axis}", [("Softmax", ["x"], ["y"], {"axis": axis})], {"x": (2, 5, 6, 70)})
    case("softmax_old", [("Softmax", ["x"], ["y"], {"axis": 1})], {"x": (2, 5, 6)}, opset=11)


def recurrent():
    # steps, items, inputs, hidden units: weights in registers (up to 64, and 128 in f16), and larger ones
    for t, n, i, h, direction in [(5, 3, 20, 7, "forward"), (9, 2, 24, 64, "bidirectional"), (6, 5, 8, 96, "reverse"),
                                  (4, 6, 16, 130, "bidirectional"), (12, 1, 40, 48, "forward")]:
        d = 2 if direction == "bidirectional" else 1
        case(f"lstm_{h}_{direction}",
             [("LSTM", ["x", "w", "r", "b", "", "h0", "c0"], ["y", "yh", "yc"], {"hidden_size": h, "direction": direction})],
             {"x": (t, n, i)}, {"w": w(d * 4 * h, i).reshape(d, 4 * h, i), "r": w(d * 4 * h, h).reshape(d, 4 * h, h),
                                "b": w(d, 8 * h), "h0": w(d, n, h), "c0": w(d, n, h)}, outputs=("y", "yh", "yc"), opset=14)
    # Without a name, and its first output absent.
    case("lstm_plain", [("LSTM", ["x", "w", "r"], ["", "yh"], {"hidden_size": 16, "name": ""}), ("Relu", ["yh"], ["y"], {})],
         {"x": (7, 2, 8)}, {"w": w(64, 8)[None], "r": w(64, 16)[None]}, opset=14)
    # A reader of text: a row of features, two layers in both directions, a number a character.
    h = 48
    nodes = [("Conv", ["x", "k"], ["c"], {}), ("Squeeze", ["c", "two"], ["s"], {}), ("Transpose", ["s"], ["t"], {"perm": [2, 0, 1]})]
    last = "t"
    for i in range(2):
        nodes += [("LSTM", [last, f"w{i}", f"r{i}", f"b{i}"], [f"l{i}"], {"hidden_size": h, "direction": "bidirectional"}),
                  ("Transpose", [f"l{i}"], [f"lt{i}"], {"perm": [0, 2, 1, 3]}), ("Reshape", [f"lt{i}", "join"], [f"j{i}"], {})]
        last = f"j{i}"
    nodes += [("Transpose", [last], ["o"], {"perm": [1, 0, 2]}), ("MatMul", ["o", "m"], ["p"], {}), ("Add", ["p", "mb"], ["q"], {}),
              ("Softmax", ["q"], ["y"], {"axis": 2})]
    case("crnn", nodes, {"x": (3, 16, 1, 11)},
         {"k": w(32, 16, 1, 1), "two": np.array([2]), "join": np.array([0, 0, -1]), "m": w(2 * h, 30), "mb": w(30),
          **{f"w{i}": w(2 * 4 * h, 32 if i == 0 else 2 * h).reshape(2, 4 * h, -1) for i in range(2)},
          **{f"r{i}": w(2 * 4 * h, h).reshape(2, 4 * h, h) for i in range(2)}, **{f"b{i}": w(2, 8 * h) for i in range(2)}}, opset=14)


def moving():
    case("pad_slice", [("Pad", ["x", "p", "v"], ["a"], {}), ("Slice", ["a", "s", "e", "ax", "st"], ["y"], {})],
         {"x": (1, 3, 6, 7)}, {"p": np.array([0, 0, 1, 2, 0, 0, 2, 1]), "v": np.float32(-1.5), "s": np.array([8, 0]),
                               "e": np.array([-100, 9]), "ax": np.array([2, 3]), "st": np.array([-2, 3])})
    case("gather", [("Gather", ["x", "i"], ["y"], {"axis": 2})], {"x": (2, 3, 6, 4)}, {"i": np.array([[5, 0], [-2, 3]])})
    for mode in ("DCR", "CRD"):
        case(f"depth_to_space_{mode}", [("DepthToSpace", ["x"], ["y"], {"blocksize": 2, "mode": mode})], {"x": (2, 16, 3, 5)})
    case("space_to_depth", [("Conv", ["x", "w"], ["c"], {}), ("SpaceToDepth", ["c"], ["y"], {"blocksize": 2})],
         {"x": (1, 8, 6, 8)}, {"w": w(8, 8, 1, 1)})
    case("expand", [("Expand", ["x", "s"], ["a"], {}), ("Relu", ["a"], ["y"], {})], {"x": (3, 1, 5)}, {"s": np.array([2, 3, 4, 5])})
    case("linear_resize", [("Resize", ["x", "", "", "s"], ["y"], dict(mode="linear"))], {"x": (1, 8, 5, 6)}, {"s": np.array([1, 8, 9, 15])})
    case("corners_resize", [("Resize", ["x", "", "", "s"], ["y"], dict(mode="linear", coordinate_transformation_mode="align_corners"))],
         {"x": (1, 3, 5, 6)}, {"s": np.array([1, 3, 9, 15])})
    for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"):
        attrs = {"keepdims": 1}
        case(op.lower(), [("Conv", ["x", "w"], ["c"], {}),
                          (op, ["c", "ax"] if op == "ReduceSum" else ["c"], ["y"],
                           attrs if op == "ReduceSum" else {**attrs, "axes": [2, 3]})],
             {"x": (2, 8, 5, 6)}, {"w": w(16, 8, 1, 1), "ax": np.array([2, 3])})
    case("reduce_rows", [("ReduceMean", ["x"], ["y"], {"axes": [-1], "keepdims": 0})], {"x": (4, 5, 77)})
    case("global_pool", [("Conv", ["x", "w"], ["c"], {}), ("GlobalAveragePool", ["c"], ["g"], {}), ("Flatten", ["g"], ["f"], {}),
                         ("Gemm", ["f", "w2", "b"], ["y"], {"transB": 1})], {"x": (3, 8, 7, 7)},
         {"w": w(40, 8, 1, 1), "w2": w(10, 40), "b": w(10)})
    case("squeeze_excite",
         [("Conv", ["x", "w"], ["c"], {}), ("GlobalAveragePool", ["c"], ["g"], {}), ("Conv", ["g", "w1"], ["d"], {}), ("Relu", ["d"], ["e"], {}),
          ("Conv", ["e", "w2"], ["f"], {}), ("HardSigmoid", ["f"], ["h"], {}), ("Mul", ["c", "h"], ["y"], {})], {"x": (2, 8, 7, 7)},
         {"w": w(32, 8, 1, 1), "w1": w(8, 32, 1, 1), "w2": w(32, 8, 1, 1)})
    for op, extra in [("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1}), ("MaxPool", {"ceil_mode": 1})]:
        case(f"{op.lower()}_{len(extra)}_{extra.get('ceil_mode', 0)}",
             [(op, ["x"], ["y"], dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, **extra))], {"x": (2, 8, 12, 9)})


def elements():
    for op, attrs in [("Elu", {"alpha": 0.7}), ("Selu", {}), ("Celu", {"alpha": 1.3}), ("Softsign", {}), ("HardSigmoid", {}),
                      ("Exp", {}), ("Abs", {}), ("Neg", {}), ("Floor", {}), ("Ceil", {}), ("Round", {}), ("Sign", {}), ("Sin", {}),
                      ("Cos", {}), ("Erf", {}), ("Softplus", {})]:
        # Steps of whole numbers: what f16 makes of 0.4999 is not the operator's fault.
        x = np.round(rng.standard_normal((2, 3, 8, 5)) * 16) / 16 + 1 / 64
        case(f"unary_{op.lower()}", [(op, ["x"], ["y"], attrs)], {"x": x})
    case("unary_positive", [("Sqrt", ["x"], ["a"], {}), ("Log", ["a"], ["b"], {}), ("Reciprocal", ["x"], ["c"], {}),
                            ("Add", ["b", "c"], ["y"], {})], {"x": rng.random((3, 40)) + 0.5})
    case("broadcast", [("Mul", ["x", "a"], ["m"], {}), ("Sub", ["b", "m"], ["n"], {}), ("Div", ["n", "c"], ["o"], {}),
                       ("Max", ["o", "x", "a"], ["p"], {}), ("Min", ["p", "b"], ["y"], {})], {"x": (2, 5, 6, 8)},
         {"a": w(5, 1, 1), "b": w(2, 1, 6, 1), "c": np.float32(1.7)})
    case("prelu", [("PRelu", ["x", "s"], ["y"], {})], {"x": (2, 5, 6, 7)}, {"s": w(5, 1, 1)})
    # More than fits one launch.
    nodes, last = [], "x"
    for i in range(30):
        nodes += [("Mul", [last, f"k{i % 9}"], [f"m{i}"], {}), ("Tanh", [f"m{i}"], [f"t{i}"], {}), ("Add", [f"t{i}", "x"], [f"a{i}"], {})]
        last = f"a{i}"
    case("long_chain", nodes + [("Identity", [last], ["y"], {})], {"x": (2, 5, 6, 8)}, {f"k{i}": w(5, 1, 1) for i in range(9)})
    case("two_outputs", [("Conv", ["x", "w"], ["c"], {}), ("Relu", ["c"], ["y"], {}), ("Add", ["c", "y"], ["z"], {})],
         {"x": (1, 8, 5, 5)}, {"w": w(8, 8, 1, 1)}, outputs=("y", "z", "c"))


def shared():
    """Operators that the engine lacks, alone, between others, several times, and with shapes of the data's own."""
    conv = ("Conv", ["x", "w"], ["c"], {"pads": [1] * 4})
    weights = {"w": w(16, 8, 3, 3)}
    case("cpu_middle", [conv, ("CumSum", ["c", "two"], ["d"], {}), ("Conv", ["d", "w2"], ["e"], {"pads": [1] * 4}), ("Relu", ["e"], ["y"], {})],
         {"x": (2, 8, 40, 40)}, {**weights, "two": np.int64(2), "w2": w(64, 16, 3, 3) / 20})
    case("cpu_end", [conv, ("Relu", ["c"], ["r"], {}), ("ReduceMax", ["r"], ["m"], {"axes": [1], "keepdims": 0}), ("Flatten", ["m"], ["f"], {}),
                     ("TopK", ["f", "five"], ["y", "i"], {}), ("Cast", ["i"], ["z"], {"to": TensorProto.FLOAT})], {"x": (3, 8, 9, 9)},
         {**weights, "five": np.array([5])}, outputs=("y", "z"))
    # The first output leaves the GPU, the second comes back from the CPU, the third is of both.
    case("cpu_outputs", [conv, ("CumSum", ["c", "two"], ["d"], {}), ("Add", ["c", "d"], ["y"], {})], {"x": (1, 8, 6, 6)},
         {**weights, "two": np.int64(2)}, outputs=("c", "d", "y"))
    case("cpu_first", [("CumSum", ["x", "two"], ["d"], {}), ("Conv", ["d", "w"], ["c"], {"pads": [1] * 4}), ("Add", ["c", "b"], ["y"], {})],
         {"x": (2, 8, 30, 30)}, {"w": w(64, 8, 3, 3) / 10, "b": w(64, 1, 1), "two": np.int64(2)})
    case("cpu_dynamic", [conv, ("NonZero", ["c"], ["i"], {}), ("Transpose", ["i"], ["t"], {}), ("GatherND", ["c", "t"], ["y"], {})],
         {"x": (1, 8, 5, 5)}, weights)
    nodes, last = [conv], "c"
    for i in range(3):
        nodes += [("CumSum", [last, "two"], [f"s{i}"], {}), ("Conv", [f"s{i}", f"w{i}"], [f"c{i}"], {"pads": [1] * 4}), ("Tanh", [f"c{i}"], [f"t{i}"], {})]
        last = f"t{i}"
    case("cpu_thrice", nodes + [("Add", [last, "c"], ["y"], {})], {"x": (4, 8, 32, 32)},
         {**weights, "two": np.int64(2), **{f"w{i}": w(16, 16, 3, 3) / 10 for i in range(3)}}, f16=2e-2)


class Quantised:
    """Nodes and constants of a graph whose tensors pass QuantizeLinear and DequantizeLinear."""

    def __init__(self, dtype):
        self.dtype, self.nodes, self.consts = dtype, [], {}

    def pair(self, x, scale, zero=0):
        zero = zero if self.dtype == np.uint8 else 0
        self.consts |= {x + "_s": np.float32(scale), x + "_z": self.dtype(zero)}
        self.nodes += [("QuantizeLinear", [x, x + "_s", x + "_z"], [x + "_q"], {}),
                       ("DequantizeLinear", [x + "_q", x + "_s", x + "_z"], [x + "_d"], {})]
        return x + "_d"

    def weights(self, name, *shape, rows=True):
        real = w(*shape)
        top = np.abs(real).reshape(shape[0], -1).max(1) if rows else np.abs(real).max()
        scale = (top / 120).astype(np.float32)
        q = np.clip(np.round(real / (scale.reshape(-1, *[1] * (len(shape) - 1)) if rows else scale)), -127, 127)
        self.consts |= {name + "_q": q.astype(np.int8), name + "_s": scale}
        self.consts[name + "_z"] = np.zeros_like(scale, dtype=np.int8)
        self.nodes.append(("DequantizeLinear", [name + "_q", name + "_s", name + "_z"], [name], {"axis": 0}))
        return name

    def conv(self, x, out, c, k, r=1, act="silu", **attrs):
        self.weights(out + "_w", k, c, r, r)
        self.consts[out + "_b"] = w(k)
        to = out + "_c" if act else out
        self.nodes.append(("Conv", [x, out + "_w", out + "_b"], [to], {"pads": [r // 2] * 4, **attrs}))
        if act == "silu":
            self.nodes += [("Sigmoid", [to], [out + "_g"], {}), ("Mul", [to, out + "_g"], [out], {})]
        elif act:
            self.nodes.append((act, [to], [out], {}))
        return out


def quantised():
    """The bound of int8 is one step of the last grid (and what f16 does), by the largest number."""
    for dtype, zero, kind in [(np.int8, 0, "s8"), (np.uint8, 115, "u8")]:
        for c, k, r, stride, act in [(16, 32, 3, 1, "silu"), (32, 64, 1, 1, "Relu"), (64, 40, 3, 2, "silu"), (48, 255, 1, 1, None),
                                     (128, 128, 3, 1, "silu"), (16, 16, 1, 1, "silu")]:
            # Behind a convolution, so that there is a value to lie as 8-bit integers; its sums are whole numbers of
            # a coarse grid, which f16 holds, and none is a close call.
            q = Quantised(dtype)
            x = q.conv("x", "a", 8, c, act=None)
            q.conv(q.pair(x, 0.04, zero), "y", c, k, r, act, strides=[stride] * 2)
            case(f"q_{kind}_conv_{c}_{k}_{r}_{stride}", q.nodes, {"x": (2, 8, 13, 11)}, q.consts, f32=4e-2, f16=4e-2, int8=4e-2)
        q = Quantised(dtype)
        q.conv(q.pair(q.conv("x", "a", 8, 32), 0.045, zero // 8), "b", 32, 32, 3)
        q.nodes.append(("Add", ["a_d", q.pair("b", 0.045, zero // 8)], ["c"], {}))
        q.conv(q.pair("c", 0.04, zero // 8), "d", 32, 48, 1)
        q.nodes += [("Concat", ["d_d", "a_d"], ["e"], {"axis": 1})]
        q.pair("d", 0.045, zero // 8)
        q.conv(q.pair("e", 0.045, zero // 8), "y", 80, 24, 3)
        case(f"q_{kind}_block", sorted_nodes(q.nodes), {"x": (2, 8, 12, 9)}, q.consts, f32=8e-2, f16=8e-2, int8=8e-2)
        q = Quantised(dtype)
        x = q.pair(q.conv("x", "a", 8, 16), 0.045, zero // 8)
        q.nodes += [("MaxPool", [i], [o], dict(kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
                    for i, o in [(x, "p1"), ("p1", "p2"), ("p2", "p3")]]
        q.nodes += [("Concat", [x, "p1", "p2", "p3"], ["k"], {"axis": 1}),
                    ("Resize", [q.conv(q.pair("k", 0.045, zero // 8), "m", 64, 32), "", "scales"], ["u"],
                     dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"))]
        q.consts["scales"] = np.array([1, 1, 2, 2], np.float32)
        # Room for the largest numbers: whoever does not round to the grid does not clip either.
        q.conv(q.pair("u", 0.09, zero // 8), "y", 32, 16, 1)
        case(f"q_{kind}_pools", sorted_nodes(q.nodes), {"x": (2, 8, 11, 13)}, q.consts, f32=8e-2, f16=8e-2, int8=8e-2)
    # What is read as it is too, weights with one scale, and a pair before an output.
    q = Quantised(np.int8)
    q.weights("extra", 32, 32, 3, 3, rows=False)
    x = q.conv("x", "a", 8, 32)
    q.conv(q.pair(x, 0.06), "b", 32, 32, 3)
    q.nodes += [("Add", ["a", "b"], ["s"], {}), ("Conv", [q.pair("s", 0.05), "extra"], ["y"], {"pads": [1] * 4})]
    q.pair("b", 0.04)
    case("q_s8_plainly", sorted_nodes(q.nodes), {"x": (1, 8, 9, 10)}, q.consts, f32=5e-2, f16=5e-2, int8=5e-2,
         outputs=("y", "b_d"))
    q = Quantised(np.uint8)
    q.consts |= {"s": np.abs(w(6)) + 0.01, "z": rng.integers(100, 150, 6).astype(np.uint8)}
    q.nodes += [("QuantizeLinear", ["x", "s", "z"], ["a"], {"axis": 1}), ("DequantizeLinear", ["a", "s", "z"], ["y"], {"axis": 1})]
    case("q_per_axis", q.nodes, {"x": np.round(rng.standard_normal((2, 6, 5, 7)) * 8) / 8}, q.consts, f32=0.1, f16=0.1)


def sorted_nodes(nodes):
    """Producers first."""
    made, out, left = set(), [], list(nodes)
    outputs = {o for n in nodes for o in n[2]}
    while left:
        ready = [n for n in left if all(i not in outputs or i in made for i in n[1])]
        out += ready
        made |= {o for n in ready for o in n[2]}
        left = [n for n in left if n not in ready]
    return out


def node_tests():
    import warnings

    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    have = set(open(os.path.join(os.path.dirname(__file__), "engine_operators.txt")).read().split())
    skipped = 0
    for t in collect_testcases(None):
        model = t.model
        if len(model.graph.node) != 1 or not t.data_sets or model.graph.node[0].op_type not in have:
            continue
        ins, outs = t.data_sets[0]
        ok = all(isinstance(a, np.ndarray) for a in list(ins) + list(outs)) and len(outs) == 1
        ok = ok and ins[0].dtype == np.float32 and outs[0].dtype == np.float32
        ok = ok and 0 < ins[0].ndim <= 6 and ins[0].size
        if not ok or "training" in t.name or model.opset_import[0].version > 28:
            skipped += 1
            continue
        # All but the first input are constants to the engine.
        names = [i.name for i in model.graph.input]
        for name, value in list(zip(names, ins))[1:]:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
        del model.graph.input[1:]
        write("node_" + t.name[5:], model, {names[0]: ins[0]}, f32=2e-4, f16=8e-3, outputs=outs)
    print("node tests not fit for the engine's types:", skipped, file=sys.stderr)


def set_shape(model, shape):
    """Fixes the first input's shape, and leaves all that follows from it to be inferred anew; the input."""
    v = model.graph.input[0]
    for d, s in zip(v.type.tensor_type.shape.dim, shape):
        d.Clear()
        d.dim_value = s
    del model.graph.value_info[:]
    for o in model.graph.output:
        o.type.tensor_type.ClearField("shape")
    return v


def networks(omma):
    for name, size in [("yolov8n", 64), ("yolov5s", 64), ("resnet50", 64), ("mobilenet_v2", 64)]:
        path = os.path.join(args.out, "net.tmp.onnx")
        extra = ["--size", f"{size}x{size}"] if size else []
        done = subprocess.run([omma, "model", "synth", name, "--dynamic", "-o", path, *extra], capture_output=True, text=True)
        if done.returncode:
            print(name, done.stderr.strip(), file=sys.stderr)
            continue
        model = onnx.load(path)
        os.remove(path)
        fixed(model, size)
        # Random weights make rounding grow: ONNX Runtime itself, each result rounded to f16, is off by 0.046 (resnet50)
        # and 0.116 (yolov5s) of the root mean square.
        x = model.graph.input[0]
        shape = [d.dim_value for d in x.type.tensor_type.shape.dim]
        write("pic_" + name, model, {x.name: rng.random(shape).astype(np.float32)}, f32=-1e-3, f16=-0.1)


def fixed(model, size):
    """Two pictures of this size."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    set_shape(model, [dims[0].dim_value or 2, 3] + [d.dim_value or size for d in dims[2:]])


def quantised_networks(omma):
    """What `omma quantize` makes of networks: calibrated with smooth noise, as their random weights see nothing else."""
    import cv2

    folder = os.path.join(args.out, "calib.tmp")
    os.makedirs(folder, exist_ok=True)
    for i in range(16):
        cv2.imwrite(f"{folder}/{i}.png", cv2.resize(rng.integers(0, 256, (6 + i, 8 + i, 3), dtype=np.uint8), (64, 64)))
    for name, target in [("yolov8n", "cuda"), ("yolov5s", "cuda"), ("yolov8n", "cpu")]:
        path, to = os.path.join(args.out, "net.tmp.onnx"), os.path.join(args.out, "int8.tmp.onnx")
        for command in [["model", "synth", name, "--dynamic", "--size", "64x64", "-o", path],
                        ["quantize", path, "-o", to, "--calib", folder, "--target", target, "--weight-bits", "8", "--method",
                         "minmax", "--no-fit-rounding", "-q"]]:
            done = subprocess.run([omma, *command], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.strip()}")
        model = onnx.load(to)
        fixed(model, 64)
        picture = cv2.imread(f"{folder}/3.png")[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(255)
        x = np.concatenate([picture, picture[:, :, ::-1]]).astype(np.float32)
        write(f"pic_q_{name}_{target}", model, {model.graph.input[0].name: x}, f32=-0.1, f16=-0.15, int8=-0.15)
        for f in (path, to):
            os.remove(f)
    for f in os.listdir(folder):
        os.remove(os.path.join(folder, f))
    os.rmdir(folder)


def real(folder):
    # Trained weights, so that rounding does not grow as in random ones; they want to see something: a line of text.
    import cv2

    for name, shape, bound in [("plate-rec", (2, 3, 32, 168), 2e-2), ("ppocr-cls", (2, 3, 48, 192), 2e-2), ("centerface", (1, 3, 96, 128), 2e-2),
                               ("ppocr-det", (1, 3, 96, 128), 5e-2), ("ppocr-rec", (2, 3, 48, 160), 5e-2), ("plate-det", (1, 3, 96, 128), 2e-2)]:
        path = os.path.join(folder, name + ".onnx")
        if not os.path.exists(path):
            continue
        model = onnx.load(path)
        v = set_shape(model, shape)
        n, _, h, width = shape
        page = np.full((h, width, 3), 230, np.uint8)
        for y in range(h // 32):
            cv2.putText(page, "OMMA 4711", (4, 24 + 32 * y), cv2.FONT_HERSHEY_SIMPLEX, min(0.8, width / 190), (20, 40, 90), 2)
        x = np.stack([page.transpose(2, 0, 1)] * n) + rng.random(shape) * 10
        x = x if name == "centerface" else x / 127.5 - 1
        write("pic_" + name, model, {v.name: x.astype(np.float32)}, f32=-1e-3, f16=-bound)


if args.operators:
    user_operators()
    listing.close()
    sys.exit()
convolutions()
structure()
products()
recurrent()
moving()
elements()
shared()
quantised()
one_number_apart()
if args.node_tests:
    node_tests()
if args.models:
    networks(args.models)
    quantised_networks(args.models)
if args.real:
    real(args.real)
listing.close()
