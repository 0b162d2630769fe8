"""`make bench`: all measurements, as tables and as a JSON file in bench-results/."""

import subprocess
import sys

from bench import http_streams, start_up
from bench.figures import print_table, write_results

# These print tables of their own, and take options when they are run alone.
SCRIPTS = ("bench/persistence.py", "bench/engine_decode.py")


def main() -> None:
    figures = []
    for title, measurement in (("Start-up", start_up), ("Streams over HTTP, the bundled model", http_streams)):
        measured = measurement.measure()
        print_table(title, measured)
        figures += measured
    outputs = {}
    for script in SCRIPTS:
        print(f"\n{script}", flush=True)
        done = subprocess.run([sys.executable, script], check=True, stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        outputs[script] = done.stdout.splitlines()
    print(f"Written to {write_results('bench', figures, outputs)}")


if __name__ == "__main__":
    main()
