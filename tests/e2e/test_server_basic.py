# SPDX-License-Identifier: MIT
"""The unmodified SDK with its own wandb-core against tare server: log, read back, resume."""

from __future__ import annotations

import json
import math

import pytest

from online_support import TARE, run_script
from server_support import Server

LOG = """
import json, wandb
run = wandb.init(project="demo", id="first", name="named", group="g", job_type="train", notes="hello",
                 tags=["t1", "t2"], config={"lr": 0.1, "deep": {"a": [1, 2]}, "text": "x"})
run.define_metric("loss", summary="min")
for i in range(5):
    run.log({"loss": 1.0 / (i + 1), "big": 2**53 + 1, "nested": {"x": i}, "odd": float("nan") if i == 3 else float(i),
             "word": f"<w{i}> & co"})
run.log({"sparse": 7})
run.config["late"] = 3
run.summary["final"] = "done"
print("a line of output")
run.finish()
print(json.dumps([run.entity, run.project, run.id]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


@pytest.fixture(scope="module")
def logged(server):
    assert server.script(LOG) == ["local", "demo", "first"]
    return server


def test_run_has_what_was_given(logged):
    got = logged.script("""
import json, wandb
r = wandb.Api().run("local/demo/first")
print(json.dumps(dict(name=r.name, id=r.id, state=r.state, group=r.group, job=r.job_type, notes=r.notes, tags=r.tags,
                      config=r.config, user=r.user.username, exists=r.lastHistoryStep)))
""")
    assert got["name"] == "named" and got["id"] == "first" and got["state"] == "finished"
    assert got["group"] == "g" and got["job"] == "train" and got["notes"] == "hello"
    assert sorted(got["tags"]) == ["t1", "t2"] and got["user"] == "local"
    assert got["config"] == {"lr": 0.1, "deep": {"a": [1, 2]}, "text": "x", "late": 3}
    assert got["exists"] == 5


def test_history_comes_back_as_logged(logged):
    rows = logged.script("""
import json, wandb
r = wandb.Api().run("local/demo/first")
keep = lambda row: {k: v for k, v in row.items() if not k.startswith("_") or k == "_step"}
print(json.dumps(dict(scan=[keep(x) for x in r.scan_history()], loss=[x["loss"] for x in r.scan_history(keys=["loss"])],
     sampled=[x["loss"] for x in r.history(keys=["loss"], pandas=False)], all=len(r.history(pandas=False)),
     beta=[x["loss"] for x in r.beta_scan_history(keys=["loss"])],
     dotted=r.history(keys=["nested.x"], pandas=False), scanned=list(r.scan_history(keys=["nested.x"])),
     whole=[x["nested"] for x in r.history(keys=["nested"], pandas=False)])))
""")
    want = [1.0 / (i + 1) for i in range(5)]
    assert len(rows["scan"]) == 6
    for i, row in enumerate(rows["scan"][:5]):
        assert row["_step"] == i and row["loss"] == want[i] and row["big"] == 2**53 + 1
        assert row["nested"] == {"x": i} and row["word"] == f"<w{i}> & co"
        assert math.isnan(row["odd"]) if i == 3 else row["odd"] == float(i)
    assert rows["scan"][5] == {"_step": 5, "sparse": 7}
    assert rows["loss"] == want and rows["sampled"] == want and rows["all"] == 6
    assert rows["beta"] == want
    assert rows["dotted"] == rows["scanned"] == [{"_step": i, "nested.x": i} for i in range(5)]
    assert rows["whole"] == [{"x": i} for i in range(5)]


def test_summary_and_files(logged):
    got = logged.script("""
