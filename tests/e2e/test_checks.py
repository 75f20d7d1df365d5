"""The checks themselves find what they are there for."""
import subprocess

import pytest

from conftest import ROOT


def check(tool, root):
    run = subprocess.run([ROOT / tool, root], capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_h", ".h").replace("_c", ".c")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


HEADERS = {f"src__{name}_h": "" for name in ("base__log", "trace__trace", "trace__ring", "frame__frame", "sink__sink",
                                             "kernel__kernel", "kernel__variant", "kernel__x86__rows", "cli__table")}


@pytest.mark.parametrize("file, include, complaint", [
    ("src__base__a_c", '"sink/sink.h"', "above it"),
    ("src__frame__a_c", '"kernel/variant.h"', "share tier"),
    ("src__base__a_c", '"trace/ring.h"', "share tier"),
    ("src__cli__a_c", '"kernel/x86/rows.h"', "private to room kernel"),
    ("src__cli__a_c", '"table.h"', "name it from src/"),
    ("src__pipeline__a_c", "<openvino/c/openvino.h>", "only src/backend/openvino"),
    ("src__cli__a_c", "<cuda_runtime.h>", "only src/backend/cuda"),
    ("src__attic__a_c", '"base/log.h"', "has no tier"),
])
def test_tiers_finds(tmp_path, file, include, complaint):
    write(tmp_path, **HEADERS, **{file: f"\n#include {include}\n"})
    code, out = check("tests/check_tiers.py", tmp_path)
    assert code == 1 and complaint in out and len(out.splitlines()) == 1


def test_tiers_allows(tmp_path):
    write(tmp_path, **HEADERS,
          src__sink__a_c='#include "base/log.h"\n#include "frame/frame.h"\n#include "sink/sink.h"\n#include <curl/curl.h>\n',
          src__frame__a_c='#include "kernel/kernel.h"\n#include "trace/trace.h"\n#include "omma/types.h"\n',
          src__kernel__a_c='#include "kernel/x86/rows.h"\n',
          src__backend__openvino__a_c="#include <openvino/c/openvino.h>\n",
          src__device__cuda__a_cu='#include <cuda_runtime.h>\n#include "kernel/kernel.h"\n',
          src__device__cuda__plugin_c='#include "backend/backend.h"\n')
    assert check("tests/check_tiers.py", tmp_path) == (0, "includes point downward\n")


def test_headers_finds(tmp_path):
    write(tmp_path, include__omma__good_h="#ifndef G\n#define G\n#include <stddef.h>\nsize_t g(void);\n#endif\n",
          include__omma__needs_h="#ifndef N\n#define N\nsize_t n(void);\n#endif\n",
          include__omma__cplusplus_h="#ifndef P\n#define P\nint p(int class);\n#endif\n",
          src__base__unguarded_h="struct u { int x; };\n")
    code, out = check("tests/headers/check_headers.py", tmp_path)
    # needs.h fails in both languages, cplusplus.h in one, unguarded.h in its one.
    assert code == 1 and out.endswith("3 passed, 4 failed\n")
