#!/usr/bin/python3
"""Checks who includes whom in src/, as docs/design.md says.

A room is a folder of src/. A file may include: the public API (omma/*.h), its own room, any top-level header of a
room in a lower tier, and of another room in its own tier only that room's public headers. Headers in a room's
sub-folders are the room's own. The vendors' headers stay in their plug-ins.

    check_tiers.py [ROOT]      one line a violation; exit status 1 if there is one
"""
import re
import sys
from pathlib import Path

TIERS = [
    ["base", "trace"],
    ["device", "frame", "kernel"],
    ["model", "head", "media", "track", "gallery"],
    ["backend"],
    ["quant", "train", "eval", "sink"],
    ["pipeline"],
    ["bench", "worker", "profile", "serve", "web"],
    ["cli"],
]
TIER = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}

# What a room shows to its neighbours of the same tier, where it is more than ROOM/ROOM.h.
PUBLIC = {
    "base": {"*"},
    "eval": {"detection.h"},
    "frame": {"frame.h", "result.h"},
    "kernel": {"color.h", "kernel.h", "quad.h"},
    "media": {"media.h", "source.h"},
    "model": {"model.h", "graph.h"},
}

# Vendors' headers, and the only folders that may include each.
VENDOR = {
    re.compile(r"openvino/"): ["backend/openvino"],
    re.compile(r"cuda|cudnn|cublas|nvrtc|nvml|nvToolsExt|nvtx3/"): ["backend/cuda", "device/cuda"],
}

# Folders that make one plug-in: files of the first may include headers of the second.
PLUGINS = {"backend/cuda": "device/cuda"}

# The files by which a room's folder becomes a plug-in: they answer the loader, which is the room backend.
ENTRIES = {"device/cuda/plugin.c"}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def public(room):
    return PUBLIC.get(room, {room + ".h"})


def problem(src, file, quote, name):
    """What is wrong with `file` including `name`, or None."""
    for vendor, homes in VENDOR.items():
        if quote == "<" and vendor.match(name) and not any(file.is_relative_to(home) for home in homes):
            return f"only src/{' and src/'.join(homes)} may include <{name}>"
    if str(file) in ENTRIES and (name == "backend/backend.h" or str(Path(name).parent) in PLUGINS):
        return None
    beside = (src / file).parent / name
    if quote == "<" or name.startswith("omma/"):
        return None
    if not (src / name).exists():
        if beside.exists():
            return f'"{name}" is named from its own folder; name it from src/'
        return None  # the compiler says more, and generated headers live in the build folder
    room, target = file.parts[0], Path(name)
    other = target.parts[0]
    if other == room:
        return None
    if other not in TIER:
        return f'"{name}": room {other} has no tier'
    if len(target.parts) > 2 and PLUGINS.get(str(file.parent)) == str(target.parent):
        return None
    if len(target.parts) > 2:
        return f'"{name}" is private to room {other}'
    if TIER[other] > TIER[room]:
        return f'"{name}": {room} is tier {TIER[room]}, {other} is tier {TIER[other]}, above it'
    if TIER[other] == TIER[room] and not {target.name, "*"} & public(other):
        return f'"{name}": {room} and {other} share tier {TIER[room]}; only {", ".join(sorted(public(other)))} may cross'
    return None


def check(root):
    src = Path(root) / "src"
    found = []
    for path in sorted(p for ext in ("*.c", "*.h", "*.cu", "*.cuh") for p in src.rglob(ext)):
        file = path.relative_to(src)
        if file.parts[0] not in TIER:
            found.append(f"src/{file}: room {file.parts[0]} has no tier in tests/check_tiers.py")
            continue
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            wrong = problem(src, file, *match.groups())
            if wrong:
                line = text.count("\n", 0, match.start(2)) + 1
                found.append(f"src/{file}:{line}: {wrong}")
    return found


if __name__ == "__main__":
    violations = check(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent)
    print("\n".join(violations) or "includes point downward")
    sys.exit(bool(violations))
