"""The CUDA engine's lowering on a machine without a GPU: its programs, run by kernels in plain C, against ONNX Runtime.

The kernels themselves are compared with the same cases by scripts/gpu-test.
"""
import os
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

TOOL = BUILD / "tests/conform/test_engine_emulated"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="built without CUDA")


def compare(tmp_path, *args, timeout):
    cases = tmp_path / "cases"
    subprocess.run([sys.executable, str(ROOT / "tests/conform/make_engine_cases.py"), str(cases), *args], check=True,
                   timeout=timeout)
    # Operators that the engine lacks go to OpenVINO, whose threads need this where a sanitizer is loaded.
    env = {**os.environ, "OMMA_PLUGINS": str(BUILD / "src/backend/openvino"), "TBB_ENABLE_SANITIZERS": "1"}
    done = subprocess.run([str(TOOL), "cpu", str(cases)], capture_output=True, text=True, timeout=timeout, env=env)
    wrong = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert done.returncode == 0 and not wrong, "\n".join(wrong) or done.stderr
    return done.stdout


def test_operators_and_patterns(tmp_path):
    out = compare(tmp_path, timeout=240)
    assert out.count("ok ") > 250
    if (BUILD / "src/backend/openvino/omma-openvino.so").exists():
        assert out.count("ok      cpu_") == 18


@pytest.mark.long
def test_onnx_node_tests(tmp_path):
    out = compare(tmp_path, "--node-tests", timeout=600)
    assert out.count("ok      node_") > 900


@pytest.mark.long
def test_networks(tmp_path):
    out = compare(tmp_path, "--models", str(BUILD / "omma"), timeout=900)
    for name in ("yolov8n", "yolov5s", "resnet50", "mobilenet_v2"):
        assert f"ok      pic_{name} f16" in out


@pytest.mark.long
def test_real_models(tmp_path):
    out = compare(tmp_path, "--real", str(ROOT / ".deps/models"), timeout=900)
    for model in (ROOT / ".deps/models").glob("*.onnx"):
        assert f"ok      pic_{model.stem} f16" in out
