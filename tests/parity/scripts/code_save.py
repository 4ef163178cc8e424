# SPDX-License-Identifier: MIT
"""The program and the difference to the last commit are saved."""
# shows: files run environment
import subprocess

import wandb

git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.com"]
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
subprocess.run([*git, "init", "-b", "main"], **quiet)
open("kept.txt", "w").write("one\ntwo\n")
subprocess.run([*git, "add", "kept.txt"], **quiet)
subprocess.run([*git, "commit", "-m", "first", "--date", "2020-01-01T00:00:00+0000"],
               env={"GIT_COMMITTER_DATE": "2020-01-01T00:00:00+0000", "PATH": "/usr/bin:/bin"},
               **quiet)
remote = "https://user:secret@example.com/repo.git"
subprocess.run([*git, "remote", "add", "origin", remote], **quiet)
open("kept.txt", "w").write("one\n2\nthree\n")
open("binary.bin", "wb").write(bytes(range(256)))
subprocess.run([*git, "add", "binary.bin"], **quiet)
run = wandb.init(save_code=True)
run.log({"x": 1})
run.finish()
