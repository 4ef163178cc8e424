# SPDX-License-Identifier: MIT
"""Runs scripts one after another in one process: importing wandb costs more than most of them do.

usage: driver.py ROOT SCRIPT...

Each script runs in ROOT/NAME/work with WANDB_DIR=ROOT/NAME, with a service of its own, and the
backend is told its name first. What it prints goes to ROOT/NAME/stdout and stderr, `exit` appears
beside them when it is over.
"""

import os
import pathlib
import runpy
import sys
import traceback

import parity_backend


def run(script, folder):
    os.environ["WANDB_DIR"] = str(folder)
    work = folder / "work"
    work.mkdir(parents=True)
    copy = work / script.name
    copy.write_bytes(script.read_bytes())
    os.chdir(work)
    sys.path.insert(0, str(work))
    sys.argv = [str(copy)]
    code = 0
    try:
        runpy.run_path(str(copy), run_name="__main__")
    except SystemExit as e:
        code = e.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    import wandb

    try:
        wandb.teardown(code)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    sys.path.remove(str(work))
    return code


def main():
    root, *scripts = map(pathlib.Path, sys.argv[1:])
    saved, streams = dict(os.environ), (os.dup(1), os.dup(2))
    for script in scripts:
        folder = root / script.stem
        folder.mkdir(parents=True)
        for number, name in ((1, "stdout"), (2, "stderr")):
            fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(fd, number)
            os.close(fd)
        parity_backend.control(mark=script.stem)
        code = run(script, folder)
        (folder / "exit").write_text(str(code))
        os.environ.clear()
        os.environ.update(saved)
    for number, fd in zip((1, 2), streams):
        os.dup2(fd, number)


main()
