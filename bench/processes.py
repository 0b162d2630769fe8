"""What the kernel knows of a process: processor time, memory, handles, threads."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessState:
    rss_bytes: int
    num_fds: int
    num_threads: int


def cpu_seconds(pid: int) -> float:
    """Of all threads that are alive, to the nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((thread / "schedstat").read_text().split()[0])
        except OSError:
            continue  # it has just ended
    return total / 1e9


def process_state(pid: int) -> ProcessState:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return ProcessState(
        rss_bytes=1024 * int(status["VmRSS"].split()[0]),
        num_fds=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        num_threads=int(status["Threads"]),
    )
