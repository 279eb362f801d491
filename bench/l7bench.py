#!/usr/bin/env python3
"""l7bench - interleaved side-by-side benchmark of HTTP/1.1 reverse proxies on loopback.

Starts an nginx backend, runs each proxy in turn (A B C, C B A, ...) under wrk, and
compares REQUESTS PER PROXY-CPU-SECOND (utime+stime of the proxy's process tree over the
run), a figure that holds when the client saturates or the machine is shared and noisy.

    l7bench.py nginx trimaran haproxy                 # built-in proxies, first = reference
    l7bench.py nginx --proxy-cmd 'ours=ourlb --listen {port} --upstream 127.0.0.1:{backend}'
    l7bench.py nginx new=nginx:/path/to/nginx haproxy --body 64k --rounds 5 --duration 5
    l7bench.py direct nginx nginx-log nginx-tcp haproxy haproxy-tcp --close

A command's {port}, {backend} and {dir} are replaced by its port, the backend's port and
a scratch folder. The proxy is pinned to --proxy-cpu, wrk and the backend to --load-cpu.
`direct` (wrk straight to the backend) shows their ceiling. noise% is all else that ran on
the proxy's core, softirq that no process is charged for included. Needs Linux, wrk, nginx.
"""

import argparse
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
KINDS = (
    "direct",
    "trimaran",
    "trimaran-log",
    "nginx",
    "nginx-log",
    "nginx-tcp",
    "nginx-static",
    "trimaran-static",
    "haproxy",
    "haproxy-splice",
    "haproxy-tcp",
)

NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log warn; {load}
events {{ worker_connections 8192; }}
"""
HTTP = (
    NGINX
    + """
http {{
  access_log {log}; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2;
  fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
"""
)
BACKEND = (
    HTTP
    + """
  sendfile on; tcp_nopush on; open_file_cache max=16;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {dir};
    location = /64 {{ return 200 "{bytes64}"; }} }} }}
"""
)
NGINX_HTTP = (
    HTTP
    + """
  upstream b {{ server 127.0.0.1:{backend}; keepalive 1024; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_max_temp_file_size 0; }} }} }}
"""
)
NGINX_STATIC = (
    HTTP
    + """
  sendfile on; tcp_nopush on; default_type text/plain;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }} }}
"""
)
NGINX_TCP = (
    NGINX
    + """
stream {{ server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass 127.0.0.1:{backend}; }} }}
"""
)
HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode {mode}
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend f
  bind 127.0.0.1:{port} backlog 4096
  default_backend b
backend b
  {opts}
  server s1 127.0.0.1:{backend}
"""


def need(name):
    return shutil.which(name) or sys.exit(f"l7bench: {name} not found")


def works(call, port):
    try:
        return call(("127.0.0.1", port)).close() is None
    except OSError:
        return False


is_free = partial(works, socket.create_server)
listens = partial(works, socket.create_connection)


def wait_for(test, port, what):
    for _ in range(200):
        if test(port):
            return
        time.sleep(0.05)
    sys.exit(f"l7bench: {what} port {port}")


def free_port():
    """A free port below those that the kernel gives to outgoing connections."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return next(filter(is_free, random.sample(range(2048, low), 100)))


def stream_module(binary):
    """Debian builds nginx's stream as a dynamic module; others link it in."""
    built = subprocess.run([binary, "-V"], capture_output=True, text=True).stderr
    where = re.search(r"--modules-path=(\S+).*--with-stream=dynamic", built)
    return f"load_module {where[1]}/ngx_stream_module.so;" if where else ""


