#!/usr/bin/python3
"""Compiles every header alone: include/omma/*.h as C17 and C++17, src/**/*.h as C. Build first.

    check_headers.py [ROOT]      one line a failure, then 'N passed, N failed'
"""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
STRICT = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
PUBLIC_C = ["gcc", "-x", "c", "-std=c17", "-pedantic", *STRICT, "-Iinclude"]
PUBLIC_CXX = ["g++", "-x", "c++", "-std=c++17", "-pedantic", *STRICT, "-Iinclude"]
# Inner headers may use the system's extensions, as the sources that include them do, and what build/ generates.
INNER = ["gcc", "-x", "c", "-std=gnu17", "-D_GNU_SOURCE", "-DOMMA_BUILD", *STRICT, "-Wno-unused-function",
         "-Iinclude", "-Isrc", "-Ibuild/src", "-isystem", ".deps/openvino/include"]


def foreign():
    """Include paths of the libraries, as pkg-config tells them."""
    names = ["libavformat", "libavcodec", "libavutil", "libswscale", "libprotobuf-c", "yaml-0.1"]
    out = subprocess.run(["pkg-config", "--cflags", *names], capture_output=True, text=True, check=True)
    return out.stdout.split()


def compiles(command, header):
    # Twice: a header without a guard fails.
    unit = f'#include "{header}"\n#include "{header}"\ntypedef int not_empty;\n'
    run = subprocess.run([*command, "-"], input=unit, capture_output=True, text=True, cwd=ROOT)
    return run.returncode == 0, f"{command[0]} {header}: alone it does not compile\n{run.stderr}"


def jobs():
    for path in sorted((ROOT / "include/omma").glob("*.h")):
        for command in (PUBLIC_C, PUBLIC_CXX):
            yield command, str(path.relative_to(ROOT / "include"))
    inner = INNER + foreign()
    for path in sorted((ROOT / "src").rglob("*.h")):
        if "cuda" not in path.parts:
            yield inner, str(path.relative_to(ROOT / "src"))


if __name__ == "__main__":
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: compiles(*job), jobs()))
    failures = [text for ok, text in results if not ok]
    print("".join(failures) + f"{len(results) - len(failures)} passed, {len(failures)} failed")
    sys.exit(bool(failures))
