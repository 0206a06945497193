from __future__ import annotations

import json
import os
import platform
import subprocess

import pytest

from onyxrank.machine import cpus
from onyxrank.machine.cpus import (
    cgroup_quota,
    cpu_name,
    describe,
    has_bf16,
    instruction_sets,
    limit_cpus,
    machine_family,
    usable_cores,
    usable_cpus,
)


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def v1(folder, quota, period="100000"):
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, id="v2"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, None, id="v2-none"),
        pytest.param("0::/a/b", {"a/cpu.max": "2 1", "a/b/cpu.max": "max 1"}, 2.0, id="parent"),
        pytest.param("0::/a/b", {"a/cpu.max": "4 1", "a/b/cpu.max": "3 1"}, 3.0, id="tightest"),
        pytest.param("0::/host/path", {"cpu.max": "50000 100000"}, 0.5, id="path-of-the-host"),
        pytest.param("0::/../../x", {"cpu.max": "50000 100000"}, 0.5, id="path-above-the-namespace"),
        pytest.param("4:memory:/m\n1:cpu:/a\n0::/\n", v1("cpu/a", "250000"), 2.5, id="v1"),
        pytest.param("1:cpu:/a/b", v1("cpu/a", "100000"), 1.0, id="v1-parent"),
        pytest.param("3:cpu,cpuacct:/", v1("cpu,cpuacct", "100000", "50000"), 2.0, id="v1-joined"),
        pytest.param("1:cpu:/", v1("cpu", "-1"), None, id="v1-none"),
        pytest.param("2:cpuset:/\n1:cpuacct:/", v1("cpu", "100000"), None, id="v1-other-controllers"),
        pytest.param("1:cpu:/\n0::/", {"unified/cpu.max": "100000 100000"}, 1.0, id="hybrid"),
        pytest.param("0::/", {"cpu.max": "100000 0"}, None, id="zero-period"),
        pytest.param("0::/", {"cpu.max": ""}, None, id="empty"),
        pytest.param("", {}, None, id="no-cgroup"),
    ],
)
def test_cgroup_quota(tmp_path, membership, files, quota):
    write(tmp_path, files)
    assert cgroup_quota(membership, tmp_path) == quota


@pytest.mark.parametrize(
    ("allowed", "quota", "cpus"),
    [(8, None, 8), (8, 1.5, 2), (8, 2.0, 2), (8, 0.2, 1), (2, 16.0, 2), (0, None, 1)],
)
def test_limit_cpus_rounds_up_and_is_at_least_one(allowed, quota, cpus):
    assert limit_cpus(allowed, quota) == cpus


def test_usable_cpus_obeys_affinity_and_quota(monkeypatch, tmp_path):
    write(tmp_path, {"self": "0::/\n", "cpu.max": "250000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(cpus, "_CGROUP_OF_SELF", tmp_path / "self")
    monkeypatch.setattr(cpus, "_CGROUP_ROOT", tmp_path)
    assert usable_cpus() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert usable_cpus() == 1


def test_usable_cpus_without_affinity(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(cpus, "_CGROUP_OF_SELF", tmp_path / "absent")
    assert usable_cpus() == 6


@pytest.mark.parametrize(
    ("flags", "machine", "family"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, "x86_64", "avx512_vnni"),
        ({"avx2", "avx_vnni"}, "x86_64", "avx512_vnni"),
        ({"avx2", "avx512f"}, "x86_64", "avx512"),
        ({"avx", "avx2"}, "AMD64", "avx2"),
        ({"sse2"}, "x86_64", "other"),
        (set(), "riscv64", "other"),
        ({"asimddp"}, "aarch64", "arm64"),
        (set(), "arm64", "arm64"),
    ],
    ids=["vnni", "avx-vnni", "avx512", "avx2", "sse", "unknown", "arm-linux", "arm-mac"],
)
def test_machine_family(flags, machine, family):
    assert machine_family(frozenset(flags), machine) == family


@pytest.mark.parametrize(
    ("cpuinfo", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n", {"fpu", "avx2"}),
        ("Features\t: fp asimd\n", {"fp", "asimd"}),
        ("", set()),
    ],
    ids=["x86", "arm", "none"],
)
def test_instruction_sets(cpuinfo, flags):
    assert instruction_sets(cpuinfo) == flags


def test_processors_of_arm_are_told_apart_by_their_numbers():
    text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: 0x0\nCPU part\t: {}\nCPU revision\t: 1\n"
    assert cpu_name(text.format("0xd4f")).endswith(
        "CPU implementer 0x41, CPU variant 0x0, CPU part 0xd4f, CPU revision 1"
    )
    assert cpu_name(text.format("0xd4f")) != cpu_name(text.format("0xd49"))


def test_macs_are_told_apart_by_the_processors_brand(monkeypatch):
    brand = subprocess.CompletedProcess((), 0, stdout="Apple M3\n")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: brand)
    assert cpu_name("") == "Apple M3"


def test_describe_is_json():
    facts = describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpus_usable"] == usable_cpus() >= 1
    assert facts["machine_family"] == machine_family()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell")
def test_two_threads_of_a_core_are_one_core(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 4)
    assert usable_cores(tmp_path) == 4, "nothing is told"
    for number, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        write(tmp_path, {f"cpu{number}/topology/thread_siblings_list": f"{siblings}\n"})
    assert usable_cores(tmp_path) == 2
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 1)
    assert usable_cores(tmp_path) == 1, "a quota"


@pytest.mark.parametrize(
    ("flags", "has"), [(set(), True), ({"avx2"}, False), ({"avx2", "amx_bf16"}, True), ({"asimd", "bf16"}, True)]
)
def test_bf16_is_told_by_the_instruction_sets(monkeypatch, flags, has):
    monkeypatch.setattr(cpus, "instruction_sets", lambda: frozenset(flags))
    assert has_bf16() is has
