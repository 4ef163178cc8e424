# SPDX-License-Identifier: MIT
"""Online runs of the unmodified SDK through `tare service` to a backend that remembers."""

import json
import math

import pytest
from online_support import FakeBackend, run_script


@pytest.fixture
def backend():
    with FakeBackend() as b:
        yield b


def only_run(backend):
    assert len(backend.runs) == 1, list(backend.runs)
    return next(iter(backend.runs.values()))


def user_config(run):
    return {k: v["value"] for k, v in run.config.items() if k != "_wandb"}


def rows(run, *keys):
    return [tuple(row.get(k) for k in keys) for row in run.history]


def test_a_run_arrives_whole(tmp_path, backend):
    p = run_script(tmp_path, backend.url, """
        import wandb
        run = wandb.init(project="demo", name="first", config={"lr": 0.1, "net": {"depth": 3}}, tags=["t"],
                         notes="n", group="g", job_type="train")
        print("hello")
        run.define_metric("loss", summary="min")
        for i in range(100):
            run.log({"loss": 1 / (i + 1), "train/x": i, "d": {"e": i}, "exact": 0.1 + i})
        run.log({"odd": float("nan"), "inf": float("-inf"), "text": "a\\nb", "list": [1, 2.5, None]})
        run.config["late"] = 3
        run.summary["best"] = 7
        run.finish()
        """)
    assert p.returncode == 0, p.stdout
    assert "View run first at" in p.stdout and "Synced 5 W&B file(s)" in p.stdout
    run = only_run(backend)
    assert run.exit_code == 0
    assert rows(run, "_step", "loss", "train/x", "exact")[:100] == [
        (i, 1 / (i + 1), i, 0.1 + i) for i in range(100)]
    assert [row["d"]["e"] for row in run.history[:100]] == list(range(100))
    last = run.history[100]
    assert math.isnan(last["odd"]) and last["inf"] == -math.inf
    assert last["text"] == "a\nb" and last["list"] == [1, 2.5, None] and last["_step"] == 100
    assert user_config(run) == {"lr": 0.1, "net": {"depth": 3}, "late": 3}
    assert run.config["_wandb"]["value"]["m"] == [{"1": "loss", "6": [3], "7": [1]}]
    assert run.summary["best"] == 7 and run.summary["_step"] == 100 and run.summary["loss"] == {"min": 0.01}
    first = run.upserts[0]
    assert (first["displayName"], first["tags"], first["notes"], first["groupName"], first["jobType"]) == (
        "first", ["t"], "n", "g", "train")
    assert [line.split(" ", 1)[1] for line in run.console] == ["hello"]
    assert set(run.uploads) == {"config.yaml", "output.log", "requirements.txt", "wandb-metadata.json",
                                "wandb-summary.json"}
    assert run.uploads["output.log"] == b"hello\n"
    assert json.loads(run.uploads["wandb-summary.json"]) == run.summary
    assert not backend.unknown


def test_what_is_told_of_a_program_that_fails(tmp_path, backend):
    p = run_script(tmp_path, backend.url, """
        import sys, wandb
        run = wandb.init(project="demo")
        run.log({"a": 1})
        sys.exit(3)
        """)
    assert p.returncode == 3
    run = only_run(backend)
    assert run.exit_code == 3 and rows(run, "_step", "a") == [(0, 1)]


def test_runs_one_after_the_other_and_at_once(tmp_path, backend):
    p = run_script(tmp_path, backend.url, """
        import wandb
        for i in range(3):
            with wandb.init(project="demo", id=f"after{i}") as run:
                run.log({"i": i})
        runs = [wandb.init(project="demo", id=f"once{i}", reinit="create_new") for i in range(3)]
        for step in range(10):
            for i, run in enumerate(runs):
                run.log({"i": i, "s": step})
        for run in runs:
            run.finish()
        """)
    assert p.returncode == 0, p.stdout
    assert sorted(backend.runs) == ["after0", "after1", "after2", "once0", "once1", "once2"]
    for name, run in backend.runs.items():
        i = int(name[-1])
        want = [(0, i)] if name.startswith("after") else [(s, i) for s in range(10)]
        assert rows(run, "_step", "i") == want and run.exit_code == 0


def test_nothing_is_said_of_a_run_that_never_came_to_be(tmp_path, backend):
    p = run_script(tmp_path, backend.url, """
        import wandb
        try:
            wandb.init(project="demo", config={3: 4})  # no key for the client
        except AttributeError:
            print("refused")
        """)
    assert "refused" in p.stdout and "Find logs at" in p.stdout, p.stdout
    assert "wandb sync" not in p.stdout and not backend.runs, p.stdout


def test_an_empty_key_of_the_config_arrives(tmp_path, backend):
    p = run_script(tmp_path, backend.url, """
        import wandb
        run = wandb.init(project="demo", config={"": 1, "a": {"": 2}})
        run.finish()
        """)
    assert user_config(only_run(backend)) == {"": 1, "a": {"": 2}}, p.stdout


def test_a_backend_that_refuses_is_quoted(tmp_path, backend):
    backend.on_UpsertBucket = lambda variables: {"upsertBucket": None}
    backend.refuse = ("UpsertBucket", 404, {"errors": [{"message": "no such project"}]})
    p = run_script(tmp_path, backend.url, """
        import wandb
        try:
            wandb.init(project="demo")
        except wandb.errors.CommError as e:
            print("refused:", e)
        """)
    assert "refused: no such project" in p.stdout, p.stdout
