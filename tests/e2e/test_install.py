"""What `make install` puts somewhere works there alone, and `make uninstall` takes all of it away."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT, Omma, records

PREFIX = "usr/local"

PROGRAM = r"""
#include <omma/omma.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    om_pipeline *pipeline = NULL;
    if (om_pipeline_create(&pipeline) < 0) return 1;
    int refused = om_pipeline_set(pipeline, "no-such-option", "1") < 0;
    om_pipeline_destroy(pipeline);
    puts(om_version());
    return refused && strcmp(om_version(), OMMA_VERSION_STRING) == 0 ? 0 : 1;
}
"""


def install(stage, *args):
    return subprocess.run([ROOT / "scripts/install", "--prefix", f"/{PREFIX}", "--destdir", stage, *args],
                          check=True, capture_output=True, text=True, timeout=300)


def tree(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture(scope="module", autouse=True)
def release_build():
    if BUILD != ROOT / "build":
        pytest.skip("an installation is made from build/ only")


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """An installation carried to a folder it was not configured for."""
    stage = tmp_path_factory.mktemp("stage")
    install(stage)
    home = tmp_path_factory.mktemp("elsewhere") / "omma"
    shutil.move(stage / PREFIX, home)
    return home


class Hidden(Omma):
    """Runs a command where the checkout, with .deps and build/, cannot be seen."""

    def start(self, *args, **popen):
        hide = 'mount -t tmpfs none "$1" && shift && exec "$@"'
        shell = ["unshare", *([] if os.getuid() == 0 else ["--map-root-user"]), "--mount",
                 "sh", "-c", hide, "sh", str(ROOT), str(self.binary)]
        env = {key: value for key, value in os.environ.items() if not key.startswith(("OMMA_", "LD_"))}
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True,
                 "cwd": "/", "env": env, **popen}
        return subprocess.Popen([*shell, *map(str, args)], **popen)


@pytest.fixture(scope="module")
def alone(moved):
    command = Hidden(moved / "bin/omma")
    probe = Hidden("ls")(ROOT, code=None)
    if probe.code != 0:
        pytest.skip(f"no mount namespaces here: {probe.err.strip()}")
    assert probe.out == "", "the checkout is still seen"
    return command


def test_moved_info_finds_the_engine(alone):
    result = alone("info")
    assert re.search(r"openvino", result.out, re.IGNORECASE)
    assert str(ROOT) not in result.out + result.err


def test_moved_run_infers_on_openvino(alone, yolov3_tiny, tmp_path):
    out = tmp_path / "out.jsonl"
    alone("run", "-m", yolov3_tiny, "-i", "pattern:", "--max-frames", "10", "--device", "cpu", "-o", f"jsonl:{out}")
    assert len(records(out)) == 10


def test_moved_library_compiles_a_program(alone, moved, tmp_path):
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(PROGRAM)
    flags = subprocess.run(["pkg-config", f"--define-variable=prefix={moved}", "--cflags", "--libs", "omma"], check=True,
                           capture_output=True, text=True, env={**os.environ, "PKG_CONFIG_PATH": moved / "lib/pkgconfig"})
    subprocess.run(f"gcc -std=c17 -Wall -Wextra -Werror -pedantic '{source}' -o '{program}' {flags.stdout}",
                   shell=True, check=True)
    result = Hidden(program)(env={**os.environ, "LD_LIBRARY_PATH": str(moved / "lib")})
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", result.out)


def test_installed_files(moved):
    """The parts a distribution's packager looks for; nothing refers to the place where it was built."""
    for name in ("bin/omma", "lib/libomma.so", "include/omma/omma.h", "lib/pkgconfig/omma.pc", "share/man/man1/omma.1",
                 "share/bash-completion/completions/omma", "lib/systemd/system/omma@.service",
                 "share/omma/examples/cameras.yaml", "share/doc/omma/LICENSE", "lib/omma/plugins/omma-openvino.so"):
        assert (moved / name).exists(), name
    assert list((moved / "lib/omma/openvino").glob("libopenvino_c.so.*"))
    for path in (path for path in moved.rglob("*") if path.suffix in (".pc", ".service", ".yaml", ".h", ".1")):
        assert str(ROOT) not in path.read_text(), path
    for path in (moved / "bin/omma", moved / "lib/libomma.so", *(moved / "lib/omma/plugins").iterdir()):
        dynamic = subprocess.run(["readelf", "--dynamic", path], check=True, capture_output=True, text=True)
        assert str(ROOT) not in dynamic.stdout, path


