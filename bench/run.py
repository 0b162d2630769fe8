"""`make bench`: all measurements, as tables and as a JSON file in bench-results/."""

from bench import http_streams, start_up
from bench.figures import print_table, write_results


def main() -> None:
    figures = []
    for title, measurement in (("Start-up", start_up), ("Streams over HTTP", http_streams)):
        measured = measurement.measure()
        print_table(title, measured)
        figures += measured
    print(f"Written to {write_results('bench', figures)}")


if __name__ == "__main__":
    main()
