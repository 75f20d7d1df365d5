"""Users' operators without a GPU: which files load, that shapes follow, that the engine's lowering serves them."""
import os
import re
import shutil
import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, helper

from conftest import BUILD, ROOT

CONFORM = BUILD / "tests/conform"
HOST = CONFORM / "operator_host.so"
NVCC = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"


@pytest.fixture
def model(tmp_path):
    node = helper.make_node("DepthwiseConvAct", ["x", "w", "b"], ["y"], name="dw", domain="com.example", stride=2)
    graph = helper.make_graph(
        [node], "own", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, [3, 1, 3, 3], [0.1] * 27), helper.make_tensor("b", TensorProto.FLOAT, [3], [0] * 3)])
    path = tmp_path / "own.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)],
                                ir_version=8), path)
    return path


def check(model, *files, env=""):
    options = [o for f in files for o in ("--operators", str(f))]
    return subprocess.run([str(BUILD / "omma"), "model", "check", str(model), "--quick", *options], capture_output=True, text=True,
                          timeout=60, env={**os.environ, "OMMA_OPERATORS": env})


def test_shapes_follow(model):
    for extra in ([], ["--operators"]):
        done = subprocess.run([str(BUILD / "omma"), "model", "inspect", str(model)], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "OMMA_OPERATORS": str(HOST) if extra else ""})
        assert done.returncode == 0, done.stderr
        assert ("?x3x?x16" in done.stdout) == bool(extra), done.stdout


@pytest.mark.parametrize("name, why", [
    ("again", r"operator 'depthwise on the host' is for com.example:DepthwiseConvAct, which .* of .*operator_host.so is for already"),
    ("version", "built for version 2 of the interface of operators; this omma has 1"),
    ("launch", "operator 0 of 'host' lacks launch"),
    ("empty", "'host' has no operators"),
])
def test_what_does_not_load(model, name, why):
    done = check(model, HOST, CONFORM / f"operator_{name}.so")
    assert done.returncode == 1 or done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and re.search(f"operator_{name}.so: {why}", done.stderr), done.stderr


def test_files_that_are_none(model, tmp_path):
    text = tmp_path / "text.so"
    text.write_text("no object")
    for path, why in [(tmp_path / "missing.so", "no such file of operators"), (text, "does not load"),
                      (BUILD / "tests/unit/shim_v4l2.so", r"exports no omma_operators\(\)")]:
        for done in (check(model, path), check(model, env=str(path))):
            assert done.returncode != 0
            assert len(done.stderr.strip().splitlines()) == 1 and re.search(f"{path.name}: {why}", done.stderr), done.stderr


def test_the_same_file_twice_is_one(model):
    assert "already" not in check(model, HOST, HOST, env=str(HOST)).stderr


def test_the_engine_runs_them(tmp_path):
    tool = CONFORM / "test_engine_emulated"
    if not tool.exists():
        pytest.skip("built without CUDA")
    cases = tmp_path / "cases"
    subprocess.run([sys.executable, str(ROOT / "tests/conform/make_engine_cases.py"), str(cases), "--operators"], check=True, timeout=120)
    done = subprocess.run([str(tool), "cpu", str(cases)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "OMMA_OPERATORS": str(HOST)})
    assert done.returncode == 0 and done.stdout.count("ok ") > 50, done.stdout
    done = subprocess.run([str(tool), "cpu", str(cases), "alone"], capture_output=True, text=True, timeout=120)
    assert "the CUDA engine has no such operator of this domain" in done.stdout


def test_a_node_without_its_first_output_is_the_engines(tmp_path):
    tool = CONFORM / "test_engine_emulated"
    if not tool.exists():
        pytest.skip("built without CUDA")
    # The host's LSTM would fail if it ran. Of zeros comes zero.
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=8)
    graph = helper.make_graph(
        [node], "own", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 8])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1, 32, 4], [0.1] * 128), helper.make_tensor("r", TensorProto.FLOAT, [1, 32, 8], [0.1] * 256)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "own.onnx")
    (tmp_path / "own.bin").write_bytes(bytes(4 * (5 * 2 * 4 + 2 * 8)))
    (tmp_path / "cases.txt").write_text("own 1e-4 4e-3 0\n")
    done = subprocess.run([str(tool), "cpu", str(tmp_path)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "OMMA_OPERATORS": str(HOST)})
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_documented_example_compiles(tmp_path):
    if not os.access(NVCC, os.X_OK):
        pytest.skip("no nvcc")
    page = (ROOT / "docs/operators.md").read_text()
    source = re.search(r"```cuda\n(.*?)```", page, re.S).group(1)
    (tmp_path / "scale.cu").write_text(source)
    command = re.search(r"^nvcc .*", page, re.M).group(0).split()
    command = [NVCC, *command[1:]]
    command[command.index("include")] = str(ROOT / "include")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    model = tmp_path / "scale.onnx"
    node = helper.make_node("Scale", ["x"], ["y"], domain="com.example", factor=2.0)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)],
                                ir_version=8), model)
    done = subprocess.run([str(BUILD / "omma"), "model", "inspect", str(model)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "OMMA_OPERATORS": str(tmp_path / "scale.so")})
    assert "1x3x8x8" in done.stdout.split("outputs")[1], done.stdout + done.stderr
