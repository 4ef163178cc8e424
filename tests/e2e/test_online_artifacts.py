# SPDX-License-Identifier: MIT
"""The artifacts of test_server_artifacts.py once more, with our service in the SDK."""

import pytest
from online_support import SITE
from server_support import Server
from service_support import TARE
from test_server_artifacts import HEAD
from test_server_artifacts import *  # noqa: F401, F403


class OurService(Server):
    def env(self, key=""):
        return {**super().env(key), "PARITY_CORE": str(TARE), "PYTHONPATH": SITE}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with OurService(tmp_path_factory.mktemp("server")) as s:
        yield s


def test_failure_is_said_to_who_waits(server):
    got = server.script(HEAD + """
with wandb.init(project="art") as run:
    a = wandb.Artifact("gone", type="dataset")
    a.add_file(put("in/x", b"x"), policy="immutable")
    os.unlink("in/x")
    try:
        run.log_artifact(a).wait()
        said = "nothing"
    except Exception as e:
        said = str(e)
print(json.dumps(said))
""")
    assert "most remaining uploads (1/1) have failed" in got and "No such file" in got


def test_two_runs_of_one_service_and_a_job_of_code(server):
    got = server.script(HEAD + """
runs = [wandb.init(project="two", id=f"r{i}", reinit="create_new") for i in range(2)]
artifacts = []
for i, run in enumerate(runs):
    a = wandb.Artifact(f"of{i}", type="model")
    for k in range(300):
        a.add_file(put(f"in{i}/{k}", b"%d %d" % (i, k)), name=f"deep/{k}")
    artifacts.append(run.log_artifact(a))
for a in artifacts:
    a.wait()
for run in runs:
    run.finish()
print(json.dumps([sorted(tree(fetch(wandb.Api().artifact(f"local/two/of{i}:latest"), f"out{i}")).items()) for i in range(2)]))
""")
    for i in range(2):
        assert {k: bytes.fromhex(v).decode() for k, v in got[i]} == {f"deep/{k}": f"{i} {k}" for k in range(300)}



def test_synced_artifact(server):
    """Offline the SDK keeps the artifact in the journal; sync brings it."""
    got = server.script(HEAD + """
import subprocess, glob
os.environ["WANDB_MODE"] = "offline"
with wandb.init(project="off", id="later") as run:
    a = wandb.Artifact("off", type="dataset")
    a.add_file(put("in/o", b"offline"), name="o")
    run.log_artifact(a)
del os.environ["WANDB_MODE"]
subprocess.run([os.environ["PARITY_CORE"], "sync", *glob.glob("wandb/offline-run-*-later")], check=True, stdout=subprocess.DEVNULL)
print(json.dumps(tree(fetch(wandb.Api().artifact("local/off/off:v0"), "off"))))
""")
    assert bytes.fromhex(got["o"]) == b"offline"
