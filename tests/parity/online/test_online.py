# SPDX-License-Identifier: MIT
"""The same script through the peer's service and through ours sends the same to the backend.

The scripts of ../scripts and of scripts/ run with the unmodified wandb package, online, against a
backend that writes every request down: once with the wandb-core of the package, once with our
binary. What reached the backend is compared: see traffic.py. All scripts of a side run in one
process, but for those that end it or need it for themselves (`# alone`); a script that hangs
costs its process, the rest go on in another.

PARITY_OURS names another binary to compare (the peer's own proves the harness). What differs on
purpose is in docs/parity.md.
"""

import collections
import concurrent.futures
import contextlib
import copy
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import harness
import traffic
from recording_backend import RecordingBackend

pytestmark = pytest.mark.timeout(1200)  # the first test waits until all scripts have run

HERE = pathlib.Path(__file__).resolve().parent
SCRIPTS = sorted(HERE.glob("scripts/[a-z]*.py")) + sorted(harness.SCRIPTS.glob("[a-z]*.py"))
FEWEST_SCRIPTS = 80
KEY = "l" * 40
IDLE_S = 180  # no script takes longer
OUTLIVES_S = 60  # a service its program, at most
# A program that dies or forks, or captures the process's own descriptors.
ALONE = {"attach_child", "console_progress", "console_redirect", "exception", "exit_code",
         "fork_child", "module_api", "settings_file", "quiet"}
FAILS = {"exception", "exit_in_finish", "resume", "sweep_scheduler_fails"}  # with a traceback, on purpose
OFFLINE_ONLY = {
    "shared": "sets mode=offline itself; shared_mode is its online form",
    "tables": "digests of names with times in them",
    "shared_mode": "changes the package to get there; shared_online does it online",
    "raw_records": "the peer crashes at a stats record without a time",
}


# What they may differ in, with docs/parity.md's reason: how to take it out of both.
def parts(side):
    return [part for run in side["streams"].values() for part in run]


def without_names(side, *names):
    """Files that were asked for, brought, and said to be there."""
    lists = list(side["graphql"]["files"].values()) + [part["uploaded"] for part in parts(side)]
    for found in lists:
        found[:] = [name for name in found if name not in names]
    for name in names:
        side["uploads"].pop(f"RUN0/{name}", None)


def without_console(side):
    for part in parts(side):
        part["files"].pop("output.log", None)
    without_names(side, "output.log")
    side["graphql"]["other"].pop("ServerFeaturesQuery", None)
    without_count(side)


def without_count(side):
    side["printed"]["stderr"] = re.sub(r"Synced .*", "", side["printed"]["stderr"])


def without_printed_numbers(side):
    """"143.0" and "143" of the summary that the SDK prints."""
    side["printed"]["stderr"] = re.sub(r"Run summary:.*?wandb: \n", "", side["printed"]["stderr"], flags=re.S)


def without_last_files(side):
    without_names(side, "config.yaml", "wandb-summary.json", "wandb-metadata.json")


def without_streamed_summary(side):
    for part in parts(side):
        part["files"].pop("wandb-summary.json")


def without_faults(side):
    side.pop("faults")


def without_number_of_tries(side):
    """Those that fit into the time: on a busy machine each takes longer."""
    side["faults"] = sorted(side["faults"])


def without_folder(side):
    without_names(side, "out/sub")
    without_count(side)


def without_message(side):
    side["printed"]["stdout"] = re.sub(r"status for run RUN0: .*", "", side["printed"]["stdout"])


def without_artifact_count(side):
    side["printed"]["stderr"] = re.sub(r"\d+ artifact file", "artifact file", side["printed"]["stderr"])


def without_words_of_schedulers(side):
    """Why it ended, beside the reason."""
    text = re.sub(r"(failed to initialize: )(scheduler: )?", r"\1", side["printed"]["stderr"])
    side["printed"]["stderr"] = re.sub(r"(exited: the sweep finished or was canceled) \(.*\)", r"\1", text)


