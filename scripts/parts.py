#!/usr/bin/python3
"""Runs the parts of the test suite and adds up what they counted.

    parts.py short|long [PART...]      parts.py --list

Each part prints its own lines, then one with its counts and its time; the last line of all is the total. Exit status
1 if anything failed. A part that could not run has failed; what was skipped is counted as skipped, never as passed.
Where up to three tests of a part failed, they run once more, alone: a fault fails again, and a test that does not is
named as unsteady in the last lines.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [str(ROOT / ".deps/venv/bin/python"), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
# TSan's shadow memory wants a fixed address layout.
FIXED_LAYOUT = ["setarch", "-R"]
SUPPRESS = ROOT / "tests/sanitizers"
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:allocator_may_return_null=1:detect_stack_use_after_return=1",
    "LSAN_OPTIONS": f"suppressions={SUPPRESS}/lsan.supp:print_suppressions=0",
    "UBSAN_OPTIONS": f"suppressions={SUPPRESS}/ubsan.supp:print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"suppressions={SUPPRESS}/tsan.supp:halt_on_error=1:exitcode=99:second_deadlock_stack=1",
    "TBB_ENABLE_SANITIZERS": "1",  # oneTBB would dlopen with RTLD_DEEPBIND, which ASan refuses
    "TSAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-14",
}


SECOND_TRY = 3  # more failed tests than these are no accident
unsteady = []


class Count:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(command, limit, env=None, capture=False):
    """Exit status and, if captured, the text; the whole process group ends at the limit (in seconds)."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE if capture else None, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True)
    try:
        text, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        print(f"{command[0]}: stopped at its limit of {limit} s", flush=True)
        return 124, text or ""
    return process.returncode, text or ""


def one(command, limit):
    """A check that passes or fails as a whole; its text is shown when it fails."""
    status, text = run(command, limit, capture=True)
    if status:
        print(text, end="" if text.endswith("\n") else "\n", flush=True)
    return Count(passed=int(status == 0), failed=int(status != 0))


def format_check():
    """Names each file that clang-format would change."""
    status, text = run(["clang-format-14", "--dry-run", "-Werror", *sources()], 60, capture=True)
    for file in sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", text, re.MULTILINE))):
        print(f"{file}: not formatted (clang-format-14 -i {file})", flush=True)
    return Count(passed=int(status == 0), failed=int(status != 0))


def counting(command, limit):
    """A check whose last line says 'N passed, N failed'."""
    status, text = run(command, limit, capture=True)
    *lines, last = text.rstrip("\n").split("\n")
    match = re.fullmatch(r"(\d+) passed, (\d+) failed", last)
    text = "\n".join(lines if match else [*lines, last])
    if text:
        print(text, flush=True)
    count = Count(*map(int, match.groups())) if match else Count(failed=1)
    if status and not count.failed:
        count.failed = 1
    return count


def cmocka(test):
    """The cases of one test program; the program itself counts where it said nothing, or died."""
    text = test.get("stdout", "") + test.get("stderr", "")
    found = {word: sum(map(int, re.findall(rf"\[  {word} +\] (\d+) test\(s\)", text)))
             for word in ("PASSED", "FAILED", "SKIPPED")}
    count = Count(found["PASSED"], found["FAILED"], found["SKIPPED"])
    if test["result"] == "SKIP":
        return Count(skipped=1)
    if test["result"] != "OK" and not count.failed:
        count.failed = 1
    if not (count.passed or count.failed or count.skipped):
        count.passed = 1
    return count


def meson_once(folder, select, limit, prefix, env):
    """What was counted, and the names of the programs that failed."""
    log = ROOT / folder / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    status, _ = run([*prefix, "meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", *select], limit, env)
    count, failed = Count(), []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        test = json.loads(line)
        count += cmocka(test)
        if test["result"] not in ("OK", "SKIP"):
            failed.append(test["name"].split(" / ")[-1])
    if status and not count.failed:
        count.failed = 1
    return count, failed


def meson(folder, select, limit, prefix=(), env=None):
    count, failed = meson_once(folder, select, limit, prefix, env)
    if not 0 < len(failed) <= SECOND_TRY:
        return count
    again, _ = meson_once(folder, [*failed, *(s for s in select if s not in ("--no-suite", "long"))], limit, prefix, env)
    return settle(count, again, [f"{folder}: {name}" for name in failed])