import json, wandb
r = wandb.Api().run("local/demo/first")
files = {f.name: f.size for f in r.files()}
with r.file("output.log").download(root=".", replace=True) as f: text = f.read()
meta = json.load(r.file("wandb-metadata.json").download(root=".", replace=True))
print(json.dumps(dict(summary={k: v for k, v in r.summary._json_dict.items() if k[0] != "_"}, files=files, text=text, meta=sorted(meta))))
""")
    assert got["summary"]["loss"] == {"min": 0.2} and got["summary"]["final"] == "done"
    assert got["summary"]["big"] == 2**53 + 1 and got["summary"]["sparse"] == 7
    assert {"config.yaml", "output.log", "requirements.txt", "wandb-metadata.json",
            "wandb-summary.json"} <= set(got["files"])
    assert "a line of output" in got["text"] and "python" in got["meta"]


def test_failing_script_makes_a_failed_run(server):
    server.script("import wandb\nwandb.init(project='demo', id='bad')\nimport sys; sys.exit(3)", check=False)
    assert server.graphql('{project(name:"demo"){run(name:"bad"){state exitcode}}}')["data"]["project"]["run"] == {
        "state": "failed", "exitcode": 3}


def test_resume_goes_on_where_it_was(server):
    text = """
import json, wandb
run = wandb.init(project="demo", id="resumed", resume="{how}", config={{"{key}": 1}})
start = run.starting_step
for i in range(3): run.log({{"v": start + i}})
run.finish()
print(json.dumps([start, run.resumed]))
"""
    assert server.script(text.format(how="allow", key="a")) == [0, False]
    assert server.script(text.format(how="must", key="b")) == [3, True]
    got = server.script("""
import json, wandb
r = wandb.Api().run("local/demo/resumed")
print(json.dumps([[x["_step"] for x in r.scan_history()], [x["v"] for x in r.scan_history()], r.config, r.state]))
""")
    assert got == [list(range(6)), list(range(6)), {"a": 1, "b": 1}, "finished"]
    text = "import wandb\nwandb.init(project='demo', id='{id}', resume='{how}')"
    assert "already exists" in server.script(text.format(id="resumed", how="never"), check=False)
    assert "does not exist" in server.script(text.format(id="nowhere", how="must"), check=False)



def test_a_plain_init_of_a_known_id_drops_nothing(server):
    """The client asks how many lines there are and goes on behind them; summary and config are the last one's."""
    for k in range(2):
        server.script(f"""
import wandb
with wandb.init(project="demo", id="again", config={{"k{k}": {k}}}) as run:
    for step in range(3):
        run.log({{"x": 10 * {k} + step}})
""")
    got = server.script("""
import json, wandb
run = wandb.Api().run("demo/again")
print(json.dumps([[(r["_step"], r["x"]) for r in run.scan_history()], run.summary["x"], dict(run.config), run.state]))
""")
    assert got == [[[0, 0], [0, 10], [1, 1], [1, 11], [2, 2], [2, 12]], 12, {"k1": 1}, "finished"]


def test_fork_and_rewind(server):
    server.script("""
import wandb
with wandb.init(project="demo", id="trunk") as run:
    for i in range(6): run.log({"v": i})
with wandb.init(project="demo", id="branch", fork_from="trunk?_step=2") as run:
    run.log({"v": 100})
""")
    read = """
import json, wandb
print(json.dumps([[x["_step"], x["v"]] for x in wandb.Api().run("local/demo/%s").scan_history()]))
"""
    assert server.script(read % "branch") == [[0, 0], [1, 1], [2, 2], [3, 100]]
    server.script("""
import wandb
with wandb.init(project="demo", resume_from="trunk?_step=1") as run: run.log({"v": 7})
""")
    assert server.script(read % "trunk") == [[0, 0], [1, 1], [2, 7]]


@pytest.mark.parametrize("core", [None, TARE], ids=["wandb-core", "tare"])
@pytest.mark.parametrize("branch, words", [
    ('id="orphan", fork_from="absent?_step=2"', "cannot fork from run absent"),
    ('id="orphan", fork_from="gone?_step=0"', "cannot fork from run gone"),
    ('resume_from="absent?_step=2"', "failed to rewind run"),
])
def test_a_fork_or_rewind_of_no_run_is_refused(server, tmp_path, branch, words, core):
    done = run_script(tmp_path, server.url, f"""
        import wandb
        wandb.init(project="demo", id="gone").finish()
        wandb.Api().run("local/demo/gone").delete()
        try:
            wandb.init(project="demo", {branch})
        except wandb.errors.CommError as e:
            print("REFUSED:", e)
        """, core=core, WANDB_API_KEY=server.key)
    assert "REFUSED: " in done.stdout and words in done.stdout, done.stdout
    names = server.graphql('{ project(name: "demo") { runs { edges { node { name } } } } }')["data"]["project"]["runs"]
    assert not {"orphan", "absent"} & {e["node"]["name"] for e in names["edges"]}


