"""The service with a scripted engine, in a thread of its own, behind a proxy that can lose connections."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from gpt2svc.app import create_app
from gpt2svc.config import Settings
from gpt2svc.models.tokenizer import Tokenizer
from tests.fakes.engine import ScriptedEngine, ScriptedPool
from tests.fakes.running_app import running
from tests.fakes.tokenizer import write_tokenizer_folder
from tests.web.proxy import CuttingProxy

T = TypeVar("T")
TIMEOUT_S = 20.0


class WebService:
    """`url` stays the same over a restart. What touches the engine runs in the service's loop: `do`."""

    def __init__(self, folder: Path, *, n_positions: int = 1024, model: str = "tiny", **settings: Any) -> None:
        self._folder = folder
        self._settings = settings
        self._model = model
        self._tokenizer = Tokenizer.from_folder(write_tokenizer_folder(folder / "tokenizer"))
        self._n_positions = n_positions
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web-service")
        self._stop: asyncio.Event | None = None
        self._serving: asyncio.Future[None] | None = None
        self.proxy = CuttingProxy()
        self.engine = self._new_engine()

    def __enter__(self) -> Self:
        self._thread.start()
        self.await_(self.proxy.start())
        self.url = self.proxy.url
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.await_(self.proxy.stop())
        self.await_(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def await_(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)

    def do(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return self.await_(run())  # type: ignore[no-any-return]

    def start(self) -> None:
        """On the same database, with a new engine."""
        self.engine = self._new_engine()
        self.await_(self._start())

    def stop(self) -> None:
        self.await_(self._finish())

    def api(self, method: str, path: str, **options: Any) -> Any:
        response = httpx.request(method, f"{self.url}{path}", timeout=TIMEOUT_S, **options)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def say(self, *replies: str, **when: str) -> None:
        for reply in replies:
            self.do(lambda reply=reply: self.engine.say(reply, **when))

    def _new_engine(self) -> ScriptedEngine:
        return ScriptedEngine(self._tokenizer, n_positions=self._n_positions, model=self._model)

    async def _start(self) -> None:
        values = {"data_dir": self._folder / "data", "model": self._model, "drain_s": 0.05, **self._settings}
        app = create_app(Settings(**values), engines=ScriptedPool(self.engine))
        stop, up = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with running(app) as url:
                self.proxy.target_port = int(url.rpartition(":")[2])
                up.set()
                await stop.wait()

        self._stop = stop
        self._serving = asyncio.ensure_future(serve())
        waiting = asyncio.ensure_future(up.wait())
        await asyncio.wait({self._serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            waiting.cancel()
            self._serving.result()

    async def _finish(self) -> None:
        if self._serving is None or self._stop is None:
            return
        self.proxy.cut()
        self._stop.set()
        await self._serving
        self._serving = None


async def _cancel_others() -> None:
    """What libraries leave running in the loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
