"""The library in other people's programs."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, ROOT

SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"
SOURCE = ROOT / "examples/embed.c"
LIBRARY = BUILD / "src"
FLAGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT}/include"]


def compile_with(compiler, source, out, *flags):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    done = subprocess.run([compiler, *FLAGS, *flags, str(source), "-o", str(out), f"-L{LIBRARY}", "-lomma", f"-Wl,-rpath,{LIBRARY}",
                           "-Wl,--allow-shlib-undefined"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def run(program, *args, env=None):
    # A copy of the program lies elsewhere: the plug-ins are in the build folder.
    env = {**os.environ, "OMMA_PLUGINS": str(BUILD / "src/backend/openvino"), **(env or {})}
    return subprocess.run([str(program), *map(str, args)], capture_output=True, text=True, timeout=120, env=env)


def prints_boxes(program):
    r = run(program, SHAPES, "pattern:320x240:frames=10", "pattern:640x480:frames=10:seed=5")
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    assert {line.split()[2] for line in lines} == {"red", "green", "blue"}
    assert {line.split()[0] for line in lines} == {"pattern", "pattern-2"}
    assert r.stderr.startswith("20 frames, ") and len(r.stderr.splitlines()) == 1


def test_example_is_short():
    assert len(SOURCE.read_text().splitlines()) < 80


@pytest.mark.parametrize("standard", ["c99", "c11", "c17"])
def test_example(tmp_path, standard):
    compile_with("cc", SOURCE, tmp_path / "embed", f"-std={standard}")
    prints_boxes(tmp_path / "embed")


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_example_as_cpp(tmp_path, standard):
    compile_with("c++", SOURCE, tmp_path / "embed", "-x", "c++", f"-std={standard}")
    prints_boxes(tmp_path / "embed")


def test_errors_reach_the_program(tmp_path):
    compile_with("cc", SOURCE, tmp_path / "embed")
    for args, words in (((tmp_path / "none.onnx", "pattern:"), "none.onnx"), ((SHAPES, tmp_path / "none.mp4"), "none.mp4"),
                        ((SHAPES, "pattern:0x0"), "0x0")):
        r = run(tmp_path / "embed", *args)
        assert r.returncode == 1 and words in r.stderr and len(r.stderr.splitlines()) == 1, r


API = r"""
#include <omma/omma.h>
#include <cstdio>
#include <cstring>

static int n_results;
static void count(void *user, const om_frame_result *r) { n_results++; (void)user; (void)r; }
#define EXPECT(x) do { if (!(x)) { std::printf("line %d: %s (%s)\n", __LINE__, #x, om_error_message()); return 1; } } while (0)

int main(int, char **argv)
{
    om_pipeline *p = nullptr;
    om_stream_stats s;
    char *report = nullptr;
    om_pipeline_destroy(nullptr);
    EXPECT(om_pipeline_create(&p) == 0);
    EXPECT(om_pipeline_wait(p, 0) == OM_ERR_ARG);
    EXPECT(om_pipeline_start(p) == OM_ERR_ARG && std::strstr(om_error_message(), "model"));
    EXPECT(om_pipeline_set(p, "modle", "x") == OM_ERR_ARG && std::strstr(om_error_message(), "'model'"));
    EXPECT(om_pipeline_set(p, "conf", "x") == OM_ERR_ARG);
    EXPECT(om_pipeline_set(p, "model", argv[1]) == 0);
    EXPECT(om_pipeline_set(p, "device", "null") == 0);
    EXPECT(om_pipeline_start(p) == OM_ERR_ARG && std::strstr(om_error_message(), "stream"));
    EXPECT(om_pipeline_add_stream(p, "pattern:64x48:frames=0", "a") == 0);
    EXPECT(om_pipeline_add_stream(p, "pattern:64x48:frames=0", "a") == OM_ERR_ARG);
    EXPECT(om_pipeline_add_stream(p, "", nullptr) == OM_ERR_ARG);
    EXPECT(om_pipeline_add_sink(p, "pigeon:x") == OM_ERR_ARG);
    EXPECT(om_pipeline_add_sink(p, "null:") == 0);
    EXPECT(om_pipeline_on_result(p, count, nullptr) == 0);
    EXPECT(om_pipeline_start(p) == 0);
    EXPECT(om_pipeline_start(p) == OM_ERR_ARG);
    EXPECT(om_pipeline_set(p, "conf", "0.5") == OM_ERR_ARG);
    while (om_pipeline_stats(p, -1, &s) == 0 && s.inferred < 20) EXPECT(om_pipeline_wait(p, 20) == OM_ERR_TIMEOUT);
    EXPECT(om_pipeline_stats(p, 1, &s) == OM_ERR_ARG);
    EXPECT(om_pipeline_stats(p, -2, &s) == OM_ERR_ARG);
    om_pipeline_stop(p);
    om_pipeline_stop(p);
    EXPECT(om_pipeline_wait(p, 10000) == 0);
    EXPECT(om_pipeline_wait(p, -1) == 0);
    EXPECT(om_pipeline_stats(p, -1, &s) == 0 && s.in_flight == 0 && s.received == s.inferred + s.skipped + s.dropped);
    EXPECT(s.inferred == (unsigned long long)n_results);
    EXPECT(om_pipeline_report(p, &report) == 0 && std::strstr(report, "\"totals\""));
    om_free_string(report);
    om_pipeline_destroy(p);

    /* Destroyed while it runs, and after a start that failed. */
    EXPECT(om_pipeline_create(&p) == 0 && om_pipeline_set(p, "model", argv[1]) == 0 && om_pipeline_set(p, "device", "null") == 0);
    EXPECT(om_pipeline_add_stream(p, "pattern:64x48:frames=0", nullptr) == 0 && om_pipeline_start(p) == 0);
    om_pipeline_destroy(p);
    EXPECT(om_pipeline_create(&p) == 0 && om_pipeline_set(p, "model", "/none.onnx") == 0);
    EXPECT(om_pipeline_add_stream(p, "pattern:64x48", nullptr) == 0 && om_pipeline_start(p) == OM_ERR_NOT_FOUND);
    om_pipeline_destroy(p);
    EXPECT(om_pipeline_create(&p) == 0);
    om_pipeline_destroy(p);
    std::puts("all is well");
}
"""


def test_api_from_cpp(tmp_path):
    """Misuse is refused by name, a run can be watched, stopped, asked and destroyed at any moment."""
    source = tmp_path / "api.cpp"
    source.write_text(API)
    compile_with("c++", source, tmp_path / "api", "-std=c++11")
    r = run(tmp_path / "api", SHAPES)
    assert r.returncode == 0 and r.stdout == "all is well\n", r


def test_built_example():
    """The one that the build makes."""
    program = BUILD / "examples/embed"
    if not program.exists():
        pytest.skip("this build has no examples")
    prints_boxes(program)
