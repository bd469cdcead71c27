"""Opens a page with a live picture in headless Chromium and prints the sequence number that the
picture shows, twice, read off screenshots a second apart.

usage: dashboard.py URL
"""

import base64
import signal
import sys
import tempfile
import time

import cv2
import numpy

from chromium import Session, chromedriver
from opencv import sequence_number

# All of it together; whoever runs this has to wait a little longer, or cannot be tidied up after.
DEADLINE_S = 30
SECONDS_APART = 1

# Waits for the first picture. Its edges on the screen, and its own size.
FIND_PICTURE = """
    const [image] = arguments;
    return new Promise(answer => {
        const look = () => {
            if (!image.naturalWidth) return setTimeout(look, 20);
            const {left, top, right, bottom} = image.getBoundingClientRect();
            const edges = [left, top, right, bottom].map(edge => Math.round(edge * devicePixelRatio));
            answer([edges, [image.naturalWidth, image.naturalHeight]]);
        };
        look();
    });
"""


def find_picture(session, url):
    session.ask("POST", "/url", {"url": url})
    image = session.ask("POST", "/element", {"using": "css selector", "value": "#live"})
    return session.ask("POST", "/execute/sync", {"script": FIND_PICTURE, "args": [image]})


def number_shown(session, edges, size):
    """The number of the picture between these edges, once it is scaled back to its size."""
    png = base64.b64decode(session.ask("GET", "/screenshot"))
    screen = cv2.imdecode(numpy.frombuffer(png, numpy.uint8), cv2.IMREAD_COLOR)
    left, top, right, bottom = edges
    picture = cv2.resize(screen[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    return sequence_number(picture)


def give_up(*_):
    sys.exit(f"not done within {DEADLINE_S} s")


def main():
    (url,) = sys.argv[1:]
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(DEADLINE_S)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        chromedriver(folder) as driver,
    ):
        session = Session(driver=driver, folder=folder, screen="desktop")
        picture = find_picture(session, url)
        print(number_shown(session, *picture))
        time.sleep(SECONDS_APART)
        print(number_shown(session, *picture))


if __name__ == "__main__":
    main()
