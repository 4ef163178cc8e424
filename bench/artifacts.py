# SPDX-License-Identifier: MIT
"""Logging artifacts through two service binaries, taking turns, to one `tare server` on loopback, or downloading them.

    .venv/bin/python bench/artifacts.py build/tare peer [--files 10000 --bytes 10240] [--large 5] [--download]

Three artifacts each: many small files, a few of 1 GB (--large), and the small ones once more under
another name with one file added, so that the backend has all but one. The wall time is from
log_artifact to wait() in the SDK; CPU (until the service is quiet) and peak memory are the service's alone; `server` is what the server took,
where both meet. Content is read back from the server's answers by count and size. Prints a markdown table.

With --download the artifacts are logged once, by wandb-core (with --own: by each for itself, anew each time), and each
service gets a download_artifact request for them (which the SDK does not send by itself): small and large files with an empty cache and past it. What has come
is compared with what was logged. CPU is counted until the service is quiet: wandb-core looks at digests after its answer.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from server_support import Server  # noqa: E402

SCRIPT = """
import json, os, pathlib, sys, time, wandb
want = json.loads(sys.argv[1])
TICKS = os.sysconf("SC_CLK_TCK")

def service():
    # the child of ours that is the service
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (p / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == os.getpid() and b"--port-filename" in (p / "cmdline").read_bytes():
                return p
        except OSError:
            pass

def cpu(p):
    fields = (p / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS

def peak(p):
    return int(next(l for l in (p / "status").read_text().splitlines() if l.startswith("VmHWM")).split()[1]) / 1024

def settle(p):
    # what goes on after the answer counts, too
    before = None
    while before != (before := cpu(p)):
        time.sleep(0.5)

rows = {}
def log(run, what, name, folder, extra=None):
    a = wandb.Artifact(name, type="dataset")
    a.add_dir(folder)
    if extra:
        with a.new_file("extra") as f:
            f.write(extra)
    p = service()
    q = pathlib.Path("/proc", str(want["server"]))
    c, b, t = cpu(p), cpu(q), time.perf_counter()
    run.log_artifact(a).wait()
    wall = time.perf_counter() - t
    settle(p)
    rows[what] = dict(wall=wall, cpu=cpu(p) - c, server=cpu(q) - b, peak=peak(p), n=a.file_count, size=a.size)

with wandb.init(project="bench") as run:
    log(run, "small", want["name"], want["small"])
    log(run, "known", want["name"] + "-known", want["small"], want["name"])
if want["large"]:
    with wandb.init(project="bench") as run:
        log(run, "large", want["name"] + "-large", want["large"])
print(json.dumps(rows))
"""

DOWNLOAD = SCRIPT[:SCRIPT.index("rows = {}")] + """
import shutil
rows = {}
def get(run, what, name, skip_cache, content):
    a = wandb.Api().artifact("local/bench/" + name)
    os.sync()  # else the first pays for writing what was logged
    shutil.rmtree("got", ignore_errors=True)
    p = service()
    q = pathlib.Path("/proc", str(want["server"]))
    c, b, t = cpu(p), cpu(q), time.perf_counter()
    answer = run._interface.deliver_download_artifact(a.id, os.path.abspath("got"), False, skip_cache, None).wait_or(timeout=None)
    assert not answer.response.download_artifact_response.error_message, answer
    wall, last = time.perf_counter() - t, -1
    while cpu(p) - c - last > 0.01:  # wandb-core hashes after its answer
        last = cpu(p) - c
        time.sleep(1)
    rows[what] = dict(wall=wall, cpu=cpu(p) - c, server=cpu(q) - b, peak=peak(p), n=a.file_count, size=a.size)
    assert subprocess.run(["diff", "-r", content, "got"]).returncode == 0
    shutil.rmtree("got")

import subprocess
with wandb.init(project="bench") as run:
    get(run, "small", want["name"] + ":v0", False, want["small"])
    get(run, "small, past the cache", want["name"] + ":v0", True, want["small"])
if want["large"]:
    with wandb.init(project="bench") as run:
        get(run, "large", want["name"] + "-large:v0", False, want["large"])
    with wandb.init(project="bench") as run:
        get(run, "large, past the cache", want["name"] + "-large:v0", True, want["large"])
print(json.dumps(rows))
"""


def one(server, binary, want, folder, script=SCRIPT):
    more = {"WANDB_CACHE_DIR": f"{folder}/cache", "WANDB_DATA_DIR": f"{folder}/data", "WANDB_CONSOLE": "off"}
    if binary != "peer":
        more.update(PARITY_CORE=str(pathlib.Path(binary).resolve()), PYTHONPATH=str(ROOT / "tests/parity/site"))
    done = subprocess.run([sys.executable, "-c", script, json.dumps(want)], env={**server.env(), **more}, cwd=folder,
                          stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_files(small, large, args):
    small.mkdir(parents=True)
    for k in range(args.files):
        (small / f"{k}.bin").write_bytes(os.urandom(32) * (args.bytes // 32))
    if args.large:
        large.mkdir()
    for k in range(args.large):
        block = os.urandom(1 << 20)
        with open(large / f"{k}.bin", "wb") as f:
            for m in range(1024):
                f.write(m.to_bytes(8, "big") + block[8:])


def downloads(server, folder, args, results):
    source = folder / "source"
    small, large = source / "small", source / "large"
    want = {"name": "down", "small": str(small), "large": str(large) if args.large else "", "server": server.process.pid}
    if not args.own:
        make_files(small, large, args)
        one(server, "peer", want, str(folder))
    logged = {}
    for i in range(args.repeats):
        for binary in args.binaries:
            if args.own:
                want["name"] = f"down{i}{args.binaries.index(binary)}"
                subprocess.run(["rm", "-rf", str(source)], check=True)
                make_files(small, large, args)
                logged = {f"log {what}": row for what, row in one(server, binary, want, str(folder)).items()}
            subprocess.run(["rm", "-rf", str(folder / "cache")], check=True)
            work = folder / f"d{i}{args.binaries.index(binary)}"
            work.mkdir()
            got = logged | one(server, binary, want, str(work), DOWNLOAD)
            results[binary].append(got)
            print(binary, json.dumps(got), file=sys.stderr)
            subprocess.run(["rm", "-rf", str(work)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+", help="`peer` is the wheel's own")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=10_240)
    parser.add_argument("--large", type=int, default=0, help="files of 1 GB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where the files lie")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--own", action="store_true", help="download what the same binary has logged just before")
    args = parser.parse_args()
    results = {b: [] for b in args.binaries}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        folder = pathlib.Path(folder)
        with Server(folder) as server:
            if args.download:
                downloads(server, folder, args, results)
            for i in range(0 if args.download else args.repeats):
                for binary in args.binaries:
                    name = f"a{i}{args.binaries.index(binary)}"
                    work = folder / name
                    small, large = work / "small", work / "large"
                    make_files(small, large, args)  # new content for each: nothing is known yet
                    want = {"name": name, "small": str(small), "large": str(large) if args.large else "",
                            "server": server.process.pid}
                    got = one(server, binary, want, str(work))
                    assert got["small"]["n"] == args.files and got["known"]["n"] == args.files + 1
                    results[binary].append(got)
                    print(binary, json.dumps(got), file=sys.stderr)
                    subprocess.run(["rm", "-rf", str(work)], check=True)
    print("| artifact | measure | " + " | ".join(args.binaries) + " | ratio |")
    print("|---|---|" + "---|" * (len(args.binaries) + 1))
    for what in results[args.binaries[0]][0]:
        for measure in ("wall", "cpu", "server", "peak"):
            medians = [statistics.median(r[what][measure] for r in results[b]) for b in args.binaries]
            print(f"| {what} | {measure}, {'MB' if measure == 'peak' else 's'} | "
                  + " | ".join(f"{m:.3g}" for m in medians) + f" | {medians[0] / (medians[-1] or float('nan')):.2f} |")


if __name__ == "__main__":
    main()
