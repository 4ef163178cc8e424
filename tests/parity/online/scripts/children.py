"""Children, forked and spawned, that have runs of their own or none, while the parent's goes on."""
# alone
import multiprocessing
import os

import wandb


def own(n):
    run = wandb.init(name=f"own{n}")
    run.log({"own": n})
    run.finish()


def bare(n):
    print("nothing", n)


if __name__ == "__main__":
    run = wandb.init()
    run.log({"x": 1})
    for how in ("fork", "spawn"):
        context = multiprocessing.get_context(how)
        for work in (own, bare):
            child = context.Process(target=work, args=(1,))
            child.start()
            child.join()
            print(how, work.__name__, child.exitcode)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    run.log({"x": 2})
    run.finish()
