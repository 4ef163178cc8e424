# SPDX-License-Identifier: MIT
"""What a program logs through libtare is what stands in the .wandb file, with either service and
with none."""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import subprocess
import time

import pytest
import wandb
from client_support import BUILD, SERVICES, TARE, DRIVER, ROOT, drive, environment, run_file
from fake_backend import FakeBackend
from PIL import Image

ALL = [*SERVICES, "/nonexistent"]


@pytest.fixture(params=ALL, ids=["tare", "wandb-core", "no service"])
def service(request):
    return request.param


@pytest.fixture
def everything(service, tmp_path):
    (tmp_path / "in.txt").write_text("some data")
    Image.new("RGB", (12, 7), (255, 0, 0)).save(tmp_path / "in.png")
    said = drive("everything", tmp_path, "ev1", tmp_path / "in.txt", tmp_path / "in.png",
                 service=service)
    return tmp_path, pathlib.Path(said["dir"][0]), run_file(tmp_path, "ev1")


def test_everything_arrives(everything, service):
    tmp_path, folder, run = everything
    (record,) = run.of("run")
    assert (record.run_id, record.entity, record.project) == ("ev1", "team", "driver")
    assert (record.run_group, record.job_type, record.display_name) == ("group", "test", "a name")
    assert (record.notes, list(record.tags)) == ("some notes", ["one", "two"])
    assert run.config == {"lr": 1e-5, "opt": "adam", "nested": {"x": {"y": 1}}}
    (metric,) = run.of("metric")[:1]
    assert (metric.name, metric.step_metric, metric.goal) == ("f", "i", 1)
    assert metric.options.step_sync and metric.summary.min and metric.summary.max
    (alert,) = run.of("alert")
    assert (alert.title, alert.level, alert.wait_duration) == ("title", "WARN", 5000)
    (output,) = run.of("output_raw")
    assert output.line == "hello\n" and output.output_type == output.STDOUT
    (leave,) = run.of("exit")
    assert leave.exit_code == 3
    check_history(run.history)
    check_summary(run.summary, derived=service in SERVICES)
    check_media(run, folder)
    check_artifact(run, folder)


def check_history(history):
    assert [h["_step"] for h in history] == [0, 10, 11, 12]
    first, second, third = history[:3]
    assert (first["f"], first["i"], first["b"], first["n"]) == (0.1, -5, True, None)
    assert first["s"] == 'text "quoted" €'
    assert (first["j"], first["fs"], first["is"]) == ({"a": [1, 2]}, [1.5, 2.0], [3, 4])
    assert (second["f"], second["g"]) == (0.2, 0.3)
    assert third["f"] == 1e-7 and float(third["big"]) == 12345678901234567890.0
    stamps = [h["_timestamp"] for h in history]
    assert stamps == sorted(set(stamps)) and abs(stamps[0] - time.time()) < 120
    assert all(h["_runtime"] >= 0 for h in history)


def check_summary(summary, derived):
    assert (summary["best"], summary["note"], summary["g"]) == (0.99, "ok", 0.3)
    if derived:  # what define_metric asks is the service's work
        assert (summary["f"]["min"], summary["f"]["max"]) == (1e-7, 0.2)


