"""Debian's Chromium without a window, driven over the DevTools protocol through two pipes: nothing but the browser is needed."""
import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


# Seconds for one answer of the browser: what is quick alone may wait for a processor.
PATIENCE = 120


class PageError(RuntimeError):
    """A script in the page failed, or the browser refused a command."""


class Chromium:
    """A browser with one page; what the page says and asks for is kept in `console`, `requests` and `violations`."""

    def __init__(self, binary="chromium"):
        self.folder = tempfile.mkdtemp(prefix="skein-chromium-")
        read, self.output = os.pipe()
        self.input, write = os.pipe()

        def pipes():
            # The browser reads commands from descriptor 3 and writes to 4.
            os.dup2(read, 100)
            os.dup2(write, 101)
            os.dup2(100, 3)
            os.dup2(101, 4)
        self.process = subprocess.Popen(
            [binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={self.folder}", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server", "--disable-dev-shm-usage",
             "--hide-scrollbars", "--lang=en-US", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=pipes, close_fds=False)
        os.close(read)
        os.close(write)
        self.numbers = itertools.count(1)
        self.buffer = b""
        self.answers = {}
        self.console, self.requests, self.violations, self.sizes, self.failed = [], [], [], {}, []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Performance", "Accessibility", "Audits"):
            self.call(f"{domain}.enable")
        self.version = self.call("Browser.getVersion", session=None)["product"]

    # Messages end with a zero byte.
    def call(self, method, timeout=PATIENCE, session="own", **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session == "own" and self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.output, data):]
        end = time.time() + timeout
        while number not in self.answers:
            self.read(end)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error'].get('message')}")
        return answer.get("result", {})

    def read(self, end):
        left = end - time.time()
        if left <= 0 or not select.select([self.input], [], [], left)[0]:
            raise PageError("the browser does not answer in time")
        piece = os.read(self.input, 1 << 20)
        if not piece:
            raise PageError("the browser has ended")
        *messages, self.buffer = (self.buffer + piece).split(b"\0")
        for message in messages:
            self.take(json.loads(message))

    def take(self, message):
        if "id" in message:
            self.answers[message["id"]] = message
            return
        method, told = message["method"], message.get("params", {})
        if method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in told["args"]))
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Audits.issueAdded":
            self.violations.append(told["issue"]["code"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Network.loadingFinished":
            self.sizes[told["requestId"]] = told["encodedDataLength"]
        elif method == "Network.loadingFailed" and not told.get("canceled"):
            self.failed.append(told.get("errorText"))

    def evaluate(self, script, timeout=PATIENCE):
        """The value of an expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", timeout, expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, script, seconds=30, step=0.1):
        """Waits until an expression is true; its last value."""
        end, value = time.time() + seconds, None
        while time.time() < end:
            value = self.evaluate(script)
            if value:
                return value
            time.sleep(step)
        return value

    def settle(self):
        """Takes in what was told meanwhile."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def resize(self, width, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, **features):
        """`prefers_color_scheme="dark"` and others; nothing for what the browser has."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": n.replace("_", "-"), "value": v} for n, v in features.items()])

    def press(self, key, code=None, modifiers=0):
        keys = {"Tab": 9, "Enter": 13}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, windowsVirtualKeyCode=keys.get(key, 0), modifiers=modifiers,
                      **({"text": "\r"} if key == "Enter" and kind == "keyDown" else {}))

    def screenshot(self, path, height=None):
        parameters = {"format": "png"}
        if height:
            width = self.evaluate("innerWidth")
            parameters["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            parameters["captureBeyondViewport"] = True
        data = base64.b64decode(self.call("Page.captureScreenshot", **parameters)["data"])
        with open(path, "wb") as file:
            file.write(data)
        return len(data)

    def close(self):
        try:
            self.call("Browser.close", 10, session=None)
            self.process.wait(10)
        except (PageError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait(10)
        os.close(self.output)
        os.close(self.input)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