def without_how_to_bring_the_rest(side):
    side["warnings"].pop()  # the peer's says that some data are not there, ours has the run's folder in it
    without_number_of_tries(side)


def without_cloud_headers(side):
    side["headers"].pop("GET /cloud/meta-data")  # the name of the library that asks


def without_metadata_file(side):
    side["uploads"].pop("RUN0/wandb-metadata.json")  # probed in time, or not


def without_needless_questions(side):
    """URLs of files that are there already; who fetches the manifest."""
    other = side["graphql"]["other"]
    asked = [json.dumps(sent, sort_keys=True) for sent in other["ArtifactFileURLsByManifestEntries"]]
    other["ArtifactFileURLsByManifestEntries"] = sorted(set(asked))
    for kind in side["headers"]:
        if kind.endswith("/manifest"):
            side["headers"][kind] = "asked"


ACCEPTED = {
    "coreweave": without_cloud_headers,
    "console_bytes": without_console, "odd_values": without_printed_numbers,
    "download_artifact": without_needless_questions,
    "console_rewrites": without_console, "console_terminal": without_console,
    "fault_init_timeout": without_number_of_tries,
    "fault_put_403": without_faults, "fault_urls_404": without_faults,
    "fault_resume_404": without_message, "files": without_folder, "gives_up": without_how_to_bring_the_rest,
    "job_inputs": without_artifact_count, "job_of_code": without_artifact_count,
    "job_of_git": without_artifact_count, "job_of_image": without_artifact_count,
    "killed": without_last_files, "long_lines": without_console,
    "sweep_scheduler": without_words_of_schedulers, "sweep_scheduler_fails": without_words_of_schedulers,
    "random_calls": without_streamed_summary, "statistics": without_metadata_file,
}
TALKATIVE = re.compile(r"fault_|long_lines")  # ours may warn of more, not of less


def alone(script):
    return script.stem in ALONE or re.search(r"^# alone", script.read_text(), re.M)


def environment(root, core, backend):
    env = harness.environment(root, core)
    env.update(
        PARITY_BACKEND=backend.url, WANDB_MODE="online", WANDB_BASE_URL=backend.url,
        WANDB_API_KEY=KEY, WANDB__DISABLE_STATS="true", NO_PROXY="127.0.0.1",
        WANDB__FILE_STREAM_TRANSMIT_INTERVAL="0.2",
        **{f"WANDB__{part}_RETRY_WAIT_{end}_SECONDS": wait
           for part in ("FILE_STREAM", "GRAPHQL", "FILE_TRANSFER")
           for end, wait in (("MIN", "1"), ("MAX", "1"))},
    )
    return env


