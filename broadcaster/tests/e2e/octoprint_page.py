"""Opens OctoPrint in headless Chromium, has it test the address of the stream as the button in its
settings does, and prints the number that the picture in the dialog shows, twice, a second apart.

usage: octoprint_page.py ADDRESS
"""

import signal
import sys
import tempfile
import time
import urllib.error

import cv2

from chromium import Session, chromedriver
from dashboard import FIND_PICTURE, number_shown

# All of it together; whoever runs this has to wait a little longer, or cannot be tidied up after.
DEADLINE_S = 35
SECONDS_APART = 1
STARTED = "return window.OctoPrint?.coreui?.startedUp"
# At once in its place: no dialog that slides in.
PRESS = """
    $.support.transition = false;
    OctoPrint.coreui.viewmodels.classicWebcamSettingsViewModel.testWebcamStreamUrl();
"""


def has_started(session):
    try:
        return session.run(STARTED)
    except urllib.error.HTTPError:
        # On its way from the page that logs in to the next.
        return False


def number_in(session, image):
    """The number that this picture shows, once it is on the screen and in its place."""
    while True:
        try:
            return number_shown(session, *session.run(FIND_PICTURE, image))
        except (ValueError, cv2.error):
            time.sleep(0.1)


def give_up(*_):
    sys.exit(f"not done within {DEADLINE_S} s")


def main():
    (address,) = sys.argv[1:]
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(DEADLINE_S)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        chromedriver(folder) as driver,
    ):
        session = Session(driver, folder)
        session.open(address)
        while not has_started(session):
            time.sleep(0.1)
        session.run(PRESS)
        image = session.wait_for("document.querySelector('#webcamTestContainer img')")
        print(number_in(session, image))
        time.sleep(SECONDS_APART)
        print(number_in(session, image))


if __name__ == "__main__":
    main()
