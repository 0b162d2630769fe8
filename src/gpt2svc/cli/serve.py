"""`gpt2svc serve`: the service in the foreground, until a signal ends it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2svc.cli.output import message

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fastapi import FastAPI

    from gpt2svc.cli.graceful_server import GracefulServer
    from gpt2svc.config import Settings

KEEP_ALIVE_S = 65  # longer than the 60 s of common proxies: the side that reuses connections should close them
CLOSE_TIMEOUT_S = 5  # for connections whose replies have ended: their readers only have to read


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond loopback an API key is needed.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one.")] = None,
    model: Annotated[
        str | None, typer.Option(help='Default model: "starter", a hub name (openai-community/gpt2) or a folder.')
    ] = None,
    chat_template: Annotated[
        Path | None, typer.Option(help="Jinja file that writes conversations, in place of the default model's own.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the database and downloaded models.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:<number>.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    quantize: Annotated[str | None, typer.Option(help="none, int8 or int4: weights in fewer bits.")] = None,
    speculation: Annotated[
        str | None, typer.Option(help="auto or off: several tokens a step where a text repeats itself.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="Key that requests must carry. Others can see flags: GPT2SVC_API_KEY is safer."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Run the service. Flags win over GPT2SVC_* variables, .env and gpt2svc.toml: see `gpt2svc config show`."""
    import signal

    # NOTE: until the server is up and drains at a signal, nothing has been promised to anybody: leaving is enough.
    signal.signal(signal.SIGTERM, _leave)

    import gc

    gc.disable()  # until the service is up: imports make objects that stay, and looking through them costs a tenth

    from gpt2svc.cli.model_check import require_usable_model
    from gpt2svc.config import load_settings
    from gpt2svc.logs import configure_logging

    settings = load_settings(
        host=host,
        port=port,
        model=model,
        chat_template=chat_template,
        data_dir=data_dir,
        device=device,
        dtype=dtype,
        quantize=quantize,
        speculation=speculation,
        api_key=api_key,
        log_level=log_level,
        log_format=log_format,
    )
    require_key_beyond_loopback(settings)
    require_usable_model(settings.model, settings.chat_template)
    configure_logging(settings.log_level, settings.log_format)
    _quieten_libraries(settings.log_level)
    listener = listen(settings)

    import asyncio

    from gpt2svc.cli.event_loop import loop_factory

    with listener, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(settings, listener))


def _leave(_: int, __: object) -> None:
    raise SystemExit(0)


def _quieten_libraries(log_level: str) -> None:
    """What they say of each start is for those who look for it."""
    import logging

    if log_level != "debug":
        for name in ("alembic", "uvicorn.error"):
            logging.getLogger(name).setLevel(logging.WARNING)


def require_key_beyond_loopback(settings: "Settings") -> None:
    """Raises ConfigError where other machines could use the service, and nothing would keep them from it."""
    from gpt2svc.errors import ConfigError
    from gpt2svc.persistence.stored_keys import has_active_keys

    if settings.api_key is None and not settings.is_loopback and not has_active_keys(settings.database_path):
        raise ConfigError(
            f"host is {settings.host} (from {settings.source_of('host')}), which other machines can reach, and there "
            "is no API key. Set GPT2SVC_API_KEY (16 characters or more), create one with `gpt2svc keys create NAME`, "
            "or leave host at 127.0.0.1.",
            field="host",
        )


def listen(settings: "Settings") -> "socket.socket":
    """The socket to serve on, bound but not yet taking connections. Raises ConfigError where it can't be bound."""
    import errno
    import socket

    from gpt2svc.errors import ConfigError

    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"host {settings.host} is no address of this machine: {error}.", field="host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if hasattr(socket, "SO_REUSEADDR"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it: the kernel lets go of readers who are gone
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(2000 * settings.sse_send_timeout_s))
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(settings) from error
        raise ConfigError(
            f"Can't listen on {settings.host} port {settings.port}: {error.strerror or error}.", field="port"
        ) from error
    return listener


def _in_use(settings: "Settings") -> Exception:
    from gpt2svc.errors import ConfigError

    return ConfigError(
        f"Port {settings.port} on {settings.host} is in use, perhaps by another gpt2svc. "
        "Stop that, or choose another port with --port (0 takes any free one).",
        field="port",
    )


async def _run(settings: "Settings", listener: "socket.socket") -> None:
    import errno

    from gpt2svc.app import create_app

    app = create_app(settings)
    server = make_server(app, settings, on_up=lambda: _on_up(settings, listener))
    async with app.router.lifespan_context(app):
        try:
            await server.serve(sockets=[listener])
        except OSError as error:
            if error.errno == errno.EADDRINUSE:  # bound by both of us, and the other one was first to listen
                raise _in_use(settings) from error
            raise


def make_server(app: "FastAPI", settings: "Settings", *, on_up: "Callable[[], None]") -> "GracefulServer":
    """The server of an app whose lifespan the caller enters: an error at start is then the caller's to report."""
    import asyncio

    import uvicorn

    from gpt2svc.app import gate_of_app, services_of_app
    from gpt2svc.cli.graceful_server import GracefulServer
    from gpt2svc.cli.http_protocol import make_protocol

    services = services_of_app(app)
    config = uvicorn.Config(
        app,
        http=make_protocol(gate_of_app(app)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
    )

    async def drain() -> None:
        await asyncio.gather(services.completions.stop(settings.drain_s), services.generations.stop(settings.drain_s))

    return GracefulServer(config, on_up=on_up, drain=drain)


def _on_up(settings: "Settings", listener: "socket.socket") -> None:
    import gc

    gc.freeze()
    gc.enable()

    from gpt2svc.cli.version import package_version

    address, port = listener.getsockname()[:2]
    shown = "127.0.0.1" if address in ("0.0.0.0", "::") else f"[{address}]" if ":" in address else address  # noqa: S104
    url = f"http://{shown}:{port}"
    message(
        f"gpt2svc {package_version('gpt2svc')} is up at {url} · API and examples: {url}/docs · "
        f"model: {settings.model} · data: {settings.data_dir} · Ctrl-C stops it"
    )
