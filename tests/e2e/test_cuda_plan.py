"""Plans of the CUDA engine on a machine without a GPU: what they hold is told; what is damaged inside is not a crash."""
import json
import struct
import subprocess

import pytest

from conftest import BUILD

PLUGIN = BUILD / "src/device/cuda/omma-cuda.so"
pytestmark = pytest.mark.skipif(not PLUGIN.exists(), reason="built without CUDA")

FORM = (b"omma cuda form 2\t9\t0\t2\t-\n"
        b"rung\t64\t84\t400000000\t7000000\t1048576\t31\t3\t1\t2\n"
        b"64,80,80,32>80,80,64 k1x1\tcudnn 3\t1234\t13\n{\"engine\": 1}\n"
        b"64,40,40,64>40,40,64 k3x3\ttiles 128x64x32\t77\t0\n"
        b"rung\t16\t80\t100000000\t7000000\t0\t0\t0\t35\t0\n")


def checksum(d):
    mask, n = (1 << 64) - 1, len(d) - 32
    h = struct.unpack_from("<Q", d, 8)[0] ^ 0xCBF29CE484222325 ^ n
    for (v,) in struct.iter_unpack("<Q", d[32:]):
        h = ((h ^ v) * 0x9E3779B97F4A7C15) & mask
        h ^= h >> 29
    return h ^ (h >> 32)


def plan(path, form, version="0.1.0"):
    model = b"not looked at"
    description = {"omma": version, "backend": "cuda", "engine": "CUDA 13.0, cuDNN 9.19.0", "device": "cuda:0",
                   "machine": "NVIDIA H200", "made_of": "y.onnx", "family": "yolov8", "note": "cuda f16", "precision": "f16",
                   "mode": "throughput", "normalize": "own", "channels": "own", "fit": "own", "threads": 0, "min_batch": 1,
                   "opt_batch": 1, "max_batch": 64, "made_us": 1, "model": {"offset": 4096, "length": len(model)},
                   "compiled": [{"width": 640, "height": 640, "batch": 64, "offset": 4160, "length": len(form)}]}
    size = 4160 + (len(form) + 63) // 64 * 64
    d = bytearray(size)
    text = json.dumps(description).encode()
    d[0:8] = b"OMMAPLAN"
    struct.pack_into("<IIQ", d, 8, 1, 4096 - 32, size)
    d[32:4096] = text.ljust(4096 - 32)
    d[4096:4096 + len(model)] = model
    d[4160:4160 + len(form)] = form
    struct.pack_into("<Q", d, 24, checksum(bytes(d)))
    path.write_bytes(d)
    return path


def inspect(path, *options):
    return subprocess.run([str(BUILD / "omma"), "build", str(path), "--inspect", *options], capture_output=True, text=True, timeout=60)


def test_parts_are_shown(tmp_path):
    path = plan(tmp_path / "y.plan", FORM)
    done = inspect(path)
    assert done.returncode == 0, done.stderr
    assert "batch 64: 84 steps, products 31 by cuDNN, 3 by cuBLASLt, 1 by own kernels, 408.0 MB" in done.stdout, done.stdout
    assert "batch 16: 80 steps" in done.stdout
    parts = json.loads(inspect(path, "--json", "-").stdout)["compiled"][0]["parts"]
    assert [p["batch"] for p in parts] == [64, 16] and parts[0]["bytes"] == 408048576 and parts[1]["steps"] == 80


@pytest.mark.parametrize("form", [FORM[:-30], FORM.replace(b"\t13\n", b"\t99\n"), b"something else", FORM + b"x"])
def test_a_damaged_form_is_no_crash(tmp_path, form):
    done = inspect(plan(tmp_path / "y.plan", form))
    assert done.returncode == 0 and "is refused: " in done.stdout and "batch 64: 84" not in done.stdout, done.stdout + done.stderr
    assert "compiled form" in json.loads(inspect(tmp_path / "y.plan", "--json", "-").stdout)["compiled"][0]["refused"]
