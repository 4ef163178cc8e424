# SPDX-License-Identifier: MIT
"""A run from a git repository with changes, whose job is made from its commit."""
import pathlib
import subprocess

import wandb


def git(*args):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *args], check=True,
                   stdout=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent",
                                                   "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
                                                   "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"})


pathlib.Path("train.txt").write_text("one\n")
git("init", "-q", ".")
git("remote", "add", "origin", "https://example.com/some/where.git")
git("add", "train.txt")
git("commit", "-q", "-m", "first")
pathlib.Path("train.txt").write_text("two\n")
run = wandb.init(
    config={"lr": 0.1, "layers": [1, 2], "mixed": [1], "net": {"deep": True, "name": "a<b>&c", "no": None}},
    settings=wandb.Settings(disable_job_creation=False, save_code=True))
run.log({"loss": 1.5, "img": {"a": 1}})
run.finish()
