# SPDX-License-Identifier: MIT
"""wandb.Api through `tare service`: the same program as through wandb-core gives the same, against
`tare server`."""

import pathlib

import wandb
from online_support import run_script
from server_support import Server
from service_support import TARE

PEER = str(pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core")

MAKE = """
    import pathlib
    import wandb
    for i in range(2):
        with wandb.init(project="demo", name=f"run-{i}", id=f"run{i}", config={"lr": i, "d": {"x": [1, 2]}},
                        tags=["a", f"t{i}"]) as run:
            for step in range(25):
                print("line", step)
                run.log({"loss": 1 / (step + 1), "exact": 0.1 + step, "text": f"s{step}", "big": 2**53 + step,
                         "h": {"in": step}})
            run.summary["best"] = 7
            pathlib.Path("data.bin").write_bytes(bytes(range(256)) * 999)
            run.save("data.bin")
"""

READ = """
    import json, pathlib
    import wandb

    def show(name, value):
        print("=", name, json.dumps(value, sort_keys=True, default=str))

    def plain(rows):
        return [{k: v for k, v in r.items() if k not in ("_timestamp", "_runtime")} for r in rows]

    def fails(name, what):
        try:
            what()
            show(name, "no error")
        except Exception as e:
            text = str(e).split("(<Response")[0]
            show(name, [type(e).__name__, text])

    api = wandb.Api()
    show("entity", api.default_entity)
    show("viewer", api.viewer.username)
    show("flags", sorted(api.viewer.teams))
    runs = sorted(api.runs("demo"), key=lambda r: r.id)
    show("runs", [[r.id, r.name, r.state, r.config, sorted(r.tags)] for r in runs])
    run = api.run("demo/run0")
    show("summary", {k: v for k, v in run.summary_metrics.items() if not k.startswith("_")})
    show("history", plain(run.history(pandas=False)))
    show("history keys", run.history(keys=["loss", "exact"], pandas=False)[:3])
    for size in (7, 1000):
        rows = list(run.scan_history(page_size=size))
        show(f"scan {size}", plain(rows))
        show(f"scan keys {size}", list(run.scan_history(keys=["loss", "text"], page_size=size)))
    show("scan part", [r["_step"] for r in run.scan_history(min_step=5, max_step=9)])
    if hasattr(run, "console_logs"):
        show("console", [l.content for l in run.console_logs()])
        show("tail", [l.content for l in run.console_logs(last=3)])
        fails("console of nobody", lambda: list(api.run("demo/none").console_logs()))
    show("files", sorted(f.name for f in run.files()))
    with run.file("data.bin").download(root="down", replace=True) as f:
        show("downloaded", pathlib.Path("down/data.bin").read_bytes() == bytes(range(256)) * 999)
    show("left", sorted(p.name for p in pathlib.Path("down").iterdir()))
    pathlib.Path("up.txt").write_text("up" * 50000)
    show("uploaded", run.upload_file("up.txt").name)
    show("there", sorted(f.name for f in api.run("demo/run0").files() if f.name == "up.txt"))
    fails("missing run", lambda: api.run("demo/missing"))
    fails("missing project", lambda: list(api.runs("nobody/nothing")))
    fails("missing file", lambda: run.file("nothing.txt").download(root="down"))
    run.config["late"] = 3
    run.tags = ["z"]
    run.update()
    again = wandb.Api().run("demo/run0")
    show("updated", [again.config["late"], again.tags])
    fails("parquet", lambda: again.download_history_exports("exports") if hasattr(again, "download_history_exports") else None)
    sid = wandb.sweep({"method": "grid", "parameters": {"a": {"values": [1, 2]}}}, project="demo")
    sweep = api.sweep(f"demo/{sid}")
    show("sweep", [sweep.config["method"], len(sweep.runs)])
    show("artifact types", [t.name for t in api.artifact_types("demo")])
    fails("missing artifact", lambda: api.artifact("demo/none:latest"))
    fails("chart", lambda: api.create_custom_chart(entity=api.default_entity, name="c", display_name="C",
          spec_type="vega2", access="private", spec={"a": 1}))
    fails("queue", lambda: api.create_run_queue(name="q", type="local-container", entity=api.default_entity))
    fails("stop", lambda: again.stop() if hasattr(again, "stop") else None)
    again.delete()
    fails("deleted", lambda: wandb.Api().run("demo/run0"))
"""


def shown(text):
    return [line for line in text.splitlines() if line.startswith("= ")]


def read_through(tmp_path, core):
    folder = tmp_path / pathlib.Path(core).name
    folder.mkdir()
    with Server(folder) as server:
        made = run_script(folder, server.url, MAKE, core=PEER, WANDB_API_KEY=server.key)
        assert made.returncode == 0, made.stdout
        p = run_script(folder, server.url, READ, core=core, WANDB_API_KEY=server.key)
        assert p.returncode == 0, p.stdout
    return shown(p.stdout.replace(server.url, "URL"))


def test_a_program_reads_and_changes_the_same(tmp_path):
    """runs, history, scans, console, files, updates, sweeps, charts, queues, and what is missing"""
    ours, theirs = read_through(tmp_path, TARE), read_through(tmp_path, PEER)
    assert len(theirs) > 30
    assert ours == theirs
