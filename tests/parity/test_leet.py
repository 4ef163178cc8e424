# SPDX-License-Identifier: MIT
"""`wandb leet` starts the service's binary with the word `leet`: ours shows the run, once."""

import json
import subprocess

import harness


def leet(core, *words):
    return subprocess.run([core, "leet", *map(str, words)], capture_output=True, text=True,
                          timeout=60)


def test_help_says_what_it_is(tmp_path):
    core = tmp_path / "wandb-core"
    core.symlink_to(harness.OURS)
    for words in (["--help"], ["run", "-h"]):
        done = leet(core, *words)
        assert done.returncode == 0
        assert "Lightweight Experiment Exploration Tool" in done.stderr


def test_the_run_is_shown(tmp_path):
    harness.run_script(harness.SCRIPTS / "quiet.py", tmp_path, harness.OURS)
    core, folder = tmp_path / "bin" / "wandb-core", tmp_path / "wandb"
    (journal,) = folder.glob("offline-run-*/*.wandb")
    for words in (["run", "--no-observability", "--run-file", journal, folder],
                  ["--no-observability", "--log-level", "-4", folder]):
        done = leet(core, *words)
        assert done.returncode == 0, done.stderr
        assert journal.stem.removeprefix("run-") in done.stdout
    done = leet(core, "inspect", "--summary", "--json", "--run-file", journal, folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["x"] == 4


def test_what_is_not_there_is_said(tmp_path):
    core = tmp_path / "wandb-core"
    core.symlink_to(harness.OURS)
    for words in (["symon"], ["config"], ["inspect", tmp_path], ["--remote-url", "http://a/b/c/d"]):
        done = leet(core, *words)
        assert done.returncode == 1 and "yet" in done.stderr
