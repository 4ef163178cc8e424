# SPDX-License-Identifier: MIT
"""Online runs of the unmodified SDK through `tare service` to `tare server`: runs that go on."""

import json
import subprocess
import sys

import pytest
from online_support import clean_env, read_runs, run_script
from server_support import Server, peer_program
from service_support import TARE


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server-dir").mkdir()
    with Server(tmp_path / "server-dir") as s:
        yield s


def run(tmp_path, server, script):
    p = run_script(tmp_path, server.url, script, WANDB_API_KEY=server.key)
    return p, read_runs(tmp_path, server, "p")


def steps(run, key="v"):
    return [(row["_step"], row.get(key)) for row in run["history"]]


def test_a_resumed_run_goes_on(tmp_path, server):
    p, runs = run(tmp_path, server, """
        import json, wandb
        run = wandb.init(project="p", id="abc", config={"a": 1, "both": 1}, tags=["x"], notes="nn")
        for i in range(3):
            run.log({"v": i})
        print("first")
        run.summary["s"] = 5
        run.finish()
        run = wandb.init(project="p", id="abc", resume="must", config={"b": 2, "both": 2})
        seen = [run.resumed, dict(run.config), run.summary.get("s"), run.summary.get("v"), list(run.tags)]
        print("second")
        for i in range(3):
            run.log({"v": 10 + i})
        run.finish()
        run = wandb.init(project="p", id="abc", resume="allow")
        run.log({"v": 100}, step=50)
        run.finish()
        print(json.dumps(seen))
        """)
    assert p.returncode == 0, p.stdout
    seen = json.loads(next(line for line in p.stdout.splitlines() if line.startswith("[")))
    assert seen == [True, {"a": 1, "b": 2, "both": 2}, 5, 2, ["x"]]
    abc = runs["abc"]
    assert steps(abc) == [(0, 0), (1, 1), (2, 2), (3, 10), (4, 11), (5, 12), (50, 100)]
    assert abc["config"] == {"a": 1, "b": 2, "both": 2} and abc["tags"] == ["x"] and abc["notes"] == "nn"
    assert abc["console"] == ["first", "second"] and abc["state"] == "finished"
    assert abc["summary"] == {"v": 100, "s": 5}


@pytest.mark.parametrize("mode, id, words", [
    ("must", "absent", "Run (absent) does not exist or has not been initialized"),
    ("never", "there", "Run (there) already exists, but your `resume` setting does not allow")])
def test_whether_a_run_may_exist(tmp_path, server, mode, id, words):
    p, _ = run(tmp_path, server, f"""
        import wandb
        wandb.init(project="p", id="there").finish()
        try:
            wandb.init(project="p", id="{id}", resume="{mode}")
        except wandb.errors.UsageError as e:
            print("refused:", e)
        """)
    assert "refused: " + words in p.stdout, p.stdout


def test_a_fork_and_a_rewind_begin_behind_their_step(tmp_path, server):
    p, runs = run(tmp_path, server, """
        import wandb
        with wandb.init(project="p", id="orig", config={"a": 1}) as run:
            for i in range(10):
                run.log({"v": i})
        with wandb.init(project="p", id="forked", fork_from="orig?_step=4", config={"b": 1}) as run:
            for i in range(2):
                run.log({"v": 100 + i})
        with wandb.init(project="p", resume_from="orig?_step=6") as run:
            run.log({"v": 200})
        """)
    assert p.returncode == 0, p.stdout
    assert steps(runs["forked"]) == [(i, i) for i in range(5)] + [(5, 100), (6, 101)]
    assert steps(runs["orig"]) == [(i, i) for i in range(7)] + [(7, 200)]
    assert runs["orig"]["config"] == {"a": 1}


def test_changes_and_files_arrive(tmp_path, server):
    p, runs = run(tmp_path, server, """
        import pathlib, wandb
        run = wandb.init(project="p", id="abc", name="before")
        folder = pathlib.Path(run.dir)
        for policy in "now", "end", "live":
            (folder / f"{policy}.txt").write_text(policy)
            run.save(str(folder / f"{policy}.txt"), base_path=str(folder), policy=policy)
        (folder / "live.txt").write_text("changed")
        run.log({"page": wandb.Html("<b>x</b>", inject=False)})
        run.name = "after"
        run.tags += ("late",)
        run.notes = "changed"
        run.config.update({"x": {"y": 1}})
        run.finish()
        """)
    assert p.returncode == 0, p.stdout
    abc = runs["abc"]
    assert (abc["name"], abc["tags"], abc["notes"], abc["config"]) == ("after", ["late"], "changed", {"x": {"y": 1}})
    media = [name for name in abc["files"] if name.startswith("media/html/page_0_")]
    assert len(media) == 1
    sizes = {name: abc["files"][name] for name in ("now.txt", "end.txt", "live.txt")}
    assert sizes == {"now.txt": 3, "end.txt": 3, "live.txt": 7}


