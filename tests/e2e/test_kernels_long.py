"""The kernels' own checker with all its cases; `make test` runs fewer."""
import subprocess

import pytest
from conftest import BUILD


@pytest.mark.long
def test_all_cases():
    done = subprocess.run([BUILD / "tests/kernels/test_kernels", "--long"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout
    assert "nms c     100000 cases, equal" in done.stdout
