# SPDX-License-Identifier: MIT
"""A child process attaches to its parent's run and logs."""
# shows: history
import multiprocessing

import wandb


def child(run_id, n):
    run = wandb.attach(run_id)
    run.log({f"child{n}": n})
    run.summary[f"s{n}"] = n


def main():
    run = wandb.init()
    run.log({"parent": 1})
    spawn = multiprocessing.get_context("spawn")
    for n in range(2):
        p = spawn.Process(target=child, args=(run.id, n))
        p.start()
        p.join()
        print("child", n, p.exitcode)
    run.log({"parent": 2})
    run.finish()


if __name__ == "__main__":
    main()
