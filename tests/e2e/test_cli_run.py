# SPDX-License-Identifier: MIT
"""`tare run`, `tare service` and `tare tail` while something runs."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from cli_runs import TARE, clean_env, tare

SLOW = """
import sys, time
import wandb
run = wandb.init(project="p", name="slow", dir=sys.argv[1])
print("RUN", run.id, flush=True)
for i in range(int(sys.argv[2])):
    run.log({"i": i})
    print("line", i, flush=True)
    time.sleep(0.05)
if sys.argv[3] == "finish":
    run.finish()
elif sys.argv[3] == "raise":
    raise RuntimeError("no")
sys.exit(int(sys.argv[4]))
"""


def slow(directory, n=5, end="finish", code=0):
    return [sys.executable, "-c", SLOW, str(directory), str(n), end, str(code)]


def start(words, **kw):
    return subprocess.Popen(
        [TARE, *words], env=clean_env(**kw.pop("env", {})), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **kw)


def the_run(directory):
    (line,) = tare("ls", "--json", directory).stdout.splitlines()
    return json.loads(line)


def has_begun(directory):
    """A run is listed: its journal is more than created."""
    return tare("ls", "--json", directory).stdout.count("\n") == 1


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def alive(pid):
    try:
        return not pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):  # it may end between opening and reading
        return False


# ---- tare run


def test_environment_and_exit_code(tmp_path):
    p = tare("run", "--", "sh", "-c", "echo $WANDB_SERVICE $WANDB_MODE; exit 3", cwd=tmp_path)
    assert p.returncode == 3
    token = re.fullmatch(r"3-(\d+)-unix-(/.+) offline\n", p.stdout)
    assert token, p.stdout
    assert not alive(int(token[1])) and not os.path.exists(token[2])


@pytest.mark.parametrize("name", ["WANDB_MODE", "WANDB_BASE_URL"])
def test_what_the_user_set_stays(name):
    p = tare("run", "sh", "-c", f"echo ${name}:$WANDB_MODE", env={"WANDB_MODE": "", name: "x"})
    assert p.stdout == ("x:x\n" if name == "WANDB_MODE" else "x:\n")


# ---- tare run and the user's own server


@pytest.fixture
def own(tmp_path):
    """Someone who has said nothing about where runs go."""
    env = {"WANDB_MODE": "", "HOME": str(tmp_path), "TARE_SERVER_DIR": str(tmp_path / "server"),
           "WANDB_SILENT": "false"}
    yield env
    with open(tmp_path / "server" / "lock") as lock:
        pid = int(lock.read().split()[0])
    os.kill(pid, signal.SIGTERM)
    while alive(pid):
        time.sleep(0.02)


def test_runs_go_to_the_users_own_server(own, tmp_path):
    p = tare("run", "--", *slow(tmp_path, 5), env=own, cwd=tmp_path)
    assert p.returncode == 0, p.stderr
    url = re.search(r"logging to (http://127\.0\.0\.1:\d+), started now", p.stderr)[1]
    link = re.search(r"^tare run: (http\S+)$", p.stderr, re.M)[1]
    assert link.startswith(f"{url}/local/")
    again = tare("run", "--", *slow(tmp_path, 3), env=own, cwd=tmp_path)
    assert f"logging to {url} (" in again.stderr, again.stderr
    shown = json.loads(tare("show", "--json", link, env=own).stdout)
    assert shown["state"] == "finished" and shown["rows"] == 5 and shown["folder"] == link
    text = tare("show", link.removeprefix(url + "/").replace("/runs/", "/"), env=own).stdout
    assert "finished" in text and "step" in text
    missing = tare("show", "local/nothing/here", env=own)
    assert missing.returncode == 1 and "has no run local/nothing/here" in missing.stderr


SERVER_DIES = """
import os, signal, wandb
run = wandb.init(project="p", id="dies", settings=wandb.Settings(finish_timeout=2))
run.log({"i": 0})
with open(os.environ["TARE_SERVER_DIR"] + "/lock") as lock:
    os.kill(int(lock.read().split()[0]), signal.SIGKILL)
for i in range(1, 500):
    run.log({"i": i})