def settle(count, again, names):
    """The count after a second try of what failed."""
    print(f"second try of {', '.join(names)}: {again}", flush=True)
    if again.failed or not again.passed:
        return count
    unsteady.extend(names)
    count.passed += count.failed
    count.failed = 0
    return count


def pytest_once(folder, select, name, limit, prefix, env):
    """What was counted, and the tests that failed."""
    report = ROOT / folder / f"pytest-{re.sub('[^a-z]+', '-', name)}.xml"
    report.unlink(missing_ok=True)
    status, _ = run([*prefix, *PYTEST, *select, f"--junitxml={report}"], limit,
                    {**(env or {}), "OMMA_BUILD": str(ROOT / folder), "PYTHONDONTWRITEBYTECODE": "1"})
    count, failed = Count(), []
    for suite in ElementTree.parse(report).iter("testsuite") if report.exists() else ():
        total, bad, errors, skipped = (int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped"))
        count += Count(total - bad - errors - skipped, bad + errors, skipped)
        failed += [f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}" for case in suite.iter("testcase")
                   if case.find("failure") is not None or case.find("error") is not None]
    if status == 5:
        print(f"no test is marked for: {name}", flush=True)
    if status and not count.failed:
        count.failed = 1
    return count, failed


def pytest(folder, marked, limit, prefix=(), env=None):
    count, failed = pytest_once(folder, ["tests/e2e", "-m", marked], marked, limit, prefix, env)
    if not 0 < len(failed) <= SECOND_TRY:
        return count
    again, _ = pytest_once(folder, failed, "second try", limit, prefix, env)
    return settle(count, again, failed)


def sources():
    folders = ("include", "src", "tests", "bench", "examples")
    return sorted(str(path.relative_to(ROOT)) for folder in folders for ext in ("*.c", "*.h", "*.cu")
                  for path in (ROOT / folder).rglob(ext))


def build(flavour, limit=900):
    return one(["scripts/build", flavour], limit)


def sanitize():
    count = build("asan")
    if not count.failed:
        count += meson("build-asan", ["--no-suite", "long", "--timeout-multiplier", "4"], 600, env=SANITIZER_ENV)
    return count


def sanitize_long():
    """The command under ASan: minutes, since much of it waits for servers, full disks and slow readers."""
    count = build("asan")
    if not count.failed:
        count += pytest("build-asan", "sanitize and not long", 1500, env=SANITIZER_ENV)
    return count


def race():
    count = build("tsan")
    if not count.failed:
        count += meson("build-tsan", ["--no-suite", "long", "--timeout-multiplier", "6"], 600, FIXED_LAYOUT, SANITIZER_ENV)
        count += pytest("build-tsan", "race and not long", 600, FIXED_LAYOUT, SANITIZER_ENV)
    return count


SHORT = {
    "format": format_check,
    "tiers": lambda: one(["tests/check_tiers.py"], 60),
    "build": lambda: build("release"),
    "headers": lambda: counting(["tests/headers/check_headers.py"], 120),
    "unit": lambda: meson("build", ["--no-suite", "long"], 300),
    "e2e": lambda: pytest("build", "not long", 900),
    "sanitize": sanitize,
}
LONG = {
    "build": lambda: build("release"),
    "e2e-long": lambda: pytest("build", "long", 2700),
    "sanitize-long": sanitize_long,
    "race": race,
    "fuzz": lambda: counting(["scripts/fuzz", "15"], 900),
}


def main(argv):
    if argv == ["--list"]:
        print("short:", *SHORT, "\nlong:", *LONG)
        return 0
    suites = {"short": SHORT, "long": LONG}
    if not argv or argv[0] not in suites or set(argv[1:]) - set(suites[argv[0]]):
        print(__doc__, file=sys.stderr)
        return 2
    parts = suites[argv[0]]
    total = Count()
    for name in argv[1:] or parts:
        print(f"== {name}", flush=True)
        begin = time.monotonic()
        count = parts[name]()
        total += count
        print(f"== {name}: {count} ({time.monotonic() - begin:.1f} s)", flush=True)
    if unsteady:
        print(f"unsteady, passed at the second try only: {', '.join(unsteady)}", flush=True)
    print(total)
    return total.failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
