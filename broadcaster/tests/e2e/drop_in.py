"""Reads the addresses of ustreamer and mjpg-streamer in the ways of clients that know only those.

usage: drop_in.py WAY URL COUNT

Prints the sequence number that each picture shows. The ways are what the clients' sources do, made
again in a few lines:

length    a page that fetches the stream (Mainsail): head lines up to SOI, then Content-Length
          bytes; a picture is shown when one more byte has come
between   a page that cuts the stream at its boundaries (Fluidd): a picture is what is between a head and
          the next boundary, and is shown when that has come
boundary  a multipart reader (aiohttp, as in kvmd): the announced boundary, head, Content-Length
markers   a still out of a stream (Home Assistant without a still URL): the first SOI and EOI
still     a still by GET (OctoPrint, Moonraker, Home Assistant): status 200, an image/* type
"""

import http.client
import re
import sys
import urllib.request

import cv2
import numpy

from opencv import sequence_number

TIMEOUT_S = 10
SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def length(response, count):
    head, received = b"", b""
    while count:
        more = response.read1(4096)
        assert more, f"ended before {count} more pictures"
        received += more
        start = received.find(SOI)
        if start < 0:
            continue
        head = received[:start].decode("latin-1")
        fields = dict(line.lower().split(":", 1) for line in head.split("\n") if ":" in line)
        size = int(fields["content-length"])
        if len(received) > start + size:
            yield received[start : start + size]
            received = received[start + size :]
            count -= 1


def between(response, count):
    assert "multipart" in response.headers["Content-Type"]
    line = b"--" + re.search("boundary=([^;]+)", response.headers["Content-Type"])[1].encode()
    received = b""
    while count:
        more = response.read1(4096)
        assert more, f"ended before {count} more pictures"
        received += more
        start = received.find(line)
        end = received.find(line, start + len(line))
        if start < 0 or end < 0:
            continue
        yield received[received.index(b"\r\n\r\n", start) + 4 : end]
        received = received[end:]
        count -= 1


def boundary(response, count):
    announced = response.headers.get_param("boundary")
    assert response.headers.get_content_type() == "multipart/x-mixed-replace"
    for _ in range(count):
        line = response.readline()
        assert line == f"--{announced}\r\n".encode(), line
        head = http.client.parse_headers(response)
        assert head.get_content_type() == "image/jpeg"
        float(head["X-Timestamp"])
        yield response.read(int(head["Content-Length"]))
        assert response.readline() == b"\r\n"


def markers(response, _count):
    received = b""
    while EOI not in received or SOI not in received:
        more = response.read1(100 << 10)
        assert more, "ended before a picture was whole"
        received += more
    yield received[received.find(SOI) : received.find(EOI) + 2]


def still(response, _count):
    assert response.status == 200 and response.headers.get_content_maintype() == "image"
    yield response.read()


def main():
    way, url, count = sys.argv[1:]
    ways = {way.__name__: way for way in (length, between, boundary, markers, still)}
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        for jpeg in ways[way](response, int(count)):
            picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
            print(sequence_number(picture))


if __name__ == "__main__":
    main()