def test_api_changes_runs(server):
    got = server.script("""
import json, wandb
wandb.init(project="edit", id="e1", config={"a": 1}).finish()
api = wandb.Api()
r = api.run("local/edit/e1")
r.config["b"] = 2; r.tags.append("new"); r.notes = "noted"; r.name = "renamed"; r.update()
r.summary["s"] = 1.5; r.summary.update()
r = wandb.Api().run("local/edit/e1")
out = [r.config, r.tags, r.notes, r.name, r.summary["s"], r.state]
wandb.init(project="edit", id="e2").finish()
out.append([x.id for x in api.runs("local/edit")])
api.run("local/edit/e2").delete()
out.append([x.id for x in wandb.Api().runs("local/edit")])
out.append(sorted(p.name for p in api.projects("local")))
print(json.dumps(out))
""")
    assert got[:6] == [{"a": 1, "b": 2}, ["new"], "noted", "renamed", 1.5, "finished"]
    assert got[6:8] == [["e1", "e2"], ["e1"]] and "edit" in got[8]


def test_patterns_of_files_are_those_of_like(server):
    server.graphql('mutation { upsertBucket(input: {name: "pat", modelName: "files"}) { bucket { id } } }')
    made = server.graphql("""mutation { createRunFiles(input: {runName: "pat", entityName: "local", projectName: "files",
        files: ["a%_1.txt", "aXX1.txt", "b.txt"]}) { files { uploadUrl } } }""")
    for file in made["data"]["createRunFiles"]["files"]:
        assert server.request("PUT", file["uploadUrl"], b"x", key=None)[0] == 200
    for pattern, want in (("a%.txt", ["a%_1.txt", "aXX1.txt"]), ("a__1.txt", ["a%_1.txt", "aXX1.txt"]),
                          ("a\\%\\_1.txt", ["a%_1.txt"]), ("%\\_%", ["a%_1.txt"]), ("b.txt\\", [])):
        got = server.graphql("""query($p: String) { project(name: "files") { run(name: "pat") {
            files(pattern: $p) { edges { node { name } } } } } }""", {"p": pattern})
        assert [e["node"]["name"] for e in got["data"]["project"]["run"]["files"]["edges"]] == want, pattern


def test_stop_reaches_the_program(server):
    got = server.script("""
import json, threading, time, wandb
run = wandb.init(project="demo", id="stopped", settings=wandb.Settings(x_file_stream_transmit_interval=0.5))
threading.Thread(target=lambda: (time.sleep(1), wandb.Api().run("local/demo/stopped").stop()), daemon=True).start()
try:
    for i in range(3600): run.log({"i": i}); time.sleep(0.05)
    print(json.dumps("never"))
except KeyboardInterrupt:
    print(json.dumps("stopped"))
""", timeout=250)
    assert got == "stopped"


def test_login_with_a_wrong_key_says_so(server):
    out = server.script("import wandb\nwandb.init(project='demo')", key="local-" + "0" * 40, check=False)
    assert "not logged in" in json.dumps(out)


MOVE = """mutation($f: JSONString!, $to: String!, $from: String!, $entity: String) { moveRuns(input: {filters: $f,
    sourceProjectName: $from, destinationEntityName: $entity, destinationProjectName: $to}) { success count } }"""


