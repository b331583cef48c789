"""Runs the gateway in the container's file system, as the container's user, and asks it what an agent would.

    unshare --net python3 tests/container.py target/debug/farthing

Needs root, for `chroot`; `unshare --net` gives it a network of its own, so that its fixed port is free. What no engine
is needed for is held here: the entry point and its first key, the health check, the volume, a file system in which
nothing else can be written, and that the binary brings its own time zones.
"""

import fcntl
import hashlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

USER = 10001
ANSWER = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
).encode()


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers every call the same."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


class Container:
    """The entry point, started as an engine would start it, until it listens."""

    def __init__(self, root, environment, arguments=("serve",)):
        command = ["chroot", f"--userspec={USER}:{USER}", root, "/usr/local/bin/farthing-entrypoint", *arguments]
        usual = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "FARTHING_CONFIG": "/var/lib/farthing/farthing.yaml"}
        self.root, self.lines = root, []
        self.process = subprocess.Popen(
            command, env=usual | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def listens(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if '"event":"listening"' in line:
                return self
        raise AssertionError("it ended before it listened: " + "".join(self.lines))

    def is_ready(self):
        command = ["chroot", f"--userspec={USER}:{USER}", self.root, "/usr/local/bin/farthing-ready"]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def stop(self):
        """What it printed on stdout."""
        self.process.send_signal(signal.SIGTERM)
        printed, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.process.returncode
        return printed


def ask(method, path, key=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", 4100, timeout=30)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    connection.request(method, path, body=body, headers=headers)
    reply = connection.getresponse()
    return reply.status, reply.headers, reply.read()


def bring_loopback_up():
    name_and_flags = struct.pack("16sh", b"lo", 1)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, name_and_flags)  # SIOCSIFFLAGS, IFF_UP


def size(root):
    return sum(entry.lstat().st_size for entry in Path(root).rglob("*") if entry.is_file())


def refuses_to_start_without_a_credential(root):
    container = Container(root, {})
    _, said = container.process.communicate(timeout=60)
    assert container.process.returncode == 1 and "OPENAI_API_KEY is not set" in said, said
    assert not list(Path(root, "var/lib/farthing").iterdir()), "it left something behind"


def prints_its_first_key_once(root):
    container = Container(root, {"OPENAI_API_KEY": "sk-upstream"}).listens()
    assert container.is_ready()
    assert ask("GET", "/v1/models")[0] == 401
    assert ask("GET", "/v1/models", "sk-farthing-wrong")[0] == 401
    printed = container.stop()
    assert not container.is_ready()
    (key,) = re.findall(r"^    (sk-farthing-[A-Za-z0-9_-]{43})$", printed, re.MULTILINE)
    config = Path(root, "var/lib/farthing/farthing.yaml")
    assert hashlib.sha256(key.encode()).hexdigest() in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600 and config.stat().st_uid == USER
    for file in Path(root, "var/lib/farthing").iterdir():
        assert key.encode() not in file.read_bytes(), f"{file} holds the key itself"
    return key


def serves_with_it_at_the_next_start(root, key, provider):
    config = Path(root, "var/lib/farthing/farthing.yaml")
    changed = config.read_text().replace("https://api.openai.com/v1", f"http://127.0.0.1:{provider}/v1")
    config.write_text(changed + "timezone: europe/berlin\n")
    container = Container(root, {"OPENAI_API_KEY": "sk-upstream"}).listens()
    body = json.dumps({"model": "gpt-5.6-luna", "messages": [{"role": "user", "content": "hi"}]})
    status, headers, reply = ask("POST", "/v1/chat/completions", key, body)
    assert (status, reply) == (200, ANSWER), (status, reply)
    assert float(headers["x-farthing-cost-usd"]) > 0
    assert container.stop() == "", "a key is printed at the first start only"
    assert Path(root, "var/lib/farthing/farthing.db").stat().st_size > 0


def serves_operators_only_with_an_admin_key(root):
    Path(root, "var/lib/farthing/farthing.yaml").unlink()
    container = Container(root, {"OPENAI_API_KEY": "sk-upstream", "FARTHING_ADMIN_KEY": "admin"}).listens()
    assert '"admin_listen":"0.0.0.0:4101"' in container.lines[-1], container.lines
    container.stop()


def main():
    bring_loopback_up()
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="farthing-rootfs-") as root:
        os.chmod(root, 0o755)
        subprocess.run([Path(__file__).parent.parent / "deploy/rootfs.sh", sys.argv[1], root], check=True)
        print(f"the file system: {size(root) / 1e6:.1f} MB, the binary in it {Path(sys.argv[1]).stat().st_size / 1e6:.1f} MB")
        refuses_to_start_without_a_credential(root)
        key = prints_its_first_key_once(root)
        serves_with_it_at_the_next_start(root, key, provider.server_port)
        serves_operators_only_with_an_admin_key(root)
    print("the container's file system serves")


main()