def test_man_page_knows_every_flag(omma, moved):
    """--help and the man page name the same flags, and the page is well-formed."""
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", moved / "share/man/man1/omma.1"], capture_output=True,
                          text=True)
    assert lint.returncode == 0, lint.stdout
    text = (moved / "share/man/man1/omma.1").read_text()
    documented = set(re.findall(r"^\.It (?:Fl \w , )?Fl -([a-z][a-z0-9-]*)", text, re.MULTILINE))
    shown = set()
    def listed(*command):
        return re.findall(r"^  ([a-z]+)  ", omma(*command, "--help").out, re.MULTILINE)
    commands = [[name] for name in listed() if name != "model"] + [["model", name] for name in listed("model")]
    assert len(commands) > 15
    for command in commands:
        shown |= set(re.findall(r"^ +(?:-\w, )?--(?:\[no-\])?([a-z][a-z0-9-]*)", omma(*command, "--help").out, re.MULTILINE))
    assert shown - documented == set(), "flags that the man page lacks"
    assert documented - shown == set(), "flags that the command lacks"
    assert {"model", "device", "max-frames", "report"} <= documented


@pytest.mark.parametrize("line, expected", [
    ("omma ", {"run", "detect", "model", "info", "init"}),
    ("omma model ", {"inspect", "import", "batch", "synth"}),
    ("omma run --max-f", {"--max-frames"}),
    ("omma run -o js", {"jsonl:"}),
])
def test_completion(moved, omma, line, expected):
    words = line.split(" ")
    script = (f"source '{moved}/share/bash-completion/completions/omma'; compopt() {{ :; }}; "
              f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; "
              "_omma; printf '%s\\n' \"${COMPREPLY[@]}\"")
    env = {**os.environ, "PATH": f"{omma.binary.parent}:{os.environ['PATH']}"}
    out = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, env=env, timeout=30)
    assert expected <= set(out.stdout.split())


@pytest.mark.parametrize("name", ["cameras", "files"])
def test_example_configurations_are_valid(omma, moved, yolov8n, tmp_path, name):
    """--check accepts them as they are, once their model and recordings exist."""
    text = (moved / f"share/omma/examples/{name}.yaml").read_text()
    config = tmp_path / "config.yaml"
    config.write_text(re.sub(r"^model: .*$", f"model: {yolov8n}", text, flags=re.MULTILINE))
    for recording in ("monday.mp4", "tuesday.mp4"):
        (tmp_path / recording).touch()
    omma("run", "--check", config, cwd=tmp_path)


def test_service_unit_is_valid(moved, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "omma@.service"
    text = (moved / "lib/systemd/system/omma@.service").read_text()
    assert f"ExecStart=/{PREFIX}/bin/omma run" in text
    unit.write_text(text.replace(f"/{PREFIX}/bin/omma", "/bin/true"))
    check = subprocess.run(["systemd-analyze", "--man=no", "verify", unit], capture_output=True, text=True)
    assert "omma@" not in check.stderr


def test_uninstall_leaves_nothing_of_ours_and_everything_else(tmp_path):
    stage = tmp_path / "stage"
    others = stage / PREFIX / "bin/other"
    others.parent.mkdir(parents=True)
    others.touch()
    before = tree(stage)
    install(stage)
    assert len(tree(stage)) > len(before) + 20
    install(stage)  # over itself
    stray = stage / PREFIX / "lib/omma/plugins/theirs.so"
    stray.touch()
    install(stage, "--uninstall")
    assert stray.exists()
    shutil.rmtree(stage / PREFIX / "lib")
    assert tree(stage) == before


def test_uninstall_of_a_fresh_tree_leaves_no_folder(tmp_path):
    stage = tmp_path / "stage"
    install(stage)
    install(stage, "--uninstall")
    assert not stage.exists()
    refused = subprocess.run([ROOT / "scripts/install", "--uninstall", "--destdir", stage], capture_output=True, text=True)
    assert refused.returncode == 1 and "nothing of omma" in refused.stderr
