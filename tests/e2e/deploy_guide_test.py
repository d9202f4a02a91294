"""Runs every command of docs/deploy_guide.md and docs/deploy_guide_cn.md as they stand there: the
pocket checkpoint is what the hub (tests/e2e/mirror.py) has under the model's name, and the port is
the only word that is changed."""
import json
import os
import re
import subprocess
import time

import pytest

from conftest import BIN, PATIENCE_S, ROOT, clean_environment, free_port
from hub_test import SHARDS, pocket_files  # noqa: F401  (a fixture)
from mirror import Mirror

GUIDES = ["docs/deploy_guide.md", "docs/deploy_guide_cn.md"]
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(guide):
    """The guide's shell blocks, cut into commands: a line that ends with a backslash goes on, and so
    does one inside quotes."""
    out = []
    for block in BLOCK.findall((ROOT / guide).read_text()):
        text = ""
        for line in block.splitlines():
            text += line + "\n"
            if not line.endswith("\\") and text.count("'") % 2 == 0:
                out.append(text.strip())
                text = ""
        assert not text
    return out


def test_both_guides_have_the_same_commands_and_headings():
    english, chinese = (commands(guide) for guide in GUIDES)
    assert english == chinese
    assert len(english) > 12
    heads = [[line.split()[0] for line in (ROOT / guide).read_text().splitlines()
              if re.match(r"#+ ", line)] for guide in GUIDES]
    assert heads[0] == heads[1]
    rows = [[line.count("|") for line in (ROOT / guide).read_text().splitlines()
             if line.startswith("|")] for guide in GUIDES]
    assert rows[0] == rows[1]


def flags_of_help():
    """Every flag of `m2 serve`, and the group that its help puts it in."""
    said = subprocess.run([str(BIN / "m2"), "serve", "--help=all"], capture_output=True, text=True,
                          timeout=60, env=clean_environment()).stdout
    groups, group = {}, ""
    for line in said.splitlines():
        if re.fullmatch(r"[A-Z][^:]*:", line):
            group = line[:-1]
        if found := re.match(r"  (?:-\w+, )?(--[\w-]+)", line):
            groups[found.group(1)] = group
    return groups


def test_the_table_for_those_who_come_from_vllm():
    groups = flags_of_help()
    rows = [line.split("|")[1:3] for line in (ROOT / GUIDES[0]).read_text().splitlines()
            if line.startswith("| `-")]
    seen = 0
    for flags, answer in rows:
        for flag in re.findall(r"`(--[\w-]+)", flags):
            seen += 1
            group = groups[flag.replace("_", "-")]
            if "without effect" in answer:
                assert group == "Taken without effect", flag
            elif "refused, with the reason" in answer:
                assert group == "Refused", flag
            else:
                assert group not in ("Taken without effect", "Refused"), flag
    assert seen > 50


def test_every_flag_of_vllm_has_an_answer():
    """Used, needless, without effect or refused: a row of the help."""
    facts = ROOT.parent / "shared/facts/vllm_cli_flags.md"
    if not facts.exists():
        pytest.skip("the list of vLLM's flags is not here")
    flags = re.findall(r"^- `(--[a-z0-9][a-z0-9-]*)`", facts.read_text(), re.MULTILINE)
    groups = flags_of_help()
    assert len(flags) > 250
    assert not [flag for flag in flags if flag not in groups]


class Shell:
    """One reader at a terminal: what is exported stays, a server runs until the next one starts."""

    def __init__(self, mirror, home, log):
        self.environment = {name: value for name, value in clean_environment().items()
                            if "proxy" not in name.lower()}
        self.environment |= {"HF_HOME": str(home), "HF_ENDPOINT": mirror.url,
                             "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.mirror, self.log, self.server, self.port = mirror, log, None, None

    def run(self, command):
        if command == "make build":  # this very program; that it is made is another test's matter
            command = "make --dry-run build"
        if command.startswith("export HF_ENDPOINT="):
            assert re.fullmatch(r"export HF_ENDPOINT=https://[a-z.-]+", command)
            return ""  # there is no other host here than the mirror that is named already
        if command.startswith("export PATH="):
            assert "build/release/bin" in command
            return ""
        if "m2 serve" in command:
            return self.serve(command)
        command = command.replace("localhost:8000", f"127.0.0.1:{self.port}")
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT,
                              timeout=PATIENCE_S, env=self.environment, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, command):
        self.stop()
        self.port = free_port()
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec env {command} --host 127.0.0.1 --port {self.port}"],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        health = ["curl", "-sf", f"http://127.0.0.1:{self.port}/health"]
        while subprocess.run(health, capture_output=True).returncode != 0:
            assert self.server.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return ""

    def stop(self):
        if self.server:
            self.server.terminate()
            assert self.server.wait(PATIENCE_S) == 0
        self.server = None


def test_every_command_of_the_guide(pocket_files, tmp_path):  # noqa: F811
    with Mirror(pocket_files) as mirror:
        shell = Shell(mirror, tmp_path, tmp_path / "log")
        try:
            said = {command: shell.run(command) for command in commands(GUIDES[0])}
        finally:
            if shell.server:
                shell.server.kill()
                shell.server.wait()
        plan = next(text for command, text in said.items() if "m2 plan" in command)
        tokens = int(re.search(r"KV tokens +([\d,]+)", plan).group(1).replace(",", ""))
        assert tokens >= 640_000
        reply = json.loads(next(text for command, text in said.items() if "curl" in command))
        assert "Dodgers" in reply["choices"][0]["message"]["content"]
        assert mirror.sent == sum(len(pocket_files[name]) for name in SHARDS)
        log = (tmp_path / "log").read_text()
        assert "4 ranks" in log and "8 ranks" in log
