# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium that tests look at pages with, told what to do over its DevTools protocol on a pipe: it needs
nothing but a browser (`apt install chromium`, or the environment variable DA3_BROWSER).
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

import cv2
import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
NO_GL = ("--disable-gpu", "--disable-3d-apis")
_PATIENCE = 90
"""Seconds for an answer: machines that test are busy."""


def find_browser():
    """Path of a Chromium; skips the test, with the reason, where there is none."""
    named = os.environ.get("DA3_BROWSER")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        where = f"DA3_BROWSER={named} is none" if named else f"none of {', '.join(NAMES)} is on PATH"
        pytest.skip(f"no browser: {where}; `apt install chromium`")
    return found


class Page:
    """One page of a browser that runs until `close`."""

    def __init__(self, profile, *flags, size=(1280, 900), scale=1, dark=False, scripts=True, touch=False):
        # Pipes for descriptors 3 and 4 of the browser; moved out of the way, so that neither is one of these already.
        down, up = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (down[0], up[1])]
        command = f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}'
        options = ["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars"]
        options += ["--disable-dev-shm-usage", f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, find_browser(), *options, *flags, "about:blank"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (down[0], up[1], *ends):
            os.close(end)
        self._write, self._read = down[1], up[0]
        self._number, self._buffer, self._session, self._scripts = 0, b"", None, scripts
        self.errors, self.requests = [], []
        """What the console or the program complained about; addresses that the page asked for."""
        targets = self._ask("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": scale, "mobile": touch}
        self._ask("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        if touch:
            self._ask("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
        if not scripts:
            self._ask("Emulation.setScriptExecutionDisabled", value=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the browser."""
        with contextlib.suppress(OSError, AssertionError):
            self._session = None
            self._send("Browser.close")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def open(self, path):
        """Load a file, as a double click does, and wait until it is loaded."""
        self._ask("Page.navigate", url=path.as_uri())
        if self._scripts:
            self.wait("document.readyState === 'complete'")

    def run(self, expression):
        """The value of an expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, last):
        """What can be read on the page, as programs that read it aloud have it, once `last` is there. Scripts may be
        off.
        """
        self._ask("Accessibility.enable")
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
            words = [node["name"].get("value", "") for node in nodes if "name" in node and not node.get("ignored")]
            if last in words:
                return "\n".join(words)
            time.sleep(0.1)
        raise AssertionError(f"never to be read: {last}")

    def wait(self, expression):
        """Until an expression is true."""
        end = time.monotonic() + _PATIENCE
        while not self.run(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def set(self, selector, value):
        """Move a slider to a value, as the arrow keys do."""
        self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = {value};"
            "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def click(self, selector):
        """Click in the middle of an element, with the mouse."""
        x, y, *_ = self.box(selector, middle=True)
        self._mouse("mousePressed", x, y, buttons=1)
        self._mouse("mouseReleased", x, y, buttons=0)

    def drag(self, selector, dx, dy):
        """Drag from the middle of an element with the left button."""
        x, y, *_ = self.box(selector, middle=True)
        self._mouse("mousePressed", x, y, buttons=1)
        for step in range(1, 6):
            self._mouse("mouseMoved", x + dx * step / 5, y + dy * step / 5, buttons=1)
        self._mouse("mouseReleased", x + dx, y + dy, buttons=0)

    def turn_wheel(self, selector, amount):
        """Turn the wheel over the middle of an element."""
        x, y, *_ = self.box(selector, middle=True)
        self._ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=amount)

    def swipe(self, selector, dx, dy):
        """One finger from the middle of an element."""
        x, y, *_ = self.box(selector, middle=True)
        self._ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        for step in range(1, 6):
            point = {"x": x + dx * step / 5, "y": y + dy * step / 5}
            self._ask("Input.dispatchTouchEvent", type="touchMove", touchPoints=[point])
        self._ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def box(self, selector, *, middle=False):
        """Left, top, width and height of an element in the window, scrolled into sight; middle: in place of left and
        top.
        """
        name = json.dumps(selector)
        x, y, w, h = self.run(
            f"(() => {{ const e = document.querySelector({name}); e.scrollIntoView({{block: 'center'}});"
            "const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
        )
        return (x + w / 2, y + h / 2, w, h) if middle else (x, y, w, h)

    def picture(self, selector=None, *, whole=False):
        """RGB (h, w, 3) of what an element, the window or the whole page shows."""
        # Two frames later everything that was asked for is drawn.
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        options = {"captureBeyondViewport": whole}
        if selector is not None:
            x, y, w, h = self.box(selector)
            scroll = self.run("[scrollX, scrollY]")
            options["clip"] = {"x": x + scroll[0], "y": y + scroll[1], "width": w, "height": h, "scale": 1}
        data = base64.b64decode(self._ask("Page.captureScreenshot", format="png", **options)["data"])
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def _mouse(self, kind, x, y, *, buttons):
        button = "none" if kind == "mouseMoved" and not buttons else "left"
        values = {"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1}
        self._ask("Input.dispatchMouseEvent", **values)

    def _send(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        return self._number

    def _ask(self, method, **parameters):
        number = self._send(method, **parameters)
        end = time.monotonic() + _PATIENCE
        while True:
            answer = self._next(end, method)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _next(self, end, what):
        """The next message of the browser; each ends with a zero."""
        while b"\0" not in self._buffer:
            ready = select.select([self._read], [], [], max(end - time.monotonic(), 0))[0]
            assert ready, f"the browser did not answer {what} within {_PATIENCE} s"
            data = os.read(self._read, 1 << 20)
            assert data, f"the browser ended at {what}"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        method, values = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(values["exceptionDetails"].get("exception", values["exceptionDetails"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and values["type"] == "error":
            self.errors.append(values["args"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
