"""Where the browser is, and what to do without one."""

import os
import shutil

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REASON = (
    "The page was NOT tested: no Chromium was found. Install one (Debian: scripts/install-chromium), or name yours: "
    "CHROMIUM=/path/to/chromium make test"
)


def find_chromium() -> str:
    """The path of a Chromium or Chrome. Without one the test is skipped; where CI is set it fails."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(REASON, pytrace=False)
    pytest.skip(REASON)