run.finish()
"""


def test_a_server_that_dies_holds_nothing_up_and_sync_brings_the_rest(own, tmp_path):
    began = time.monotonic()
    p = tare("run", "--", sys.executable, "-c", SERVER_DIES, env=own, cwd=tmp_path)
    assert p.returncode == 0, p.stderr
    assert time.monotonic() - began < 110  # it would be held up for ever
    assert "what has not arrived there is kept on disk, `tare sync` brings it" in p.stderr
    assert "started a server" in tare("sync", env=own, cwd=tmp_path).stderr
    shown = json.loads(tare("show", "--json", "local/p/dies", env=own).stdout)
    assert shown["state"] == "finished" and shown["rows"] == 500


def test_offline_stays_on_disk(tmp_path):
    env = {"WANDB_MODE": "", "HOME": str(tmp_path), "TARE_SERVER_DIR": str(tmp_path / "server")}
    p = tare("run", "--offline", "sh", "-c", "echo $WANDB_MODE:$WANDB_BASE_URL", env=env)
    assert p.stdout == "offline:\n" and not (tmp_path / "server").exists()


def test_a_server_that_cannot_start_costs_nothing_but_a_word(tmp_path):
    (tmp_path / "server").write_text("a file")
    env = {"WANDB_MODE": "", "HOME": str(tmp_path), "TARE_SERVER_DIR": str(tmp_path / "server")}
    p = tare("run", "sh", "-c", "echo $WANDB_MODE", env=env)
    assert p.returncode == 0 and p.stdout == "offline\n" and "tare sync" in p.stderr
    assert tare("run", "--server", "true", env=env).returncode == 1


@pytest.mark.parametrize("file, text", [
    (".config/wandb/settings", "[default]\nbase_url = http://127.0.0.1:9\n"),
    (".config/wandb/settings", "[default]\nmode = offline\n"),
    (".netrc", "machine api.wandb.ai\n  login user\n  password " + "k" * 40 + "\n"),
])
def test_who_has_said_where_is_left_alone(tmp_path, file, text):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    env = {"WANDB_MODE": "", "HOME": str(tmp_path), "TARE_SERVER_DIR": str(tmp_path / "server")}
    p = tare("run", "sh", "-c", "echo :$WANDB_MODE:$WANDB_BASE_URL", env=env)
    assert p.stdout == "::\n" and not (tmp_path / "server").exists()


def test_commands_that_cannot_run(tmp_path):
    assert tare("run", "--", "nosuch-command").returncode == 127
    (tmp_path / "x").write_text("")
    assert tare("run", "--", tmp_path / "x").returncode == 126
    assert tare("run", "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    assert tare("run").returncode == 2


def test_options_of_the_command_are_its_own():
    p = tare("run", "echo", "--help", "-x", "--", "y")
    assert p.stdout == "--help -x -- y\n"


@pytest.mark.parametrize("end,code,state", [
    ("finish", 0, "finished"), ("exit", 0, "finished"), ("exit", 4, "failed"), ("raise", 1, "failed")])
def test_sdk_program_logs_through_tare(tmp_path, end, code, state):
    p = tare("run", "--", *slow(tmp_path, 5, end, code))
    assert p.returncode == code, p.stderr
    run = the_run(tmp_path)
    assert (run["state"], run["exit_code"], run["rows"]) == (state, code, 5)
    got = tare("verify", run["folder"])
    assert got.returncode == 0, got.stdout


def test_signals_reach_the_program(tmp_path):
    p = start(["run", "--", *slow(tmp_path, 400)])
    wait_for(lambda: "RUN" in p.stdout.readline())
    p.send_signal(signal.SIGTERM)
    assert p.wait(timeout=60) == 128 + signal.SIGTERM
    assert tare("verify", the_run(tmp_path)["folder"]).returncode == 0


def test_killed_run_leaves_no_process(tmp_path):
    p = start(["run", "--", "sh", "-c", "echo $$ $WANDB_SERVICE; exec sleep 60"])
    shell, token = p.stdout.readline().split()
    service, path = int(token.split("-")[1]), token.split("-unix-")[1]
    p.kill()
    p.wait()
    wait_for(lambda: not alive(service))
    assert not os.path.exists(path)
    os.kill(int(shell), signal.SIGKILL)


def test_runs_inside_runs_share_the_service():
    p = tare("run", "sh", "-c", f"echo $WANDB_SERVICE; {TARE} run -- sh -c 'echo $WANDB_SERVICE'")
    first, second = p.stdout.splitlines()
    assert first == second


def test_stale_token_is_replaced():
    p = tare("run", "sh", "-c", "echo $WANDB_SERVICE", env={"WANDB_SERVICE": "3-1-unix-/nowhere/s"})
    assert p.returncode == 0 and "/nowhere/s" not in p.stdout and "-unix-/" in p.stdout


# ---- tare service


@pytest.fixture
def runtime(tmp_path):
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    yield env
    tare("service", "stop", "--now", env=env)


def test_detached_service_lives_and_ends(runtime, tmp_path):
    p = tare("service", "status", env=runtime)
    assert (p.returncode, p.stdout) == (1, "not running\n")
    p = tare("service", "start", env=runtime)
    assert p.returncode == 0, p.stderr
    status = json.loads(tare("service", "status", "--json", env=runtime).stdout)
    assert status["running"] and f"WANDB_SERVICE={status['token']}\n" in p.stdout
    again = json.loads(tare("service", "start", "--json", env=runtime).stdout)
    assert again == status
    p = tare("run", "--", *slow(tmp_path), env=runtime)
    assert p.returncode == 0, p.stderr
    assert the_run(tmp_path)["state"] == "finished" and alive(status["pid"])
    p = tare("service", "stop", env=runtime)
    assert (p.returncode, p.stdout) == (0, "stopped\n")
    assert not alive(status["pid"]) and not os.path.exists(status["socket"])
    assert tare("service", "status", env=runtime).returncode == 1
    assert tare("service", "stop", env=runtime).stdout == "not running\n"


def test_detached_service_ends_when_idle(runtime):
    pid = json.loads(tare("service", "start", "--json", "--idle-timeout", "2s", env=runtime).stdout)["pid"]
    wait_for(lambda: not alive(pid))
    assert tare("service", "status", env=runtime).returncode == 1
    assert tare("service", "start", env=runtime).returncode == 0  # what it left is not in the way


def test_folder_of_someone_else_is_refused(tmp_path):
    (tmp_path / "tare").mkdir(mode=0o755)
    p = tare("service", "start", env={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert p.returncode == 1 and "yours alone" in p.stderr


def test_service_words():
    assert tare("service", "nosuch").returncode == 2
    assert tare("service", "start", "--nosuch").returncode == 2


# ---- tare tail


def test_tail_follows_until_the_end(tmp_path):
    run = start(["run", "--", *slow(tmp_path, 100, "exit", 3)])
    wait_for(lambda: has_begun(tmp_path) and the_run(tmp_path)["state"] == "running")
    tail = start(["tail", "-n", "2000", "--dir", str(tmp_path)])
    out, err = tail.communicate(timeout=60)
    run.communicate(timeout=60)
    assert tail.returncode == 0
    assert "run failed (exit code 3), 100 rows" in err
    for i in range(100):
        assert re.search(rf"^ +{i}  i={i}$", out, re.M), i
        assert f"line {i}\n" in out


def test_tail_ends_when_the_service_was_killed(tmp_path):
    run = start(["run", "--", "sh", "-c", "echo $WANDB_SERVICE; exec \"$@\"", "sh",
                 *slow(tmp_path, 400)])
    service = int(run.stdout.readline().split("-")[1])
    wait_for(lambda: has_begun(tmp_path) and the_run(tmp_path)["rows"] > 5)
    tail = start(["tail", "--json", "--dir", str(tmp_path)])
    wait_for(lambda: tail.stdout.readline())
    os.kill(service, signal.SIGKILL)
    tail.communicate(timeout=60)
    assert tail.returncode == 0
    run.kill()
    run.communicate(timeout=60)
    assert the_run(tmp_path)["state"] == "unfinished"


def test_tail_can_be_stopped(tmp_path):
    run = start(["run", "--", *slow(tmp_path, 400)])
    wait_for(lambda: has_begun(tmp_path))
    tail = start(["tail", "--dir", str(tmp_path)])
    wait_for(lambda: "line" in tail.stdout.readline())
    tail.send_signal(signal.SIGINT)
    tail.communicate(timeout=60)
    assert tail.returncode == 0
    run.terminate()
    run.communicate(timeout=60)


def test_runs_of_the_peers_service_are_seen_alive(tmp_path):
    """Its journal is not locked, and may not be written to for minutes."""
    words = slow(tmp_path, 400)
    p = subprocess.Popen(words, env=clean_env(WANDB_MODE="offline"), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: "RUN" in p.stdout.readline())
    journal = wait_for(lambda: list(tmp_path.glob("wandb/offline-run-*/run-*.wandb")))[0]
    wait_for(lambda: has_begun(tmp_path))
    os.utime(journal, (0, 0))
    assert wait_for(lambda: the_run(tmp_path)["state"]) == "running"
    p.kill()
    p.wait()
    wait_for(lambda: the_run(tmp_path)["state"] != "running")
    os.utime(journal, (0, 0))
    run = the_run(tmp_path)
    assert run["state"] in ("crashed", "failed")
    assert ("exit_code" in run) == (run["state"] == "failed")
    assert tare("tail", "--dir", tmp_path, timeout=60).returncode == 0