def launch(command, cpu, out):
    def prepare():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        os.sched_setaffinity(0, {cpu})

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        preexec_fn=prepare,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class Server:
    """A proxy (or the backend): its configuration, its processes, what they use."""

    def __init__(self, name, top, cpu, backend=None):
        self.name, self.cpu_no, self.backend = name, cpu, backend
        self.port, self.proc, self.command = free_port(), None, None
        self.dir = tempfile.mkdtemp(prefix=re.sub(r"\W", "_", name) + "-", dir=top)
        Path(self.dir).chmod(0o755)  # nginx's workers run as another user

    def fill(self, template, **values):
        return template.format(port=self.port, backend=self.backend, dir=self.dir, **values)

    def conf(self, template, **values):
        path = Path(self.dir, "conf")
        path.write_text(self.fill(template, **values))
        return str(path)

    def builtin(self, kind, binary, root):
        base, _, flavour = kind.partition("-")
        tcp = flavour == "tcp"
        if kind not in KINDS:
            sys.exit(f"l7bench: unknown proxy {kind}")
        if kind == "direct":
            self.port = self.backend
            return self
        if base == "trimaran":
            more = ["--log", f"{self.dir}/access.log"] * (flavour == "log")
            more += ["--root", root] * (flavour == "static")
            ours = [sys.executable, str(Path(__file__).with_name("l7engine.py"))]
            self.command = [*ours, str(self.port), str(self.backend), *more]
            return self
        binary = binary or need(base)
        if base == "nginx":
            load = stream_module(binary) if tcp else ""
            log = f"{self.dir}/access.log" if flavour == "log" else "off"
            text = {"tcp": NGINX_TCP, "static": NGINX_STATIC}.get(flavour, NGINX_HTTP)
            conf = self.conf(text, load=load, log=log, root=root)
            self.command = [binary, "-c", conf]
        else:
            opts = "" if tcp else "http-reuse always\n  option forwardfor"
            opts += "\n  option splice-response" * (flavour == "splice")
            conf = self.conf(HAPROXY, mode="tcp" if tcp else "http", opts=opts)
            self.command = [binary, "-db", "-q", "-f", conf]
        return self

    def start(self):
        if self.command:
            wait_for(is_free, self.port, f"{self.name}: its last run still holds")
            with Path(self.dir, "out").open("w") as out:
                self.proc = launch(self.command, self.cpu_no, out)
        wait_for(listens, self.port, f"{self.name}: nothing listens on")

    def stop(self):
        if self.proc:
            self.proc.terminate()
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.proc.pid, signal.SIGKILL)  # its own session: see launch

    def total(self, name, pattern):
        """The pattern's groups in /proc/PID/name, summed over the process tree."""
        todo, total = [self.proc.pid] if self.proc else [], 0
        while todo:
            proc = Path("/proc", str(todo.pop()))
            todo += map(int, (proc / "task" / proc.name / "children").read_text().split())
            total += sum(map(int, re.search(pattern, (proc / name).read_text(), re.M).groups()))
        return total

    def cpu(self):
        return self.total("stat", r"\) \S(?: \S+){10} (\d+) (\d+)") / TICK

    def rss(self):
        """Resident MiB, each shared page counted once (PSS)."""
        return self.total("smaps_rollup", r"^Pss:\s+(\d+)") / 1024


def start_backend(args, top):
    Path(top).chmod(0o755)
    server = Server("backend", top, args.load_cpu)
    for name, size in (("1k", 1 << 10), ("16k", 1 << 14), ("64k", 1 << 16), ("1m", 1 << 20)):
        Path(server.dir, name).write_text("x" * size)
    server.conf(BACKEND, bytes64="x" * 64, log="off", load="")
    server.command = [need("nginx"), "-c", f"{server.dir}/conf"]
    server.start()
    return server


def busy(cpu):
    """Seconds that one core was busy or stolen since boot."""
    text = Path("/proc/stat").read_text()
    v = [int(x) for x in re.search(rf"^cpu{cpu} (.*)", text, re.M)[1].split()]
    return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / TICK


def wrk(server, args, seconds):
    command = [
        need("wrk"),
        "-t1",
        f"-c{args.connections}",
        f"-d{seconds}s",
        "--latency",
        f"http://127.0.0.1:{server.port}/{args.body}",
    ]
    for header in args.header + ["Connection: close"] * args.close:
        command += ["-H", header]
    return launch(command, args.load_cpu, subprocess.PIPE).communicate()[0].decode()