def test_runs_move_to_another_project_with_what_hangs_on_them(server):
    got = server.script("""
import json, os, pathlib, wandb
for name, tag in (("one", "go"), ("two", "go"), ("three", "stay")):
    with wandb.init(project="from", id="mv-" + name, name=name, tags=[tag], config={"lr": 0.5}) as run:
        for i in range(20): run.log({"loss": 1 / (i + 1)})
        p = pathlib.Path(run.dir, "note.txt"); p.write_text("of " + name); run.save(str(p), base_path=run.dir)
        a = wandb.Artifact("made-by-" + name, type="t")
        with a.new_file("x") as f: f.write(name)
        run.log_artifact(a).wait()
with wandb.init(project="to", id="mv-other") as run: run.log({"a": 1})
print("1")
""")
    assert got == 1
    move = lambda **v: server.graphql(MOVE, {"from": "from", "to": "to", "f": '{"tags": "go"}', **v})
    assert move(to="nowhere")["status"] == 404 and move(f="{")["errors"]
    assert move(to="from")["data"]["moveRuns"] == {"success": True, "count": 0}
    stranger = server.add_user("mover")
    assert server.graphql(MOVE, {"from": "from", "to": "to", "f": "{}", "entity": "local"}, key=stranger)["status"] == 404
    assert move()["data"]["moveRuns"] == {"success": True, "count": 2}
    server.graphql('mutation { upsertBucket(input: {modelName: "to", name: "mv-three"}) { inserted } }')
    refused = move(f="{}")
    assert "has a run mv-three already" in refused["errors"][0]["message"]
    server.graphql('mutation { upsertBucket(input: {modelName: "from", name: "mv-alive"}) { inserted } }')
    assert "still running" in move(f='{"name": "mv-alive"}')["errors"][0]["message"]
    got = server.script("""
import json, wandb
api = wandb.Api()
r = api.run("to/mv-one")
a = api.artifact("from/made-by-one:v0")
print(json.dumps([sorted(x.id for x in api.runs("from")), sorted(x.id for x in api.runs("to")), len(list(r.scan_history())), r.summary["loss"],
    r.config, r.file("note.txt").download("moved", replace=True).read(), [x.name for x in r.logged_artifacts()],
    a.logged_by().path]))
""")
    assert got == [["mv-alive", "mv-three"], ["mv-one", "mv-other", "mv-three", "mv-two"], 20, 0.05, {"lr": 0.5}, "of one", ["made-by-one:v0"],
                   ["local", "to", "mv-one"]]
    server.script('import wandb; run = wandb.init(project="to", id="mv-one", resume="must"); assert run.starting_step == 20, run.starting_step; run.finish()')


def test_pages_in_any_order_survive_changes(server):
    for i in range(12):
        server.graphql('mutation { upsertBucket(input: {name: "pg%02d", modelName: "pages", config: "{\\"i\\": {\\"value\\": %d}}"})'
                       ' { inserted } }' % (i, i % 4))
    query = """query($o: String, $a: String) { project(name: "pages") { runs(order: $o, first: 3, after: $a) {
        edges { node { id name } } pageInfo { endCursor hasNextPage } } } }"""
    names = lambda page: [e["node"]["name"] for e in page["edges"]]
    ask = lambda order, after=None: server.graphql(query, {"o": order, "a": after})["data"]["project"]["runs"]
    first = ask("+config.i,+name")
    assert names(first) == ["pg00", "pg04", "pg08"]
    after = first["pageInfo"]["endCursor"]
    server.graphql('mutation { upsertBucket(input: {name: "pg001", modelName: "pages", config: "{\\"i\\": {\\"value\\": 0}}"}) { inserted } }')
    assert names(ask("+config.i,+name", after)) == ["pg01", "pg05", "pg09"]  # none twice
    for edge in first["edges"][:2]:
        server.graphql('mutation { deleteRun(input: {id: "%s"}) { success } }' % edge["node"]["id"])
    assert names(ask("+config.i,+name", after)) == ["pg01", "pg05", "pg09"]  # none left out
    rest, page = [], {"pageInfo": {"hasNextPage": True, "endCursor": None}}
    while page["pageInfo"]["hasNextPage"]:
        page = ask("-config.i,-name", page["pageInfo"]["endCursor"])
        rest += names(page)
    assert rest == ["pg11", "pg07", "pg03", "pg10", "pg06", "pg02", "pg09", "pg05", "pg01", "pg08", "pg001"]
    for bad in ("@x:1", "@1", "@1:", "1:2", "@-5:1"):
        assert server.graphql(query, {"o": "+name", "a": bad})["errors"], bad


