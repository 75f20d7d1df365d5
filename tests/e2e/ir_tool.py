"""Runs tool_ir (tests/unit/tool_ir.c), which loads, infers, folds and saves without the rest of omma; and makes models for it."""
import json
import subprocess

import numpy as np
from conftest import BUILD
from onnx import TensorProto, helper, numpy_helper

TOOL = BUILD / "tests/unit/tool_ir"


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