def millis(text, percent):
    value, unit = re.search(rf"^\s+{percent}%\s+([\d.]+)(\w+)", text, re.M).groups()
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def one_run(server, args):
    try:
        server.start()
        wrk(server, args, 1)  # warm up
        busy0, cpu0, t0 = busy(args.proxy_cpu), server.cpu(), time.monotonic()
        text = wrk(server, args, args.duration)
        if server.proc and server.proc.poll() is not None:
            sys.exit(f"{server.name} ended: {Path(server.dir, 'out').read_text()[-300:]}")
        cpu, wall = server.cpu() - cpu0, time.monotonic() - t0
        noise, rss = busy(args.proxy_cpu) - busy0 - cpu, server.rss()
    finally:
        server.stop()
    done = int(re.search(r"(\d+) requests in", text)[1])
    bad = re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", text)
    return {
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "per_cpu": done / cpu if cpu else 0.0,
        # Softirq that interrupts an idle core is charged to nobody: here the proxy pays for all.
        "per_core": done / (cpu + noise) if cpu else 0.0,
        "p50": millis(text, 50),
        "p99": millis(text, 99),
        "rss": rss,
        "share": 100 * cpu / wall,
        "noise": 100 * max(0.0, noise) / wall,
        "errors": sum(map(int, bad)),
    }


def report(runs, order):
    print(
        f"{'proxy':<14}     rps  req/cpu-s  cpu-s/100k  p50 ms  p99 ms  RSS MiB  cpu%  noise%"
        f"  errors  × {order[0]} by req/cpu-s: median (min-max)"
    )
    for name in order:
        m = {k: statistics.median(r[k] for r in runs[name]) for k in runs[name][0]}
        pairs = zip(runs[order[0]], runs[name], strict=True)
        ratios = [b["per_cpu"] / a["per_cpu"] for a, b in pairs if a["per_cpu"] and b["per_cpu"]]
        ratios = ratios or [float("nan")]
        print(
            f"{name:<14}{m['rps']:>8.0f}{m['per_cpu']:>11.0f}"
            f"{1e5 / m['per_cpu'] if m['per_cpu'] else 0:>12.2f}{m['p50']:>8.2f}"
            f"{m['p99']:>8.2f}{m['rss']:>9.1f}{m['share']:>6.0f}{m['noise']:>8.1f}"
            f"{sum(r['errors'] for r in runs[name]):>8}  {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}-{max(ratios):.2f})"
        )


def measure(args):
    """Every round's figures of every proxy, in the order of args.proxies."""
    with tempfile.TemporaryDirectory(prefix="l7bench-") as top:
        backend = start_backend(args, top)
        try:
            servers, where = [], (top, args.proxy_cpu, backend.port)
            for name, _, kind in (s.rpartition("=") for s in args.proxies):
                kind, _, binary = kind.partition(":")
                servers.append(Server(name or kind, *where).builtin(kind, binary, backend.dir))
            for name, _, command in (s.partition("=") for s in args.proxy_cmd):
                servers.append(Server(name, *where))
                servers[-1].command = shlex.split(servers[-1].fill(command))
            runs = {s.name: [] for s in servers}
            for turn in range(args.rounds):
                for s in servers[::-1] if turn % 2 else servers:
                    runs[s.name].append(one_run(s, args))
        finally:
            backend.stop()
    return runs


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "proxies",
        nargs="*",
        metavar="[NAME=]KIND[:BINARY]",
        default=["nginx", "trimaran", "haproxy"],
        help="KIND: " + " ".join(KINDS),
    )
    p.add_argument("--proxy-cmd", action="append", default=[], metavar="NAME=COMMAND")
    p.add_argument("--body", choices=["64", "1k", "16k", "64k", "1m"], default="1k")
    p.add_argument("--close", action="store_true", help="one connection per request")
    p.add_argument("--header", action="append", default=[], help="sent with each request")
    p.add_argument("--connections", type=int, default=64)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--duration", type=int, default=5, help="seconds per run")
    p.add_argument("--proxy-cpu", type=int, default=0)
    p.add_argument("--load-cpu", type=int, default=1)
    p.add_argument("--json", metavar="FILE", help="write every run's figures here")
    args = p.parse_args()
    runs = measure(args)
    report(runs, list(runs))
    if args.json:
        Path(args.json).write_text(json.dumps({"args": vars(args), "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
