"""Headless Chromium over WebDriver (https://www.w3.org/TR/webdriver2/), and what its screen shows."""

import base64
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import urllib.request

import cv2
import numpy

from opencv import bar_code

# For whatever the browser is asked to wait for.
PATIENCE_S = 20

# Emulated, since a real window is never narrower than 500 pixels and loses its frame.
SCREENS = {
    "desktop": {"width": 1280, "height": 800, "pixelRatio": 1, "mobile": False, "touch": False},
    "wide": {"width": 1440, "height": 900, "pixelRatio": 1, "mobile": False, "touch": False},
    "phone": {"width": 390, "height": 844, "pixelRatio": 3, "mobile": True, "touch": True},
}

FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
""".split()

@contextlib.contextmanager
def chromedriver(folder):
    """The address of a new chromedriver, which ends with all its browsers, however this ends."""
    port = free_port()
    process = subprocess.Popen(
        ["chromedriver", f"--port={port}"],
        stdout=subprocess.PIPE,
        text=True,
        # What Chromium leaves behind goes with the folder.
        env=os.environ | {"HOME": folder, "TMPDIR": folder},
        # A group of its own, of which the browser's processes become members.
        start_new_session=True,
    )
    try:
        next(line for line in process.stdout if "started successfully" in line)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def free_port():
    """A port that is free for IPv4 and IPv6, which chromedriver binds one after the other.

    Left to itself it takes one that is free for the first and ends if the second has given it to some
    connection: so this one is below those that connections get.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
                stack.enter_context(socket.socket(family)).bind((host, port))
            return port


class Session:
    """A browser with one page."""

    def __init__(self, driver, folder, screen="desktop"):
        capabilities = {
            # A page with a stream in it never finishes loading.
            "pageLoadStrategy": "none",
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"implicit": 1000 * PATIENCE_S, "script": 1000 * PATIENCE_S},
            "goog:chromeOptions": {
                "args": [*FLAGS, f"--user-data-dir={folder}/profile"],
                "mobileEmulation": {"deviceMetrics": SCREENS[screen]},
            },
        }
        self.address = f"{driver}/session"
        created = self.ask("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self.address += "/" + created["sessionId"]

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["value"]

    def cdp(self, command, **parameters):
        """What only Chromium's own protocol can do."""
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What the body of a function returns; a promise is waited for."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script, *arguments):
        """Waits until the expression is true; its value."""
        looks = f"""
            const look = () => {{
                const value = (() => ({script}))();
                value ? done(value) : setTimeout(look, 20);
            }};
            let done;
            const told = new Promise(resolve => done = resolve);
            look();
            return told;
        """
        return self.run(looks, *arguments)

    def screenshot(self):
        png = base64.b64decode(self.ask("GET", "/screenshot"))
        return cv2.imdecode(numpy.frombuffer(png, numpy.uint8), cv2.IMREAD_COLOR)


def code_shown(screen, edges, size):
    """The bar code of the picture between these edges, once it is scaled back to its size."""
    left, top, right, bottom = edges
    picture = screen[top:bottom, left:right]
    return bar_code(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