def running(path):
    """The processes of a program."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if entry.read_bytes().startswith(path):
                found.append(int(entry.parent.name))
    return found


class Side:
    """All chosen scripts through one service."""

    def __init__(self, root, binary):
        self.root, self.binary = root, binary
        self.found = {}

    def run(self, scripts):
        (self.root / "home").mkdir(parents=True)
        (self.root / "bin").mkdir()
        core = self.root / "bin" / "wandb-core"
        core.symlink_to(self.binary)
        with RecordingBackend() as backend:
            env = environment(self.root, core, backend)
            together = [s for s in scripts if not alone(s)]
            while together:
                self.start(together, env)
                over = [s for s in together if self.is_over(s)]
                together = together[len(over) + 1:]  # one that is not over is what hung or died
            for script in scripts:
                if alone(script):
                    self.start([script], env)
            requests = list(backend.requests)
        for script in scripts:
            self.found[script.stem] = self.collect(script, requests)
        if "PARITY_KEEP" in os.environ:
            kept = pathlib.Path(os.environ["PARITY_KEEP"], self.root.name + ".json")
            kept.write_text(json.dumps(self.found, indent=1, sort_keys=True))

    def is_over(self, script):
        return (self.root / script.stem / "exit").exists()

    def start(self, scripts, env):
        """Until all are over, or one has hung."""
        driver = subprocess.Popen([sys.executable, HERE / "driver.py", self.root, *scripts],
                                  env=env, cwd=self.root, start_new_session=True)
        n_over, since = -1, time.monotonic()
        core = str(self.root / "bin" / "wandb-core").encode()
        while driver.poll() is None:
            time.sleep(0.05)
            now = sum(map(self.is_over, scripts))
            if now != n_over:
                n_over, since = now, time.monotonic()
            if time.monotonic() - since > IDLE_S:
                os.killpg(driver.pid, 9)
        since = time.monotonic()
        while left := running(core):  # the service may outlive a program that was killed
            time.sleep(0.05)
            if self.binary == harness.THEIRS and time.monotonic() - since > OUTLIVES_S:  # a hung one for ever
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        if len(scripts) == 1 and not self.is_over(scripts[0]) and driver.returncode >= 0:
            (self.root / scripts[0].stem / "exit").write_text(str(driver.returncode))

    def collect(self, script, requests):
        folder = self.root / script.stem
        printed = {}
        for name in ("stdout", "stderr", "exit"):
            path = folder / name
            printed[name] = path.read_text(errors="replace") if path.exists() else "none"
        if printed["exit"] == "none":
            return {"hung": printed}
        try:
            return traffic.collect([r for r in requests if r.script == script.stem], folder,
                                   printed)
        except AssertionError as e:
            return {"unsound": str(e), "printed": printed}


@pytest.fixture(scope="module")
def sides(request, tmp_path_factory):
    chosen = {item.callspec.params["script"] for item in request.session.items
              if item.module is request.module and hasattr(item, "callspec")}
    chosen = [s for s in SCRIPTS if s in chosen and s.stem not in OFFLINE_ONLY]
    both = [Side(tmp_path_factory.mktemp(name), binary)
            for name, binary in (("theirs", harness.THEIRS), ("ours", harness.OURS))]
    with concurrent.futures.ThreadPoolExecutor(len(both)) as pool:  # they wait most of the time
        list(pool.map(lambda side: side.run(chosen), both))
    return [side.found for side in both]


def test_there_are_enough_scripts():
    assert len(SCRIPTS) - len(OFFLINE_ONLY) >= FEWEST_SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_same_traffic(script, sides, tmp_path):
    if script.stem in OFFLINE_ONLY:
        pytest.skip(OFFLINE_ONLY[script.stem])
    theirs, ours = (side[script.stem] for side in sides)
    check_whole("tare", ours)
    first = next((s for s in SCRIPTS if s.stem in sides[0] and not alone(s)), None)  # a process is told once who it is

    def peer(n):
        if not n:
            return theirs
        side = Side(tmp_path / str(n), harness.THEIRS)
        side.run([first, script] if not alone(script) and script != first else [script])
        return side.found[script.stem]

    harness.judged_by_peer(peer, lambda theirs: compare(script, theirs, copy.deepcopy(ours)))


def check_whole(name, side):
    for trouble in ("hung", "unsound"):
        assert trouble not in side, f"{name}: {json.dumps(side, indent=1)}"


def compare(script, theirs, ours):
    check_whole("wandb-core", theirs)
    assert theirs["runs"], theirs["printed"]
    if script.stem not in FAILS:
        assert "Traceback" not in theirs["printed"]["stderr"], theirs["printed"]["stderr"]
    for side in (theirs, ours):
        ACCEPTED.get(script.stem, lambda side: None)(side)
    if TALKATIVE.match(script.stem):
        assert not collections.Counter(theirs["warnings"]) - collections.Counter(ours["warnings"])
        ours["warnings"] = theirs["warnings"]
    lines = harness.differences(theirs, ours)
    if lines:
        pytest.fail("\n".join(lines[:harness.MOST_LINES_SHOWN]), pytrace=False)
