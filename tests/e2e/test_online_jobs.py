# SPDX-License-Identifier: MIT
"""Jobs of online runs of the unmodified SDK, through `tare service` to `tare server`."""

import json

import pytest
from online_support import run_script
from server_support import Server


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server-dir").mkdir()
    with Server(tmp_path / "server-dir") as s:
        yield s


# What the SDK's Api has of a project's jobs.
READ = """
api = wandb.Api()
found = {}
types = [t for t in api.artifact_types(project="p") if t.name == "job"]
for collection in types[0].collections() if types else []:
    for a in collection.artifacts():
        path = pathlib.Path(a.download())
        found[a.name] = dict(aliases=sorted(a.aliases), metadata=a.metadata, used=sorted(r.id for r in a.used_by()), files=sorted(a.manifest.entries),
                             job=json.loads((path / "wandb-job.json").read_text()))
print(json.dumps(found))
"""


def run(tmp_path, server, script):
    script = "import json, pathlib, wandb\n" + script + READ
    p = run_script(tmp_path, server.url, script, WANDB_API_KEY=server.key)
    assert p.returncode == 0, p.stdout
    lines = [line for line in p.stdout.splitlines() if line.startswith("{")]
    assert lines, p.stdout
    return json.loads(lines[-1])


def test_logged_code_becomes_a_job_once_for_the_same_program(tmp_path, server):
    found = run(tmp_path, server, """
for id in ("one", "two"):
    with wandb.init(project="p", id=id, config={"lr": 0.5, "n": [1]},
                    settings=wandb.Settings(disable_job_creation=False, disable_git=True)) as run:
        run.log_code(".", include_fn=lambda path: path.endswith("program.py"))
        run.log({"loss": 1})
""")
    assert len(found) == 1, "the same program twice is one version of one job"
    ((name, job),) = found.items()
    assert name.startswith("job-source-p-") and name.endswith(":v0")
    assert job["aliases"] == ["latest", "v0"] or job["aliases"] == ["latest"]
    assert job["files"] == ["requirements.frozen.txt", "wandb-job.json"]
    assert job["job"]["source_type"] == "artifact"
    assert job["job"]["source"]["artifact"].startswith("wandb-artifact://_id/")
    assert job["job"]["source"]["entrypoint"][1] == "program.py"
    assert job["job"]["input_types"]["params"]["type_map"]["lr"] == {"wb_type": "number"}
    assert job["job"]["output_types"]["params"]["type_map"]["loss"] == {"wb_type": "number"}
    assert job["used"] == ["one", "two"]


def test_a_launched_run_makes_no_other_job(tmp_path, server):
    found = run(tmp_path, server, """
settings = wandb.Settings(disable_job_creation=False, disable_git=True, job_name="mine")
with wandb.init(project="p", id="one", settings=settings) as run:
    run.log_code(".", include_fn=lambda path: path.endswith("program.py"))
with wandb.init(project="p", id="two", settings=settings, config={"other": 1}) as run:
    run.use_artifact("mine:latest")
    run.log_code(".", include_fn=lambda path: path.endswith("program.py"))
""")
    assert list(found) == ["mine:v0"]


def test_declared_inputs_are_metadata(tmp_path, server):
    (tmp_path / "conf.yaml").write_text("a: {b: 1, c: x}\n")
    found = run(tmp_path, server, """
from wandb.sdk import launch
launch.manage_wandb_config(include=["lr"])
launch.manage_config_file("conf.yaml", exclude=["a.c"])
with wandb.init(project="p", config={"lr": 0.5, "n": 1},
                settings=wandb.Settings(disable_job_creation=False, disable_git=True)) as run:
    run.log_code(".", include_fn=lambda path: path.endswith("program.py"))
""")
    number = {"wb_type": "number"}
    (job,) = found.values()
    assert job["metadata"]["input_types"] == {
        "@wandb.config": {"wb_type": "typedDict", "params": {"type_map": {"lr": number}}},
        "files": {"conf.yaml": {"wb_type": "typedDict", "params": {"type_map": {
            "a": {"wb_type": "typedDict", "params": {"type_map": {"b": number}}}}}}}}


def test_no_job_is_made_unless_it_is_asked_for(tmp_path, server):
    assert run(tmp_path, server, """
with wandb.init(project="p", settings=wandb.Settings(disable_git=True)) as run:
    run.log_code(".", include_fn=lambda path: path.endswith("program.py"))
""") == {}