def test_names_that_no_url_can_hold_are_refused(server):
    for name in (".", "..", "a/b", "a\\b", "x" * 129):
        for ask in ('upsertBucket(input: {modelName: %s, name: "r"}) { inserted }', 'upsertModel(input: {name: %s}) { inserted }',
                    'upsertBucket(input: {modelName: "names", name: %s}) { inserted }'):
            got = server.graphql("mutation { " + ask % json.dumps(name) + " }")
            assert got["status"] == 400 and "invalid" in got["errors"][0]["message"], (name, ask, got)
    for name in ("...", "ü x", "a.b-c_d", "x" * 128):
        made = server.graphql("mutation($n: String) { upsertBucket(input: {modelName: $n, name: $n}) { inserted } }", {"n": name})
        assert made["data"]["upsertBucket"]["inserted"], name
    out = server.script("import wandb\nwandb.init(project='..')", check=False)
    assert "invalid project name" in out


def test_system_metrics_are_those_of_the_last_sample(server):
    server.graphql('mutation { upsertBucket(input: {name: "sys", modelName: "system"}) { inserted } }')
    read = """
import json, wandb
print(json.dumps([wandb.Api().run("system/sys").system_metrics, wandb.Api().runs("system")[0].system_metrics]))
"""
    assert server.script(read) == [{}, {}]
    lines = [json.dumps({"_timestamp": 10 + i, "_wandb": True, "system.cpu": i / 2, "system.gpu.0.temp": 30 + i}) for i in range(3)]
    body = {"files": {"wandb-events.jsonl": {"offset": 0, "content": lines}}}
    assert server.request("POST", "/files/local/system/sys/file_stream", json.dumps(body).encode())[0] == 200
    assert server.script(read) == [json.loads(lines[2])] * 2


def test_states_that_the_api_sets(server):
    got = server.script("""
import json, wandb
api = wandb.Api()
def become(run, state):
    try:
        return [run.update_state(state), run.state]
    except wandb.Error as e:
        return str(e)
r = api.create_run(project="states", run_id="s1")
out = [become(r, s) for s in ("pending", "failed", "pending", "finished")]
wandb.init(project="states", id="s2").finish()
out += [become(api.run("states/s2"), s) for s in ("pending", "failed")]
print(json.dumps(out + [[x.state for x in wandb.Api().runs("states")]]))
""")
    assert got[:3] == [[True, "pending"], [True, "failed"], [True, "pending"]]
    assert "cannot become finished" in got[3] and "cannot become pending" in got[4] and "cannot become failed" in got[5]
    assert got[6] == ["pending", "finished"]


def test_clients_that_share_a_run_leave_each_other_what_they_logged(server):
    """mode="shared": each sends its own whole summary and config, and numbers its own console lines from 0."""
    text = """
import wandb
s = wandb.Settings(mode="shared", x_primary={0}, x_label="{1}", x_update_finish_state={0}, x_disable_stats=True)
with wandb.init(project="shared", id="sh", config={{"of {1}": 1}}, settings=s) as run:
    for i in range(3):
        run.log({{"{1}": i}})
        print("{1} says", i)
    run.summary["sum {1}"] = 7
    run.config["late {1}"] = 2
"""
    for primary, label in ((True, "one"), (False, "two"), (False, "three")):
        server.script(text.format(primary, label), check=False)
    got = server.script("""
import json, wandb
r = wandb.Api().run("shared/sh")
print(json.dumps([{k: v for k, v in r.summary_metrics.items() if k[0] != "_"}, r.config,
                  [(l.number, l.label, l.content) for l in r.console_logs()],
                  sorted((x["_step"], k) for x in r.scan_history() for k in x if k[0] != "_"), r.state]))
""")
    names = ["one", "two", "three"]
    assert got[0] == {**{n: 2 for n in names}, **{"sum " + n: 7 for n in names}}
    assert got[1] == {**{"of " + n: 1 for n in names}, **{"late " + n: 2 for n in names}}
    lines = [[n, f"{n} says {i}"] for n in names for i in range(3)]
    assert got[2] == [[i, *line] for i, line in enumerate(lines)]
    assert got[3] == sorted([i, n] for n in names for i in range(3))
