"""A headless Chromium, driven by the DevTools protocol; skipped where none is installed."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websocket

from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.report.html.study import write_report
from routestat.study.trace_study import study
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.synthetic import planted_paths

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT = 20.0
SHAPES = {"states": (8, 2, 12), "experts": (16, 4, 4), "one layer": (8, 2, 1)}


class Tab:
    """One page of the browser: commands, and every event since the last look."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=WAIT, suppress_origin=True)
        self._ids = numbers(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Run a command and return its result; events that come meanwhile are kept."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def evaluate(self, script: str) -> Any:
        """The value of an expression or promise in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path, width: int, **media: str) -> None:
        """Load a page at a width and wait for its load event."""
        self.events.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send("Page.navigate", url=page.as_uri())
        until = time.monotonic() + WAIT
        while not self.named("Page.loadEventFired"):
            assert time.monotonic() < until, "the page did not load"
            self.send("Runtime.evaluate", expression="0")
            time.sleep(0.02)

    def named(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of a fresh browser, which is killed whatever happens."""
    binary = next((found for name in NAMES if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    home = tmp_path_factory.mktemp("browser")
    command = [
        binary,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={home}",
        "about:blank",
    ]
    with (home / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            found = Tab(_address(home, process))
            yield found
            found.close()
        finally:
            process.kill()


def _address(home: Path, process: subprocess.Popen) -> str:
    """Where the first page listens, once the browser has said its port."""
    said, until = home / "DevToolsActivePort", time.monotonic() + WAIT
    while not said.exists() or len(said.read_text().splitlines()) < 2:
        assert process.poll() is None, (home / "log").read_text()
        assert time.monotonic() < until, "the browser did not open its port"
        time.sleep(0.05)
    port = said.read_text().splitlines()[0]
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=WAIT) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        if pages:
            return pages[0]["webSocketDebuggerUrl"]
        assert time.monotonic() < until, "the browser has no page"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The report of a small trace: "states", "experts", "one layer"; with text that would do harm as HTML."""
    done: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in done:
            n_experts, top_k, layers = SHAPES[name]
            made = planted_paths(
                weight=0.5,
                rng=np.random.default_rng(2),
                n_experts=n_experts,
                top_k=top_k,
                layers=layers,
                documents=40,
                mean_length=40,
            )
            meta = TraceMeta(
                routers_like(made.layers, n_experts, top_k),
                name="anamewithoutanyplacetobreak" * 6,
                model="<script>document.title = 'broken'</script>",
                source='<img src="http://127.0.0.1:9/x.png" onerror="document.title = 1">',
            )
            trace = Trace.from_arrays(meta, made.document, made.position, made.states)
            findings = study(trace, count(trace), count_paths(trace, None, 5), np.random.default_rng(0))
            done[name] = write_report(findings, tmp_path_factory.mktemp("page"))
        return done[name]

    return get