def check_media(run, folder):
    row = run.history[3]
    assert row["hist"] == {"_type": "histogram", "values": [4, 5], "bins": [0.0, 1.0, 2.5]}
    assert row["samples"] == {"_type": "histogram", "values": [2, 2], "bins": [1.0, 2.0, 3.0]}
    image, table = row["pic/one"], row["table"]
    assert (image["_type"], image["format"], image["caption"]) == ("image-file", "png", "a caption")
    assert (image["width"], image["height"]) == (12, 7)
    assert (table["_type"], table["ncols"], table["nrows"]) == ("table-file", 3, 2)
    paths = [f.path for files in run.of("files") for f in files.files]
    for media in (image, table):
        data = (folder / "files" / media["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == media["sha256"]
        assert len(data) == media["size"] and media["sha256"][:20] in media["path"]
        assert media["path"] in paths
    assert json.loads((folder / "files" / table["path"]).read_text()) == {
        "columns": ["name", "value", "flag"], "data": [["x", 0.25, True], ["y", 7, None]]}
    assert "kept/file.txt" in paths
    assert (folder / "files/kept/file.txt").read_text() == "some data"


def check_artifact(run, folder):
    (artifact,) = run.of("artifact")
    data, ref = artifact.manifest.contents
    digest = base64.b64encode(hashlib.md5(b"some data").digest()).decode()
    assert (data.path, data.digest, data.size) == ("data/file.txt", digest, 9)
    assert pathlib.Path(data.local_path).read_text() == "some data"
    assert (ref.path, ref.ref) == ("ref", "store://bucket/key")
    whole = f"wandb-artifact-manifest-v1\ndata/file.txt:{digest}\nref:store://bucket/key\n"
    assert artifact.digest == hashlib.md5(whole.encode()).hexdigest()
    assert (artifact.name, artifact.type, list(artifact.aliases)) == (
        "things", "dataset", ["best", "v1"])
    assert json.loads(artifact.metadata) == {"k": 1} and artifact.finalize


def test_the_sdk_names_media_the_same(everything):
    """An artifact of the SDK with the same file has the same digest."""
    tmp_path, _, run = everything
    mine = wandb.Artifact("things", "dataset")
    mine.add_file(str(tmp_path / "in.txt"), name="data/file.txt")
    mine.add_reference("store://bucket/key", name="ref", checksum=False)
    assert run.of("artifact")[0].digest == mine.digest


def test_exit_finishes_the_run_with_its_status(service, tmp_path):
    p = subprocess.run([DRIVER, "exit", tmp_path, "ex1", "3"], env=environment(service),
                       capture_output=True, text=True, timeout=60)
    assert p.returncode == 3 and p.stderr == ""
    run = run_file(tmp_path, "ex1")
    assert [h["i"] for h in run.history] == [1]
    assert [e.exit_code for e in run.of("exit")] == [3]


@pytest.mark.parametrize("service", SERVICES)
def test_another_process_attaches(service, tmp_path):
    env = environment(service)
    with subprocess.Popen([DRIVER, "hold", tmp_path, "at1"], env=env, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        words = dict(holder.stdout.readline().rstrip().split(" ", 1) for _ in range(2))
        said = drive("attach", "at1", 5, env={**env, "WANDB_SERVICE": words["token"]})
        assert "done" in said
        holder.stdin.close()
        assert holder.wait(60) == 0
    run = run_file(tmp_path, "at1")
    assert [h["child"] for h in run.history if "child" in h] == list(range(5))
    assert [h["_step"] for h in run.history] == list(range(6))
    assert len(run.of("exit")) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_a_forked_child_attaches(service, tmp_path):
    assert "done" in drive("fork", tmp_path, "fo1", service=service)
    history = run_file(tmp_path, "fo1").history
    assert [h.get("parent", h.get("child")) for h in history] == [0, 1, 2]
    assert not any("lost" in h for h in history)


@pytest.mark.parametrize("service", SERVICES)
def test_warnings_and_nested_summaries_come_back(service, tmp_path):
    said = drive("odd", tmp_path, "odd1", service=service)
    assert json.loads(said["m"][0]) == {"min": 2.0, "max": 2.0}
    (warning,) = said["message"]
    assert warning.startswith("4 ") and "step 3" in warning.lower()
    (row,) = run_file(tmp_path, "odd1").history
    assert (row["_step"], row["m"]) == (5, 2.0)


def test_online_with_the_peers_service(tmp_path):
    """The settings carry what an upload needs. (Ours goes online later: docs/coverage.md.)"""
    with FakeBackend() as backend:
        env = environment("wandb-core", WANDB_MODE="online", WANDB_API_KEY="a" * 40,
                          WANDB_BASE_URL=backend.url)
        drive("loop", tmp_path, "on1", 50, 0, env=env)
        run = backend.runs["on1"]
    assert [row["i"] for row in run.history] == list(range(50)) and run.exit_code == 0
    assert run.upserts[0]["displayName"] == "a name" and run.upserts[0]["project"] == "driver"
    (folder,) = tmp_path.glob("wandb/run-*-on1")
    assert len(run_file(tmp_path, "on1").history) == 50


def test_a_stale_token_starts_a_service(tmp_path):
    env = environment("tare", WANDB_SERVICE=f"3-1-unix-{tmp_path}/gone")
    said = drive("loop", tmp_path, "stale", 5, 0, env=env)
    assert "starting one" in said["message"][0]
    run = run_file(tmp_path, "stale")
    assert len(run.history) == 5 and "tare" in run.of("header")[0].version_info.producer


def test_a_broken_service_is_no_obstacle(tmp_path):
    """It prints, it fails, it is no service at all: the run is written all the same."""
    for n, binary in enumerate(["/bin/false", "/bin/true", "/etc/passwd"]):
        said = drive("loop", tmp_path, f"br{n}", 10, 0, service=binary)
        assert any("no service" in m for m in said["message"])
        assert len(run_file(tmp_path, f"br{n}").history) == 10


# -- the library itself -----------------------------------------------------------------------


def test_it_needs_libc_alone_and_is_small(tmp_path):
    so = BUILD / "libtare.so"
    dynamic = subprocess.check_output(["readelf", "-d", so], text=True)
    needed = [line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "NEEDED" in line]
    assert set(needed) <= {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    names = subprocess.check_output(["nm", "-D", "--defined-only", so], text=True)
    assert all(line.split()[2].startswith("tare_") for line in names.splitlines())
    if b"asan" not in so.read_bytes() and b"tsan" not in so.read_bytes():
        subprocess.run(["strip", "-o", tmp_path / "stripped", so], check=True)
        assert (tmp_path / "stripped").stat().st_size <= 200 * 1000


def test_the_static_library_has_no_other_names(tmp_path):
    """A program may have symbols of the names we use inside."""
    (tmp_path / "p.c").write_text(PROGRAM + "int os, ring_init, buf_append; void note(void) {}\n")
    subprocess.run(["gcc", f"-I{ROOT}/include", tmp_path / "p.c", "-o", tmp_path / "program",
                    BUILD / "libtare.a", "-pthread"], check=True)
    subprocess.run([tmp_path / "program", tmp_path], env=environment(TARE), check=True, timeout=60)
    assert len(run_file(tmp_path, "cxx").history) == 4
    names = subprocess.check_output(["nm", "-g", "--defined-only", BUILD / "libtare.a"], text=True)
    assert all(line.split()[2].startswith("tare_")
               for line in names.splitlines() if len(line.split()) == 3)


PROGRAM = """
#include <tare/tare.h>
int main(int argc, char **argv)
{
    tare_run *run;
    struct tare_options o = tare_options_defaults();
    o.mode = "offline";
    o.dir = argv[1];
    o.id = "cxx";
    if (argc != 2 || tare_init(&o, &run) != 0)
        return 1;
    tare_config(run, tare_f64("lr", 0.5), tare_str("name", "x"));
    for (int i = 0; i < 3; i++)
        if (tare_log(run, tare_i64("i", i), tare_f64("half", i / 2.0)) != 0)
            return 2;
    if (tare_log_step(run, 7, tare_bool("last", 1)) != 0)
        return 3;
    return tare_finish(run, 0) == 0 ? 0 : 4;
}
"""


@pytest.mark.parametrize("compiler, suffix, flags", [
    ("gcc", "c", "-std=c11 -Wpedantic"),
    ("clang", "c", "-std=c11 -Wpedantic"),
    ("gcc", "c", "-std=gnu17"),
    ("g++", "cc", "-std=c++11 -Wpedantic"),
    ("g++", "cc", "-std=c++20"),
    ("clang++", "cc", "-std=c++11 -Wpedantic"),
])
def test_the_header_is_clean_c_and_cxx(tmp_path, compiler, suffix, flags):
    source = tmp_path / f"program.{suffix}"
    source.write_text(PROGRAM)
    subprocess.run([compiler, *flags.split(), "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
                    "-Werror", f"-I{ROOT}/include", source, "-o", tmp_path / "program",
                    f"{BUILD}/libtare.so", f"-Wl,-rpath,{BUILD}"], check=True)
    subprocess.run([tmp_path / "program", tmp_path], env=environment(TARE), check=True, timeout=60)
    run = run_file(tmp_path, "cxx")
    assert [h.get("i") for h in run.history] == [0, 1, 2, None]
    assert run.history[3]["last"] is True and run.config == {"lr": 0.5, "name": "x"}