def test_output_in_parts_arrives(tmp_path, server):
    p, runs = run(tmp_path, server, """
        import time, wandb
        settings = wandb.Settings(console_multipart=True, console_chunk_max_bytes=100)
        with wandb.init(project="p", id="abc", settings=settings) as run:
            print("x" * 150, flush=True)
            time.sleep(2)
            print("the end")
        """)
    assert p.returncode == 0, p.stdout
    parts = {n: s for n, s in runs["abc"]["files"].items() if n.startswith("logs/output_")}
    assert sum(parts.values()) == 151 + 8, runs["abc"]["files"]
    assert runs["abc"]["console"] == ["x" * 150, "the end"]


ARTIFACTS = """
import sys, wandb
with wandb.init(project="p", id=sys.argv[1]) as run:
    a = wandb.Artifact("data", "dataset")
    for name in sys.argv[2:]:
        with a.new_file(name) as f:
            f.write(name)
    run.log_artifact(a)
"""


def log_artifact(tmp_path, server, *words, **env):
    path = tmp_path / "log_artifact.py"
    path.write_text(ARTIFACTS)
    return subprocess.run([sys.executable, str(path), *words], text=True, timeout=120, cwd=tmp_path, check=True,
                          env=clean_env(tmp_path, server.url, WANDB_API_KEY=server.key, **env),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


def versions(tmp_path, server, path):
    """Name, project and the run that logged it, of all versions."""
    code = ("import json, sys, wandb; print(json.dumps([[a.name, a.project, a.logged_by().id, sorted(a.manifest.entries)]"
            " for a in wandb.Api().artifacts('dataset', sys.argv[1])]))")
    p = peer_program.run([sys.executable, "-c", code, path], 120, text=True, stdout=subprocess.PIPE, cwd=tmp_path,
                         env=clean_env(tmp_path, server.url, core=None, WANDB_API_KEY=server.key, WANDB_SILENT="true"))
    p.check_returncode()
    return json.loads(p.stdout.splitlines()[-1])


def test_files_that_the_backend_has_are_not_counted(tmp_path, server):
    assert " 3 artifact file(s)" in log_artifact(tmp_path, server, "one", "a", "b")  # with the manifest
    assert " 2 artifact file(s)" in log_artifact(tmp_path, server, "two", "a", "b", "c")
    assert " 0 artifact file(s)" in log_artifact(tmp_path, server, "three", "a", "b", "c")


def test_that_an_artifact_is_there_already_is_said_once_a_minute(tmp_path, server):
    p = run_script(tmp_path, server.url, """
        import wandb
        with wandb.init(project="p", id="again") as run:
            for name in ("one", "two"):
                for i in range(3):
                    run.log_artifact(wandb.Artifact(name, "t")).wait()
        """, WANDB_API_KEY=server.key)
    assert p.returncode == 0 and p.stdout.count("already exists with the same content") == 1, p.stdout


def test_one_run_brings_several_parts_of_a_distributed_artifact(tmp_path, server):
    p = run_script(tmp_path, server.url, """
        import wandb
        with wandb.init(project="p", id="parts") as run:
            for name in ("a", "b", "c"):
                part = wandb.Artifact("whole", "dataset")
                with part.new_file(name) as f:
                    f.write(name)
                if name != "c":
                    run.upsert_artifact(part, distributed_id="d")
                else:
                    run.finish_artifact(part, distributed_id="d").wait()
        """, WANDB_API_KEY=server.key)
    assert p.returncode == 0, p.stdout
    assert versions(tmp_path, server, "p/whole") == [["whole:v0", "p", "parts", ["a", "b", "c"]]]


def test_artifacts_go_with_a_run_that_a_sync_renames(tmp_path, server):
    log_artifact(tmp_path, server, "before", "a", WANDB_MODE="offline")
    (journal,) = (tmp_path / "wandb").glob("offline-run-*-before")
    p = subprocess.run([str(TARE), "sync", "--id", "after", "-p", "q", str(journal)], text=True, timeout=60, cwd=tmp_path,
                       env=clean_env(tmp_path, server.url, core=None, WANDB_API_KEY=server.key),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 0, p.stdout
    assert versions(tmp_path, server, "q/data") == [["data:v0", "q", "after", ["a"]]]
    run = server.graphql('{ project(name: "q", entityName: "local") { run(name: "after") { program } } }')
    assert run["data"]["project"]["run"]["program"] == str(tmp_path / "log_artifact.py")
