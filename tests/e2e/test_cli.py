# SPDX-License-Identifier: MIT
"""Every verb that looks at runs, on runs of the peer's service and of ours."""

import csv
import io
import json
import math
import os
import pathlib
import platform
import shutil

import cli_runs
import pytest
from cli_runs import tare


@pytest.fixture(scope="module", params=["peer", "tare"])
def journal(request, tmp_path_factory):
    return cli_runs.make(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def root(journal):
    return journal.parents[2]


@pytest.fixture(scope="module")
def run_id(journal):
    return journal.stem.removeprefix("run-")


def same(a, b):
    if isinstance(a, float) and isinstance(b, (int, float)) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


# ---- export


def exported(journal, *options):
    p = tare("export", "-f", "jsonl", *options, journal)
    assert p.returncode == 0, p.stderr
    return [json.loads(line) for line in p.stdout.splitlines()]


def test_export_jsonl_is_what_was_logged(journal):
    got = exported(journal)
    want = cli_runs.rows()
    assert len(got) == len(want)
    for i, (g, w) in enumerate(zip(got, want)):
        assert g["_step"] == i
        assert "_timestamp" in g and "_runtime" in g
        user = {k: v for k, v in g.items() if k[0] != "_" and k not in ("conf", "hist")}
        assert same(w, user), (i, w, user)


def test_export_csv_is_what_was_logged(journal):
    p = tare("export", journal)
    table = list(csv.DictReader(io.StringIO(p.stdout)))
    assert p.stdout.startswith("_step,")
    want = cli_runs.rows()
    assert len(table) == len(want)
    for g, w in zip(table, want):
        assert float(g["loss"]) == w["loss"]
        assert int(g["big"]) == w["big"]
        assert float(g["n.b.c"]) == w["n"]["b"]["c"]
        assert (g["epoch"] != "") == ("epoch" in w)
    assert [table[i]["odd"] for i in (5, 6, 7, 8)] == ["NaN", "Infinity", "-Infinity", ""]
    assert table[8]["text"] == want[8]["text"]
    assert (table[8]["flag"], table[8]["nothing"]) == ("true", "")
    assert json.loads(table[8]["list"]) == [1, {"x": None}]


def test_export_of_some_keys_to_a_new_file(journal, tmp_path):
    out = tmp_path / "x.csv"
    p = tare("export", "-k", "lr,epoch", "-o", out, journal)
    assert p.returncode == 0, p.stderr
    lines = out.read_text().splitlines()
    assert lines[0] == "lr,epoch" and lines[1] == "0.1,0" and lines[2] == "0.05,"
    p = tare("export", "-o", out, journal)
    assert p.returncode == 1 and "remove it" in p.stderr
    assert exported(journal, "-k", "lr")[0] == {"lr": 0.1}


def test_export_says_what_is_wrong(journal):
    p = tare("export", "-f", "xml", journal)
    assert p.returncode == 2 and "csv and jsonl" in p.stderr
    assert tare("export").returncode == 2
    assert tare("export", journal, journal).returncode == 2
    p = tare("export", journal, stdout=open("/dev/full", "w"), stderr=-1, capture_output=False)
    assert p.returncode == 1 and "No space left" in p.stderr


# ---- show


def test_show_json_has_the_summary_that_the_peer_sees(journal):
    got = json.loads(tare("show", "--json", journal).stdout)
    peer = cli_runs.peer_view(journal)
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    want = {k: words.get(v, v) if isinstance(v, str) else v for k, v in peer["summary"].items()}
    mine = {k: v for k, v in got["summary"].items() if k != "_wandb"}
    assert same(want, mine)
    config = {k: v for k, v in got["config"].items() if k != "_wandb"}
    assert config == peer["config"]
    assert config["opt"] == {"name": "adam", "wd": None}


def test_show_json_tells_the_run(journal, run_id):
    got = json.loads(tare("show", "--json", journal).stdout)
    want = cli_runs.rows()
    assert got["id"] == run_id
    assert (got["name"], got["project"], got["notes"], got["tags"]) == ("first try", "proj", "n1", "a, b")
    assert (got["state"], got["exit_code"], got["rows"]) == ("finished", 0, len(want))
    s = got["summary"]
    assert s["acc"] == {"max": max(r["acc"] for r in want)}
    assert s["loss"]["min"] == min(r["loss"] for r in want)
    assert s["loss"]["mean"] == pytest.approx(sum(r["loss"] for r in want) / len(want), rel=1e-12)
    assert s["best"] == {"a": 1, "b": [1, 2]} and s["acc_explicit"] == 3
    assert s["big"] == want[-1]["big"]
    glob = [m for m in got["metrics"] if m["glob"]]
    assert glob[0]["name"] == "val/*" and glob[0]["step_metric"] == "epoch"
    assert any(f["path"].startswith("media/table/conf") for f in got["files"])
    assert got["alerts"][0]["title"] == "title"
    assert got["python"] == f"CPython {platform.python_version()}" and got["program"]
    assert got["cpu_count_logical"] == os.cpu_count() and got["memory_bytes"] > 1 << 28
    assert got["damaged_parts"] == 0


def test_show_draws_the_run(journal):
    p = tare("show", journal)
    assert p.returncode == 0 and p.stderr == ""
    out = p.stdout
    for part in ("first try  finished", f"python    CPython {platform.python_version()}", " GiB\n", "proj", "lr        0.001", "opt.name  adam", "acc.max",
                 "Charts", "val/loss", " epoch ", "title: text of the alert", "line 100"):
        assert part in out, part
    assert any("\u2800" < c < "\u2900" for c in out)
    assert "\x1b" not in out  # neither colours, nor what the config holds
    assert max(len(line) for line in out.splitlines() if not line.startswith("  folder")) <= 100
    table = out.split("\nconf\n")[1].splitlines()
    assert [line.split() for line in table[:4]] == [
        ["actual", "predicted", "count"], ["0", "0", "10"], ["0", "1", "2"], ["1", "1", "2021"]]


def test_show_without_utf8_is_ascii(journal):
    p = tare("show", journal, env={"LC_ALL": "C", "COLUMNS": "70"})
    assert p.stdout.isascii() and "*" in p.stdout and "|" in p.stdout
    assert max(len(x) for x in p.stdout.splitlines() if not x.startswith("  folder")) <= 70


def test_show_chooses_charts(journal):
    out = tare("show", "-k", "val/*", "--height", "4", journal).stdout.split("Charts\n")[1]
    assert out.startswith("val/loss") and "\nlr" not in out and "acc " not in out
    assert "Charts" not in tare("show", "--no-charts", journal).stdout
    assert tare("show", "--height", "1", journal).returncode == 2


# ---- finding runs


def test_runs_are_found_by_id_path_and_latest(journal, root, run_id):
    names = [journal, journal.parent, root, root / "wandb"]
    for name in names:
        assert json.loads(tare("show", "--json", name).stdout)["id"] == run_id, name
    for name in ("latest", run_id, run_id[:5], journal.parent.name):
        p = tare("show", "--json", name, cwd=root)
        assert json.loads(p.stdout)["id"] == run_id, name
        p = tare("show", "--json", "--dir", root, name)
        assert json.loads(p.stdout)["id"] == run_id, name
        p = tare("show", "--json", name, env={"WANDB_DIR": str(root)}, cwd="/")
        assert json.loads(p.stdout)["id"] == run_id, name


def test_what_is_missing_is_named(root, run_id, tmp_path):
    p = tare("show", "nosuch", cwd=root)
    assert p.returncode == 1 and "no run 'nosuch'" in p.stderr and run_id in p.stderr
    p = tare("show", "latest", cwd=tmp_path)
    assert p.returncode == 1 and "there are no runs under" in p.stderr
    p = tare("show", tmp_path / "x.wandb")
    assert p.returncode == 1 and "no file or folder" in p.stderr
    (tmp_path / "other").write_text("not a journal")
    p = tare("show", tmp_path / "other")
    assert p.returncode == 1 and "not a .wandb file" in p.stderr
    assert tare("nosuch").returncode == 2
    assert tare("show", "--nosuch").returncode == 2


def test_ls_lists_runs(root, run_id, tmp_path):
    (line,) = [json.loads(x) for x in tare("ls", "--json", root).stdout.splitlines()]
    assert (line["id"], line["state"], line["rows"]) == (run_id, "finished", cli_runs.ROWS)
    assert line["exit_code"] == 0
    assert (line["project"], line["name"]) == ("proj", "first try")
    text = tare("ls", cwd=root).stdout.splitlines()
    assert text[0].split()[0] == "ID" and text[1].split()[:2] == [run_id, "finished"]
    p = tare("ls", tmp_path)
    assert p.returncode == 0 and "no runs" in p.stderr
    assert tare("ls", tmp_path / "x").returncode == 1


# ---- damage


def hurt(journal, tmp_path, change):
    copy = tmp_path / journal.parent.name
    copy.mkdir()
    data = bytearray(journal.read_bytes())
    change(data)
    (copy / journal.name).write_bytes(data)
    return copy / journal.name


def test_verify_says_clean(journal):
    p = tare("verify", journal)
    assert p.returncode == 0 and ": clean" in p.stdout
    got = json.loads(tare("verify", "--json", journal).stdout)
    assert got["clean"] and got["kinds"]["history"] == cli_runs.ROWS and got["gaps"] == []


def test_verify_finds_damage_and_the_rest_stays_readable(journal, tmp_path):
    def flip(data):
        data[len(data) // 2] ^= 0x10

    bad = hurt(journal, tmp_path, flip)
    p = tare("verify", bad, journal)
    assert p.returncode == 1 and "damaged" in p.stdout and "1 gap" in p.stdout and "clean" in p.stdout
    got = json.loads(tare("verify", "--json", bad).stdout)
    (gap,) = got["gaps"]
    size = journal.stat().st_size
    assert gap["offset"] <= size // 2 < gap["offset"] + gap["bytes"]
    steps = [r["_step"] for r in exported(bad)]
    assert steps == sorted(steps) and len(steps) >= cli_runs.ROWS - 1
    assert "damaged part" in tare("export", bad).stderr
    assert "damaged and left out" in tare("show", bad).stdout


def test_verify_knows_a_torn_end(journal, tmp_path):
    bad = hurt(journal, tmp_path, lambda data: data.__delitem__(slice(len(data) * 2 // 3, None)))
    p = tare("verify", bad)
    assert p.returncode == 1 and "ends inside a record" in p.stdout and "no exit record" in p.stdout
    assert len(exported(bad)) > cli_runs.ROWS // 3
    got = json.loads(tare("show", "--json", bad).stdout)
    assert got["state"] == "unfinished" and got["rows"] > 0


def test_whole_records_are_rescued_into_a_clean_journal(journal, tmp_path):
    def flip(data):
        data[len(data) // 3] ^= 1
        del data[-3:]

    bad = hurt(journal, tmp_path, flip)
    new = tmp_path / "new.wandb"
    p = tare("verify", "--rescue", new, bad)
    assert p.returncode == 0 and "damaged" in p.stdout
    assert tare("verify", new).returncode == 0
    assert tare("export", new).stdout == tare("export", bad).stdout
    assert len(cli_runs.peer_view(new)["summary"]) > 5
    p = tare("verify", "--rescue", new, bad)
    assert p.returncode == 1 and "never overwritten" in p.stderr
    p = tare("verify", "--rescue", tmp_path / "none.wandb", "/etc/passwd")
    assert p.returncode == 1 and not (tmp_path / "none.wandb").exists()


def test_runs_with_very_many_metrics_are_shown_in_bounded_time(tmp_path):
    import struct
    import subprocess

    from wandb.proto import wandb_internal_pb2 as pb

    rec = pb.Record(num=1)
    for i in range(30000):
        rec.history.item.add(key=f"m{i}", value_json=str(i))
    raw = rec.SerializeToString()
    path = tmp_path / "run-x.wandb"
    tool = cli_runs.TARE.parent / "tests/unit/journal_tool"
    subprocess.run([tool, "write", path], input=(struct.pack("<I", len(raw)) + raw) * 20, check=True)
    p = tare("export", path, timeout=60)
    assert p.returncode == 0 and len(p.stdout.splitlines()) == 21
    assert p.stdout.splitlines()[1].startswith("0,1,2,3")
    p = tare("show", path, timeout=60)
    assert p.returncode == 0


def test_only_files_are_read(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/zero", tmp_path / "pipe"):
        p = tare("verify", name, timeout=20)
        assert p.returncode == 1 and "no regular file" in p.stderr


def test_verify_refuses_what_is_no_journal(tmp_path):
    (tmp_path / "x.wandb").write_bytes(b"hello")
    p = tare("verify", tmp_path / "x.wandb")
    assert p.returncode == 1 and "not a .wandb file" in p.stdout
    assert tare("verify", tmp_path / "y.wandb").returncode == 1
    assert tare("verify").returncode == 2


# ---- the rest


def test_tail_of_a_finished_run_ends(journal):
    p = tare("tail", "-n", "3", journal)
    assert p.returncode == 0 and "run finished" in p.stderr
    assert f"{cli_runs.ROWS - 1}  " in p.stdout and len(p.stdout.splitlines()) == 3
    lines = tare("tail", "--json", "-n", "2000", journal).stdout.splitlines()
    assert [json.loads(x)["_step"] for x in lines] == list(range(cli_runs.ROWS))


VERBS = ["run", "ls", "show", "tail", "export", "verify", "service"]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb):
    p = tare("help", verb)
    assert p.returncode == 0 and p.stdout.startswith("usage: tare " + verb)
    assert "Exit code:" in p.stdout
    assert max(map(len, p.stdout.splitlines())) <= 100
    assert f"  {verb} " in tare("help").stdout
    if verb != "service":
        assert tare(verb, "--help").stdout == p.stdout


def test_colours_only_where_wanted(journal):
    script = shutil.which("script")
    if not script:
        pytest.skip("no script(1)")

    def on_a_terminal(**env):
        import subprocess

        words = [script, "-qec", f"{cli_runs.TARE} show {journal}", "/dev/null"]
        env = cli_runs.clean_env(TERM="xterm", **env)
        return subprocess.run(words, env=env, capture_output=True, stdin=-3, timeout=60).stdout

    assert b"\x1b[1m" in on_a_terminal()
    assert b"\x1b" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in tare("show", journal, env={"TERM": "xterm"}).stdout


def test_a_reader_that_goes_away_is_no_failure(journal):
    import subprocess

    p = subprocess.run(
        ["sh", "-c", f"{cli_runs.TARE} export {journal} | head -1; echo ${{PIPESTATUS}}"],
        capture_output=True, text=True, env=cli_runs.clean_env())
    assert p.stdout.startswith("_step,") and p.stderr == ""


def test_hostile_names_reach_no_terminal(tmp_path):
    assert pathlib.Path(tmp_path).exists()
    folder = tmp_path / "wandb" / "run-20260101_000000-\x1b]0;owned\x07x"
    folder.mkdir(parents=True)
    (folder / "run-\x1b]0;owned\x07x.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    for p in (tare("ls", tmp_path), tare("show", folder), tare("verify", folder)):
        assert "\x1b" not in p.stdout + p.stderr


def test_the_man_page_has_every_verb_and_option():
    import re

    page = (cli_runs.ROOT / "docs/tare.1").read_text().replace("\\-", "-")
    for verb in VERBS:
        assert f".SS tare {verb}" in page
        for option in re.findall(r"--[a-z][a-z-]+", tare("help", verb).stdout):
            assert option in page, (verb, option)
