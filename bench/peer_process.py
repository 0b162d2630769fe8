"""An engine in a process of its own: its threads, and how they wait, are nobody else's.

    python -m bench.peer_process ENGINE CHECKPOINT KIND MAX_BATCH THREADS

reads lines "batch prompt new" and answers each with the seconds it took. Ours waits as its worker does.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Self


class PeerProcess:
    """A context manager; `name` is the engine's and its kind of arithmetic."""

    def __init__(self, engine: str, checkpoint: Path, kind: str, max_batch: int, num_threads: int) -> None:
        self.name = f"{engine} {kind}"
        arguments = [engine, str(checkpoint), kind, str(max_batch), str(num_threads)]
        environment = {**os.environ, **({"OMP_WAIT_POLICY": "PASSIVE"} if engine == "gpt2svc" else {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.peer_process", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def seconds(self, batch: int, num_prompt: int, num_new: int) -> float:
        """That a batch of prompts took, from their tokens to the last new one."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("no pipes")
        self._process.stdin.write(f"{batch} {num_prompt} {num_new}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} has ended: its words are above")
        return float(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def main() -> None:
    from bench.peer_engines import ENGINES

    engine, checkpoint, kind, max_batch, num_threads = sys.argv[1:]
    own = ENGINES[engine](Path(checkpoint), kind, int(max_batch), int(num_threads))
    for line in sys.stdin:
        batch, num_prompt, num_new = map(int, line.split())
        print(own.seconds(batch, num_prompt, num_new), flush=True)


if __name__ == "__main__":
    main()
