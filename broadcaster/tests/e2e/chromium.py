"""Opens a page in headless Chromium and prints the sequence number of its live picture, twice.

usage: chromium.py URL desktop|phone FOLDER

The numbers are read off two screenshots a second apart, which stay in FOLDER. The browser is driven over WebDriver (https://www.w3.org/TR/webdriver2/).
"""

import base64
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import cv2
import numpy

from opencv import sequence_number

# All of it together; whoever runs this has to wait a little longer, or cannot be tidied up after.
DEADLINE_S = 30
SECONDS_APART = 1

# Emulated, since a real window is never narrower than 500 pixels and loses its frame.
SCREENS = {
    "desktop": {"width": 1280, "height": 800, "pixelRatio": 1, "mobile": False, "touch": False},
    "phone": {"width": 390, "height": 844, "pixelRatio": 3, "mobile": True, "touch": True},
}

FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
""".split()

# Waits for the first picture. Answers with its edges in pixels of the screen, and its own size.
FIND_PICTURE = """
    const [image, answer] = arguments;
    const look = () => {
        if (!image.naturalWidth) return requestAnimationFrame(look);
        const {left, top, right, bottom} = image.getBoundingClientRect();
        const edges = [left, top, right, bottom].map(edge => Math.round(edge * devicePixelRatio));
        answer([edges, [image.naturalWidth, image.naturalHeight]]);
    };
    look();
"""


@contextlib.contextmanager
def chromedriver(folder):
    """The address of a new chromedriver, which ends with all its browsers, however this ends."""
    process = subprocess.Popen(
        ["chromedriver", "--port=0"],
        stdout=subprocess.PIPE,
        text=True,
        # What Chromium leaves behind goes with the folder.
        env=os.environ | {"HOME": folder, "TMPDIR": folder},
        # A group of its own, of which the browser's processes become members.
        start_new_session=True,
    )
    try:
        lines = (re.search(r"started successfully on port (\d+)", line) for line in process.stdout)
        yield f"http://127.0.0.1:{next(filter(None, lines))[1]}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


class Session:
    """A browser with one page."""

    def __init__(self, driver, screen, folder):
        capabilities = {
            # A page with a stream in it never finishes loading.
            "pageLoadStrategy": "none",
            "timeouts": {"implicit": 1000 * DEADLINE_S, "script": 1000 * DEADLINE_S},
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

    def find_picture(self, url):
        """Opens the page; edges and size of its live picture, once there is one."""
        self.ask("POST", "/url", {"url": url})
        image = self.ask("POST", "/element", {"using": "css selector", "value": "#live"})
        return self.ask("POST", "/execute/async", {"script": FIND_PICTURE, "args": [image]})

    def screenshot(self):
        return base64.b64decode(self.ask("GET", "/screenshot"))


def number_shown(screenshot, edges, size):
    """The number of the picture between these edges, once it is scaled back to its size."""
    screen = cv2.imdecode(numpy.frombuffer(screenshot, numpy.uint8), cv2.IMREAD_COLOR)
    left, top, right, bottom = edges
    picture = screen[top:bottom, left:right]
    return sequence_number(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def give_up(*_):
    sys.exit(f"not done within {DEADLINE_S} s")


def main():
    url, screen, folder = sys.argv[1:]
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(DEADLINE_S)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        chromedriver(home) as driver,
    ):
        session = Session(driver, screen, home)
        edges, size = session.find_picture(url)
        first = session.screenshot()
        time.sleep(SECONDS_APART)
        second = session.screenshot()
    for name, screenshot in ("first", first), ("second", second):
        pathlib.Path(folder, f"{screen}-{name}.png").write_bytes(screenshot)
        print(number_shown(screenshot, edges, size))


if __name__ == "__main__":
    main()
