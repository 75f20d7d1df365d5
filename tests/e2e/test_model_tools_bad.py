"""Models that are unusual or wrong: they run, or one clear line says why not."""
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from test_model_tools_simplify import model_of, tensor

RNG = np.random.default_rng(2)
W = RNG.standard_normal((5, 3, 8, 8)).astype(np.float32) / 8


def one_line(text, *parts):
    assert text.count("\n") == 1 and all(p in text for p in parts), text


def classifier(kind, weights, cast):
    """A picture's mean response to five filters; the weights in another type, or all of the model."""
    to = TensorProto.FLOAT if cast else kind
    nodes = [helper.make_node("Cast", ["w"], ["wf"], to=to)] if cast else []
    nodes += [helper.make_node("Conv", ["x", "wf" if cast else "w"], ["c"], strides=[8, 8]),
              helper.make_node("GlobalAveragePool", ["c"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    graph = helper.make_graph(nodes, "g", [tensor("x", (1, 3, 32, 32), to)], [tensor("y", (1, 5), to)], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def half(kind):
    if kind == TensorProto.FLOAT16:
        return numpy_helper.from_array(W.astype(np.float16), "w")
    return helper.make_tensor("w", TensorProto.BFLOAT16, W.shape, W.ravel().tolist())


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    import cv2
    path = tmp_path_factory.mktemp("p") / "p.png"
    cv2.imwrite(str(path), RNG.integers(0, 256, (32, 32, 3), np.uint8))
    return path


def classes(omma, model, picture):
    said = omma("detect", "-m", model, picture, "--json", "-", "--top-k", "5").out
    found = json.JSONDecoder().raw_decode(said[said.index("{"):])[0]["images"][0]["objects"]
    return {o["class_id"]: o["score"] for o in found}


@pytest.mark.parametrize("kind,name", [(TensorProto.FLOAT16, "f16"), (TensorProto.BFLOAT16, "bf16")])
def test_half_weights_run(kind, name, omma, picture, tmp_path):
    """Weights of 16 bits behind a Cast: the same result as in 32 bits, up to their rounding."""
    onnx.save(classifier(kind, half(kind), cast=True), tmp_path / "m.onnx")
    onnx.save(classifier(TensorProto.FLOAT, numpy_helper.from_array(W, "w"), cast=False), tmp_path / "f32.onnx")
    said = json.loads(omma("model", "check", tmp_path / "m.onnx", "--json").out)
    assert said["runs"] and said["weights"][name] == W.size
    omma("model", "simplify", tmp_path / "m.onnx", "-o", tmp_path / "s.onnx")
    wanted = classes(omma, tmp_path / "f32.onnx", picture)
    for path in ("m.onnx", "s.onnx"):
        have = classes(omma, tmp_path / path, picture)
        assert set(have) == set(wanted) and max(abs(have[k] - wanted[k]) for k in wanted) < 0.02


def test_half_input_runs_or_says_why(omma, picture, tmp_path):
    onnx.save(classifier(TensorProto.FLOAT16, half(TensorProto.FLOAT16), cast=False), tmp_path / "m.onnx")
    said = json.loads(omma("model", "check", tmp_path / "m.onnx", "--json", code=None).out)
    assert any("16-bit floats" in note for note in said["notes"])
    done = omma("detect", "-m", tmp_path / "m.onnx", picture, code=None)
    if said["runs"]:
        assert done.code == 0, done
    else:
        assert done.code == 1
        one_line(done.err, "m.onnx")


def test_opset_too_new(omma, picture, tmp_path):
    model = classifier(TensorProto.FLOAT, numpy_helper.from_array(W, "w"), cast=False)
    model.opset_import[0].version = 99
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    for command in (("model", "check"), ("model", "inspect"), ("model", "simplify", "-o", tmp_path / "o.onnx")):
        one_line(omma(*command, tmp_path / "m.onnx", code=1).err, "m.onnx", "opset 99 is not supported, 9 to 28 are")
    one_line(omma("detect", "-m", tmp_path / "m.onnx", picture, code=1).err, "opset 99 is not supported")


def test_outputs_that_fit_no_family(omma, picture, tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["x"], ["b"])]
    model = model_of(nodes, [tensor("x", (1, 3, 32, 32))], [tensor("a", (1, 3, 32, 32)), tensor("b", (1, 3, 32, 32))])
    onnx.save(model, tmp_path / "m.onnx")
    said = json.loads(omma("model", "check", tmp_path / "m.onnx", "--json").out)
    assert said["family"] == "unknown" and any("no family" in note for note in said["notes"])
    one_line(omma("detect", "-m", tmp_path / "m.onnx", picture, code=None).err, "1x3x32x32", "--head")


def test_tools_refuse_in_one_line(omma, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07\xff\xff")
    for command in (("check",), ("simplify", "-o", tmp_path / "o.onnx"), ("cut", "--to", "x", "-o", tmp_path / "o.onnx"),
                    ("diff", tmp_path / "bad.onnx")):
        one_line(omma("model", *command, tmp_path / "bad.onnx", code=1).err, "bad.onnx")
    one_line(omma("model", "cut", tmp_path / "bad.onnx", "-o", tmp_path / "o.onnx", code=2).err, "--from or --to")
    one_line(omma("model", "simplify", tmp_path / "bad.onnx", code=2).err, "-o MODEL.onnx")
    one_line(omma("model", "check", tmp_path / "bad.onnx", "--device", "gpuu", code=None).err, "bad.onnx")
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize("flags,says", [(("--size", "0x0"), "--size '0x0': expected 'dynamic' or WxH"),
                                        (("--size", "0"), "--size '0': expected"), (("--batch", "0"), "--batch '0': expected")])
def test_batch_takes_no_size_of_nothing(flags, says, omma, tmp_path):
    onnx.save(classifier(TensorProto.FLOAT, numpy_helper.from_array(W, "w"), cast=False), tmp_path / "m.onnx")
    one_line(omma("model", "batch", tmp_path / "m.onnx", "-o", tmp_path / "o.onnx", *flags, code=2).err, says)
    assert not (tmp_path / "o.onnx").exists()
