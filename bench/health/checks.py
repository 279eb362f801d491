"""What it costs to watch many real servers: CPU of the checking process, as parts of one core.

    python bench/health/checks.py [--servers 2000] [--interval 3] [--kind tcp|http] [--seconds 15]

The real servers are addresses 127.x.y.z of one process that accepts and answers; its own CPU is not
counted. Prints the mean share of a core, the probes a second, how evenly they came (the busiest
10 ms against the mean), the latency that the checks measured, and how many failed: with 0 failed,
every server was asked in every interval.
"""

import argparse
import asyncio
import multiprocessing
import resource
import socket
from collections import Counter
from ipaddress import IPv4Address
from statistics import median, quantiles

from trimaran.health.runner import Runner
from trimaran.health.settings import CheckSettings, HttpProbe, Probe, Target, TcpProbe
from trimaran.system import clock

FIRST = IPv4Address("127.1.0.1")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


def serve(listener: socket.socket) -> None:
    """One thing that plays all real servers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.read(4096):
                writer.write(ANSWER)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, sock=listener)
        await server.serve_forever()

    asyncio.run(main())


def used() -> float:
    """CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def watch(checks: list[CheckSettings], warm_s: float, seconds: float) -> None:
    """Run the checks; count after the first round, which is like all others but for caches."""
    failed = 0

    def count(check: CheckSettings, error: str) -> None:
        nonlocal failed
        failed += 1

    runner = Runner(checks, lambda _check: None, failed=count)
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(warm_s)
    seen = {check: watched.last for check, watched in runner.watched.items()}
    cpu, begun, arrivals, latencies = used(), clock.now(), Counter[int](), []
    while (now := clock.now()) < begun + seconds:
        await asyncio.sleep(min(0.5, begun + seconds - now))
        for check, watched in runner.watched.items():
            if watched.last is not None and watched.last is not seen[check]:
                seen[check] = watched.last
                arrivals[int((watched.last.at - watched.last.latency_s - begun) * 100)] += 1
                latencies.append(watched.last.latency_s)
    cpu, took = used() - cpu, clock.now() - begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    per_10_ms = len(latencies) / took / 100
    busiest = max(arrivals.values())
    print(f"servers {len(checks)}, every {checks[0].interval_s:g} s")
    print(f"CPU {cpu / took:.3f} of a core; {cpu / len(latencies) * 1e6:.0f} µs a probe")
    print(f"probes {len(latencies) / took:.0f}/s; busiest 10 ms: {busiest}, mean {per_10_ms:.1f}")
    p99 = quantiles(latencies, n=100)[98]
    print(f"latency median {median(latencies) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")
    print(f"failed {failed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=3.0)
    parser.add_argument("--kind", choices=("tcp", "http"), default="tcp")
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    probe: Probe = TcpProbe() if given.kind == "tcp" else HttpProbe()
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as listener:
        # All of 127/8, and nobody from outside.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        port = listener.getsockname()[1]
        server = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
        server.start()
        checks = [
            CheckSettings(Target(FIRST + place, port), given.interval, 3.0, 1, 1.0, 1, probe)
            for place in range(given.servers)
        ]
        asyncio.run(watch(checks, given.interval + 1, given.seconds))
        server.terminate()


if __name__ == "__main__":
    main()
