"""Has OctoPrint take pictures, over its API as its own pages do, and prints the number each one shows.

usage: octoprint.py ADDRESS KEY FOLDER STREAM SNAPSHOT

Saves the two addresses as the settings of Classic Webcam, presses the button beside the second that
tests it, and has the simulated printer print while a timelapse is taken. FOLDER is OctoPrint's own.
"""

import base64
import glob
import json
import os
import sys
import time
import urllib.request

import cv2
import numpy

from opencv import sequence_number

PATIENCE_S = 30
# Pictures of the timelapse, one a second.
PICTURES = 3
# For one more, which may still be written to while the others are read.
PRINT = "G4 P1000\n" * (PICTURES + 1)
# It needs one, and is told never to use it.
FFMPEG = "/usr/bin/ffmpeg"


class OctoPrint:
    """Its API. https://docs.octoprint.org/en/1.11.0/api/"""

    def __init__(self, address, key):
        self.address, self.key = address, key

    def ask(self, path, body=None, kind="application/json"):
        fields = {"X-Api-Key": self.key, "Content-Type": kind}
        request = urllib.request.Request(f"{self.address}/api/{path}", body, fields)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.loads(answer.read() or "null")

    def tell(self, path, **said):
        return self.ask(path, json.dumps(said).encode())

    def print_file(self, name, text):
        """Uploads a file and prints it."""
        line = "a-line-of-no-file"
        parts = f'name="file"; filename="{name}"\r\n\r\n{text}', 'name="print"\r\n\r\ntrue'
        form = "".join(f"--{line}\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
        self.ask("files/local", f"{form}--{line}--\r\n".encode(), f"multipart/form-data; boundary={line}")


def until(what, is_so):
    """Waits until it is so; what came of asking."""
    late = time.monotonic() + PATIENCE_S
    while not (value := is_so()):
        if time.monotonic() > late:
            sys.exit(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.1)
    return value


def set_up(octoprint, stream, snapshot):
    """Saves what somebody has typed into the settings dialog."""
    typed = {"stream": stream, "snapshot": snapshot}
    octoprint.tell("settings", plugins={"classicwebcam": typed}, webcam={"ffmpegPath": FFMPEG})
    webcam = octoprint.ask("settings")["webcam"]
    assert (webcam["streamUrl"], webcam["snapshotUrl"]) == (stream, snapshot), webcam


def tested(octoprint, snapshot):
    """The picture that the dialog shows when the button is pressed."""
    result = octoprint.tell(
        "util/test",
        command="url",
        url=snapshot,
        method="GET",
        response="bytes",
        timeout=5,
        validSsl=True,
        content_type_whitelist=["image/*"],
        content_type_guess=True,
    )
    assert result["result"] and result["status"] == 200, result
    assert result["response"]["assumed_content_type"] == "image/jpeg", result
    return base64.b64decode(result["response"]["content"])


def timelapse(octoprint, folder):
    """The pictures of one, in their order."""
    octoprint.tell("timelapse", type="timed", interval=1, renderAfterPrint="never")
    octoprint.tell("connection", command="connect", port="VIRTUAL", baudrate=115200)
    state = lambda: octoprint.ask("connection")["current"]["state"]
    until("the printer is there", lambda: state() == "Operational")
    octoprint.print_file("slow.gcode", PRINT)
    pictures = os.path.join(folder, "timelapse", "tmp", "*.jpg")
    until("the timelapse is taken", lambda: len(glob.glob(pictures)) > PICTURES)
    names = sorted(glob.glob(pictures), key=lambda name: int(name[:-4].rsplit("-", 1)[1]))
    for name in names[:PICTURES]:
        with open(name, "rb") as file:
            yield file.read()


def main():
    address, key, folder, stream, snapshot = sys.argv[1:]
    octoprint = OctoPrint(address, key)
    set_up(octoprint, stream, snapshot)
    for jpeg in [tested(octoprint, snapshot), *timelapse(octoprint, folder)]:
        picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
        assert picture is not None, jpeg[:100]
        print(sequence_number(picture))


if __name__ == "__main__":
    main()
