"""What onnxruntime does beside running graphs: the files that it writes and the hosts that it looks up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

RANKING = (
    "import sys, onyxrank\n"
    "with onyxrank.Ranker.load(sys.argv[1], threads=1) as ranker:\n"
    "    ranker.rank(['tent'], ['lamp'])\n"
)
EXPORTING = "import onyxrank_export.conversion.quantize\n"
CODES = pytest.mark.parametrize("code", [RANKING, EXPORTING], ids=["rank", "export"])


def fresh(folder, **more):
    """An environment whose folders for temporary files and caches are empty."""
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    places = {}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        places[name] = str(folder / name)
        (folder / name).mkdir()
    return kept | places | more


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@CODES
def test_nothing_is_written_beside_the_program(tiny_bundle, tmp_path, code):
    subprocess.run([sys.executable, "-c", code, str(tiny_bundle)], check=True, timeout=120, env=fresh(tmp_path))
    assert written(tmp_path) == []


@pytest.mark.slow
@CODES
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace sees what a process looks up")
def test_no_host_is_looked_up(tiny_bundle, tmp_path, code):
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmmsg", "-o", str(tmp_path / "trace")]
    # With telemetry, onnxruntime looks its maker's host up about ten seconds after it is imported.
    command += [sys.executable, "-c", f"{code}import time\ntime.sleep(15)\n", str(tiny_bundle)]
    done = subprocess.run(command, timeout=120, env=fresh(tmp_path), capture_output=True, text=True)
    if "PTRACE" in done.stderr:
        pytest.skip("this system lets no process watch another")
    assert done.returncode == 0, done.stderr
    assert re.findall("AF_INET6?.*", (tmp_path / "trace").read_text()) == []


@pytest.mark.parametrize("told", [None, "0", "1"])
def test_what_the_user_has_set_stays(tmp_path, told):
    code = "import os\nfrom onyxrank.machine.onnx_runtime import import_runtime\nimport_runtime()\n"
    code += "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = fresh(tmp_path, **({} if told is None else {"ORT_DISABLE_TELEMETRY": told}))
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == (told or "1")


def test_the_engine_imports_it_nowhere_else():
    """A second place of import could be the first to run."""
    import onyxrank

    places = []
    folder = os.path.dirname(onyxrank.__file__)
    for at, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".py") and name != "onnx_runtime.py":
                with open(os.path.join(at, name)) as file:
                    if re.search(r"^\s*(import|from) onnxruntime", file.read(), re.MULTILINE):
                        places.append(name)
    assert places == []
