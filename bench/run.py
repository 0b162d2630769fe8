"""`make bench`: all measurements, as tables and as a JSON file in bench-results/.

python -m bench.run [part …]         only these parts, by their names below
"""

import importlib
import subprocess
import sys
from typing import Final

from bench.figures import Figure, print_table, write_results

# Modules with a `measure()`, in an order that begins with what a person meets first.
PARTS: Final = {
    "start_up": "Start-up",
    "http_streams": "Streams over HTTP, the bundled model",
    "peers": "GPT-2 124M beside other engines, 64 + 64 tokens",
    "full_size": "GPT-2 124M over HTTP, and its memory",
    "turns": "Time to the first token by turn, GPT-2 124M",
    "long_prompt": "A prompt of 900 tokens among 31 streams, GPT-2 124M",
    "overload": "A thousand requests at once against a limit of 16",
    "cancel": "From a cancel to idle",
}
# These print tables of their own, and take options when they are run alone.
SCRIPTS: Final = {
    "persistence": "bench/persistence.py",
    "speculation": "bench/speculation.py",
    "beams": "bench/beams.py",
}


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in {**PARTS, **SCRIPTS}]
    if unknown:
        raise SystemExit(f"There is no {unknown[0]!r}: {', '.join([*PARTS, *SCRIPTS])}.")
    figures: list[Figure] = []
    for name, title in PARTS.items():
        if not names or name in names:
            print(f"\nbench/{name}.py", flush=True)
            measured = importlib.import_module(f"bench.{name}").measure()
            print_table(title, measured)
            figures += measured
    outputs = {}
    for name, script in SCRIPTS.items():
        if not names or name in names:
            print(f"\n{script}", flush=True)
            done = subprocess.run([sys.executable, script], check=True, stdout=subprocess.PIPE, text=True)
            print(done.stdout, flush=True)
            outputs[script] = done.stdout.splitlines()
    print(f"Written to {write_results('bench', figures, outputs)}")


if __name__ == "__main__":
    main(sys.argv[1:])
