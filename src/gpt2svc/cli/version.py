"""`gpt2svc version`: what is installed, read from package metadata so that nothing heavy is imported."""

from gpt2svc.cli.flags import AsOneJsonObject
from gpt2svc.cli.output import write, write_json

PACKAGES = ("gpt2svc", "torch", "transformers", "tokenizers", "fastapi", "sqlalchemy")


def package_version(name: str) -> str | None:
    """None when the package is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed_version

    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None


def version(as_json: AsOneJsonObject = False) -> None:
    """Show the versions of gpt2svc, Python and the libraries that matter for its results."""
    import platform

    versions = {name: package_version(name) for name in PACKAGES}
    versions["python"] = platform.python_version()
    if as_json:
        write_json(versions)
        return
    width = max(map(len, versions))
    for name, number in versions.items():
        write(f"{name:<{width}}  {number or 'not installed'}")
