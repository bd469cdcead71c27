"""Sets up cameras in Home Assistant and prints the number that each of their pictures shows.

usage: home_assistant.py ADDRESS CAMERA...

A CAMERA is the address of a stream and, behind a space, of stills if it has one. Does what the forms do:
the first user, then for each camera the flow that adds the integration MJPEG IP Camera. Of each come the
picture and some of the stream, as dashboards get them.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import cv2
import numpy

from drop_in import boundary, still
from opencv import sequence_number

PATIENCE_S = 30
FRAMES = 20


class HomeAssistant:
    """Its API. https://developers.home-assistant.io/docs/api/rest"""

    def __init__(self, address):
        self.address, self.fields = address, {}

    def open(self, path, body=None, kind="application/json"):
        fields = self.fields | {"Content-Type": kind}
        request = urllib.request.Request(self.address + path, body, fields)
        return urllib.request.urlopen(request, timeout=PATIENCE_S)

    def ask(self, path, body=None, kind="application/json"):
        with self.open(path, body, kind) as answer:
            return json.load(answer)

    def tell(self, path, **said):
        return self.ask(path, json.dumps(said).encode())

    def log_in(self):
        """Makes the first user and is that user from now on."""
        name = {"name": "Test", "username": "test", "password": "none at all", "language": "en"}
        client = {"client_id": f"{self.address}/"}
        code = self.tell("/api/onboarding/users", **client, **name)["auth_code"]
        wanted = client | {"grant_type": "authorization_code", "code": code}
        form = urllib.parse.urlencode(wanted).encode()
        token = self.ask("/auth/token", form, "application/x-www-form-urlencoded")["access_token"]
        self.fields = {"Authorization": f"Bearer {token}"}

    def add_camera(self, name, addresses):
        """Goes through the form of the integration."""
        flows = "/api/config/config_entries/flow"
        form = self.tell(flows, handler="mjpeg", show_advanced_options=False)
        assert form["type"] == "form", form
        flow = f"{flows}/{form['flow_id']}"
        result = self.tell(flow, name=name, password="", verify_ssl=True, **addresses)
        assert result["type"] == "create_entry", result

    def is_there(self, entity):
        try:
            return self.ask(f"/api/states/{entity}")
        except urllib.error.HTTPError as error:
            assert error.code == 404, error


def until(what, is_so):
    """Waits until it is so."""
    late = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > late:
            sys.exit(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.1)


def pictures(house, name, addresses):
    """The picture of a new camera, and some of its stream."""
    house.add_camera(name, dict(zip(("mjpeg_url", "still_image_url"), addresses)))
    until("the camera is there", lambda: house.is_there(f"camera.{name}"))
    with house.open(f"/api/camera_proxy/camera.{name}") as response:
        yield from still(response, 1)
    with house.open(f"/api/camera_proxy_stream/camera.{name}") as response:
        yield from boundary(response, FRAMES)


def main():
    address, *cameras = sys.argv[1:]
    house = HomeAssistant(address)
    house.log_in()
    until("it has started", lambda: house.ask("/api/config")["state"] == "RUNNING")
    for number, addresses in enumerate(cameras):
        for jpeg in pictures(house, f"camera{number}", addresses.split()):
            picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
            assert picture is not None, jpeg[:100]
            print(sequence_number(picture))


if __name__ == "__main__":
    main()
