"""scripts/gpu-bench and its like where there is no GPU: what they would run exists, and what was measured is kept."""
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

SCRIPT = ROOT / "scripts/gpu-bench"


def bench(*args, **more):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, args)], capture_output=True, text=True, timeout=60, **more)


def parts():
    return bench("--list").stdout.split()


def commands(tmp_path):
    """(part and step, variables, command) of everything."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "a-int8.onnx").touch()
    shown = bench("--dry-run", "--build", BUILD, "--models", models, "--out", tmp_path / "out", *parts())
    assert shown.returncode == 0, shown.stderr
    for line in shown.stdout.splitlines():
        where, rest = re.match(r"\[(.*), \d+ s\] (.*)", line).groups()
        words = shlex.split(rest)
        n = next(i for i, w in enumerate(words) if not re.match(r"[A-Za-z_0-9]+=", w))
        yield where, words[:n], words[n:]


def test_every_command_exists(tmp_path):
    helps, seen = {}, set()
    for where, _, words in commands(tmp_path):
        seen.add(where.split(":")[0])
        program = words[0] if words[0] != sys.executable else words[1]
        if program == str(BUILD / "omma"):
            name = " ".join(words[1:3]) if words[1] == "model" else words[1]
            if name not in helps:
                helps[name] = subprocess.run([program, *name.split(), "--help"], capture_output=True, text=True, timeout=20).stdout
            for flag in (w for w in words if re.match(r"--?[a-z]", w)):
                assert re.search(rf"(^|\s|,){re.escape(flag.replace('--no-', '--[no-]'))}[ ,\n]", helps[name]) or \
                    re.search(rf"(^|\s|,){re.escape(flag)}[ ,\n]", helps[name]), f"{where}: omma {name} has no {flag}"
        elif program.startswith(str(ROOT)) and not program.startswith(str(BUILD)):
            text = open(program).read()
            for flag in (w for w in words if w.startswith("--") and not program.endswith(".sh")):
                assert f'"{flag}"' in text, f"{where}: {program} has no {flag}"
        else:
            name = program.removeprefix(str(BUILD) + "/")
            assert name in ("bench/gpu_engine", "tests/conform/infer"), where
    assert seen == set(parts())


def test_variables_are_read(tmp_path):
    text = (ROOT / "bench/gpu_pipeline.sh").read_text()
    for where, variables, words in commands(tmp_path):
        for v in variables:
            name = v.split("=")[0]
            assert name == "OMMA_CUDA_WITHOUT" or name in text, where


FAKE = """#!/bin/sh
echo "$@" >>{log}
case "$*" in *slow*) exec sleep 60 ;; *wrong*) echo '{{"error": "no"}}'; exit 1 ;; esac
echo 'a word of the engine'
echo '{{"model": "m", "img_s": 7}}'
"""


@pytest.fixture
def fake(tmp_path):
    """A build whose programs answer at once."""
    build = tmp_path / "build"
    for name in ("bench/gpu_engine", "tests/conform/infer", "omma"):
        path = build / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE.format(log=tmp_path / "log"))
        path.chmod(0o755)
    (build / "clips").mkdir()
    (tmp_path / "models").mkdir()
    return tmp_path


def run(fake, *args):
    return bench("cpu-int8", "--build", fake / "build", "--models", fake / "models", "--out", fake / "out", *args)


def test_what_was_measured_is_kept_and_not_done_again(fake):
    (fake / "models/good.onnx").touch()
    (fake / "models/wrong.onnx").touch()
    done = run(fake)
    assert done.returncode == 1 and "failed: status 1" in done.stdout
    record = json.loads((fake / "out/cpu-int8.json").read_text())
    assert sorted(record["steps"]) == sorted(f"good {k} {i}" for k in ("latency", "throughput") for i in (1, 2, 3))
    assert record["steps"]["good latency 1"]["rows"] == [{"text": "a word of the engine"}, {"model": "m", "img_s": 7}]
    assert record["machine"]["cores"] == os.cpu_count()
    (fake / "log").unlink()
    (fake / "models/wrong.onnx").rename(fake / "models/late.onnx")
    done = run(fake)
    assert done.returncode == 0 and done.stdout.count("done before") == 6
    assert "good" not in (fake / "log").read_text()
    assert len(json.loads((fake / "out/cpu-int8.json").read_text())["steps"]) == 12
    assert "done before" not in run(fake, "--again").stdout


def test_the_budget_is_kept(fake):
    (fake / "models/slow.onnx").touch()
    done = run(fake, "--budget", "5", "--seconds", "0.1")
    assert done.returncode == 1
    assert "cut off after" in done.stdout and "left for another time" in done.stdout
    assert not (fake / "out/cpu-int8.json").exists()


def test_a_name_that_is_none(fake):
    done = bench("engines")
    assert done.returncode == 2 and "no part 'engines'; there are engine, precisions" in done.stderr
