"""Has Moonraker try the addresses of cameras and prints the number that each picture from there shows.

usage: moonraker.py ADDRESS STREAM SNAPSHOT

There is a camera in its configuration; the two addresses are those of a second one, which is added as the
settings of Mainsail and Fluidd do. Of each come a still and some of the stream, from where Moonraker says
that they are, read as Mainsail does. Moonraker itself fetches the still only, whatever its type.
"""

import json
import sys
import urllib.request

import cv2
import numpy

from drop_in import length, still
from opencv import sequence_number

PATIENCE_S = 30
FRAMES = 20
CONFIGURED, ADDED = "NAME", "added"


class Moonraker:
    """Its API. https://moonraker.readthedocs.io/en/latest/external_api/webcams/"""

    def __init__(self, address):
        self.address = f"{address}/server/webcams"

    def ask(self, path, body=None):
        fields = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/{path}", body, fields)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["result"]

    def tell(self, path, **said):
        return self.ask(path, json.dumps(said).encode())

    def cameras(self):
        """The addresses of the stream and of stills, by the cameras' names."""
        cameras = self.ask("list")["webcams"]
        return {camera["name"]: (camera["stream_url"], camera["snapshot_url"]) for camera in cameras}


def pictures(moonraker, name):
    """A still, and some of the stream."""
    result = moonraker.tell("test", name=name)
    assert result["snapshot_reachable"], result
    stream, snapshot = moonraker.cameras()[name]
    assert (result["stream_url"], result["snapshot_url"]) == (stream, snapshot), result
    for address, way, count in (snapshot, still, 1), (stream, length, FRAMES):
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as response:
            yield from way(response, count)


def main():
    address, stream, snapshot = sys.argv[1:]
    moonraker = Moonraker(address)
    moonraker.tell("item", name=ADDED, stream_url=stream, snapshot_url=snapshot)
    assert moonraker.cameras()[ADDED] == (stream, snapshot)
    for name in CONFIGURED, ADDED:
        for jpeg in pictures(moonraker, name):
            picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
            assert picture is not None, jpeg[:100]
            print(sequence_number(picture))


if __name__ == "__main__":
    main()
