"""Looks at the page in headless Chromium, one scene at a time, as somebody would who watches.

usage: page.py SCENE URL [FOLDER]

Ends with 0 if everything was as it should be. What is on the screen is read off screenshots, and times
are taken by this program's clock, so that the page is not its own witness. Screenshots go to FOLDER.
"""

import base64
import contextlib
import importlib.util
import json
import pathlib
import re
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request

import cv2
import numpy

from chromium import Session, chromedriver, code_shown
from opencv import sequence_number

# Less than whoever runs this waits, so that the browser is tidied up.
DEADLINE_S = 35
CANVAS = "document.querySelector('main canvas')"
# Where the picture is, in pixels of the screen, without the bars beside it; and its own size.
PICTURE = """
    const canvas = document.querySelector("main canvas, main img");
    const {left, top, width, height} = canvas.getBoundingClientRect();
    const size = [canvas.naturalWidth ?? canvas.width, canvas.naturalHeight ?? canvas.height];
    const scale = Math.min(width / size[0], height / size[1]);
    const [w, h] = size.map(length => length * scale);
    const [x, y] = [left + (width - w) / 2, top + (height - h) / 2];
    const edges = [x, y, x + w, y + h].map(edge => Math.round(edge * devicePixelRatio));
    return [edges, size];
"""
SEQ = f"Number({CANVAS}?.dataset.seq)"
PAUSED = "document.querySelector('.pause').getAttribute('aria-pressed') === 'true'"


class Scene:
    """A browser and a folder for what it shows."""

    def __init__(self, session, url, folder):
        self.session, self.url, self.folder = session, url, folder

    def open(self, path="/"):
        self.session.open(self.url + path)
        self.session.wait_for(f"{SEQ} >= 0")

    def figure(self, name):
        return self.session.run(f"return document.querySelector('[data-figure={name}]').textContent")

    def seq(self):
        return self.session.run(f"return {SEQ}")

    def code(self, name):
        """The bar code on the screen, and the screenshot, which is kept under this name."""
        edges, size = self.session.run(PICTURE)
        screen = self.session.screenshot()
        self.keep(screen, name)
        return code_shown(screen, edges, size)

    def keep(self, screen, name):
        cv2.imwrite(str(pathlib.Path(self.folder, f"{name}.png")), screen)

    def press(self, selector):
        self.session.run(f"document.querySelector('{selector}').click()")


def shown(scene, screen):
    """The screen shows the frames that the page says it shows, and goes on."""
    scene.open()
    numbers = []
    for name in "first", "second":
        before = scene.seq()
        number, _ = scene.code(f"{screen}-{name}")
        assert before <= number <= scene.seq(), (before, number)
        numbers.append(number)
        scene.session.wait_for(f"{SEQ} > {number}")
    assert numbers[0] < numbers[1], numbers
    log = scene.session.ask("POST", "/se/log", {"type": "browser"})
    assert not log, log


def desktop(scene):
    shown(scene, "desktop")


def phone(scene):
    shown(scene, "phone")


def rate(scene):
    """The pixels change as often as the stream, which is said to have 10 frames a second."""
    scene.open()
    count = """
        const canvas = CANVAS;
        const context = canvas.getContext("2d");
        const [width, height] = [canvas.width, canvas.height];
        let [last, changes] = [null, 0];
        const begun = performance.now();
        return new Promise(done => {
            const look = () => {
                // Through the middle of each row of the bar code: looking must not slow down what is seen.
                const rows = [0, 1, 2, 3].map(row => context.getImageData(0, height - 20 * row - 10, width, 1));
                const pixels = rows.map(({data}) => data.join()).join();
                changes += last !== null && pixels !== last;
                last = pixels;
                const took = performance.now() - begun;
                took < 5000 ? requestAnimationFrame(look) : done(1000 * changes / took);
            };
            look();
        });
    """
    changes = scene.session.run(count.replace("CANVAS", CANVAS))
    assert 9.5 <= changes <= 10.5, changes
    figure = scene.figure("rate").removesuffix(" fps").split(" of ")
    assert all(9.7 <= float(number) <= 10.3 for number in figure), figure
    assert scene.figure("skipped") == "none", scene.figure("skipped")


def age(scene):
    """The age on the page is that of what is on the screen; the frames come some 400 ms late."""
    scene.open()
    scene.session.wait_for("document.querySelector('[data-figure=age]').textContent !== '–'")
    time.sleep(2)
    ages = []
    for _ in range(5):
        begun = time.time()
        _, captured_at = scene.code("age")
        ages.append(1000 * ((begun + time.time()) / 2 - captured_at))
    outside = statistics.median(ages)
    page = scene.figure("age")
    assert page.endswith(" ms"), page
    page = int(page.removesuffix(" ms"))
    # What is on the screen grows older until the next frame, and a screenshot takes a while.
    assert 400 <= page <= 700 and -30 <= outside - page <= 150, (page, outside)


def hold(scene):
    """A picture that is held stays, and is the one that the page names; then it goes on live."""
    scene.open()
    scene.press(".pause")
    scene.session.wait_for(PAUSED)
    # One may have been on its way to the screen.
    settled(scene.seq, 0.5)
    scene.session.wait_for(f"document.querySelector('[data-figure=frame]').textContent === String({SEQ})")
    number, captured_at = scene.code("held")
    assert str(number) == scene.figure("frame"), (number, scene.figure("frame"))
    time.sleep(1)
    assert scene.code("held")[0] == number
    scene.press(".pause")
    scene.session.wait_for(f"{SEQ} > {number + 25}")
    assert time.time() - scene.code("resumed")[1] < 1


def replay(scene):
    """The slider shows the past as it was, playing on or held, and leads back to now."""
    scene.open()
    time.sleep(4)
    slide = """
        const slider = document.querySelector("input[type=range]");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input"));
    """
    scene.session.run(slide, -3)
    numbers = []
    for _ in range(2):
        time.sleep(1)
        begun = time.time()
        number, captured_at = scene.code("replay")
        numbers.append(number)
        assert 2.9 <= begun - captured_at <= 3.5, begun - captured_at
    assert numbers[0] < numbers[1], numbers
    assert scene.session.run("return document.querySelector('output').textContent") == "−3.0 s"
    scene.press(".pause")
    scene.session.wait_for(PAUSED)
    settled(scene.seq, 0.5)
    held, held_at = scene.code("replay-held")
    time.sleep(0.5)
    assert scene.code("replay-held")[0] == held
    scene.session.run(slide, -2)
    scene.session.wait_for(f"{SEQ} > {held}")
    assert 0.8 <= scene.code("replay-held")[1] - held_at <= 1.2
    scene.press(".pause")
    scene.session.run(slide, 0)
    with urllib.request.urlopen(scene.url + "/live/main.jpg") as newest:
        scene.session.wait_for(f"{SEQ} >= {newest.headers['X-Sequence']}")
    assert time.time() - scene.code("replay-over")[1] < 1


def twelve(scene):
    """Twelve channels at 15 frames a second in one tab, over one connection."""
    proxy = Proxy(scene.url)
    scene.url = proxy.url
    scene.open()
    scene.session.wait_for("document.querySelectorAll('.tile canvas[data-seq]').length === 12")
    time.sleep(2)
    count = """
        const drawn = new Map();
        const watcher = new MutationObserver(changes => {
            for (const {target} of changes) drawn.set(target, (drawn.get(target) ?? 0) + 1);
        });
        for (const canvas of document.querySelectorAll("canvas"))
            watcher.observe(canvas, {attributeFilter: ["data-seq"]});
        const begun = performance.now();
        return new Promise(done => setTimeout(() => {
            const seconds = (performance.now() - begun) / 1000;
            done([...drawn.values()].map(count => count / seconds));
        }, 5000));
    """
    rates = scene.session.run(count)
    assert len(rates) == 12 and min(rates) >= 14 and max(rates) <= 16, rates
    briefs = scene.session.run("return [...document.querySelectorAll('.brief')].map(one => one.textContent)")
    assert all(re.fullmatch(r"1[456] fps · \d+ ms", brief) for brief in briefs), briefs
    # Only now: a screenshot holds the page up.
    scene.keep(scene.session.screenshot(), "twelve")
    sockets = [line for line in proxy.lines if line.is_socket]
    assert len(sockets) == 1, len(sockets)


def settled(count, seconds):
    """What it comes to, once it has been the same for so long."""
    last, since = count(), time.time()
    while time.time() - since < seconds:
        time.sleep(0.1)
        if count() != last:
            last, since = count(), time.time()
    return last


def hidden(scene):
    """A tab that nobody sees gets nothing, and goes on with the newest frame when it is seen."""
    proxy = Proxy(scene.url)
    scene.url = proxy.url
    scene.open()
    [line] = [line for line in proxy.lines if line.is_socket]
    session = scene.session
    tab = session.ask("GET", "/window")
    other = session.ask("POST", "/window/new", {"type": "tab"})["handle"]
    session.ask("POST", "/window", {"handle": other})
    before = settled(lambda: line.bytes, 1)
    time.sleep(5)
    assert line.bytes == before, f"{line.bytes - before} bytes"
    assert line.is_open
    session.ask("POST", "/window", {"handle": tab})
    begun = time.time()
    session.wait_for("!document.hidden")
    hidden_at = scene.seq()
    session.wait_for(f"{SEQ} > {hidden_at}")
    assert time.time() - begun < 2, time.time() - begun
    assert time.time() - scene.code("seen-again")[1] < 1


def restart(scene):
    """The server goes and comes back; so does the picture. Whoever runs this reads what is said."""
    scene.open()
    say("live")
    session = scene.session
    session.wait_for("document.getElementById('connection').dataset.state === 'lost'")
    text = session.run("return document.getElementById('connection').textContent")
    assert "Trying again in" in text, text
    scene.keep(session.screenshot(), "lost")
    say("lost")
    session.wait_for("document.getElementById('connection').dataset.state === 'live'")
    say("back")
    # The new server counts from 0 and is not there for long.
    session.wait_for(f"{SEQ} < 300")
    assert time.time() - scene.code("back")[1] < 1


def say(word):
    print(word, flush=True)


def lawful(scene):
    """axe-core (https://github.com/dequelabs/axe-core) finds nothing serious on any view."""
    session = scene.session
    for scheme in "light", "dark":
        emulate(session, scheme)
        for path, name in ("/", "all"), ("/watch/main", "one"):
            scene.open(path)
            time.sleep(1)
            check_with_axe(session, (scheme, path))
            scene.keep(session.screenshot(), f"{name}-{scheme}")


def blocked(scene):
    """Where a proxy lets no WebSocket through there is an ordinary picture, with a word about it."""
    proxy = Proxy(scene.url)
    proxy.refuses_sockets = True
    session = scene.session
    session.open(proxy.url + "/watch/lab")
    state = "document.getElementById('connection').dataset.state"
    session.wait_for(f"{state} === 'blocked'")
    session.wait_for("document.querySelector('main img').naturalWidth > 0")
    assert session.run("return document.querySelector('h1').textContent") == "lab"
    said = session.run("return document.body.innerText")
    assert "No WebSocket gets through to the server" in said, said
    number = first = scene.code("blocked")[0]
    while number == first:
        number, captured_at = scene.code("blocked")
    assert number > first and time.time() - captured_at < 1, (first, number, time.time() - captured_at)
    check_with_axe(session, ("light", "blocked"))
    # Seen by nobody it gets nothing but an answer now and then to whether it may have a WebSocket again.
    tab = session.ask("GET", "/window")
    other = session.ask("POST", "/window/new", {"type": "tab"})["handle"]
    session.ask("POST", "/window", {"handle": other})
    time.sleep(2)
    before = sum(line.bytes for line in proxy.lines)
    time.sleep(3)
    more = sum(line.bytes for line in proxy.lines) - before
    assert more < 3000, more
    session.ask("POST", "/window", {"handle": tab})
    session.wait_for("!document.hidden")
    time.sleep(1)
    assert time.time() - scene.code("blocked-again")[1] < 1
    # What is in the way goes.
    proxy.refuses_sockets = False
    session.wait_for(f"{SEQ} >= 0 && {state} === 'live'")
    assert session.run("return document.querySelectorAll('main img').length") == 0
    assert session.run("return location.pathname") == "/watch/lab"
    assert time.time() - scene.code("unblocked")[1] < 1


def emulate(session, scheme):
    """Light or dark, as if the system said so."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    session.cdp("Emulation.setEmulatedMedia", features=[feature])


def check_with_axe(session, what):
    folder = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    session.run(pathlib.Path(folder, "axe.min.js").read_text())
    violations, passes = session.run(
        "return axe.run().then(({violations, passes}) => [violations, passes.length])"
    )
    assert passes > 10, passes
    faults = [(one["id"], one["impact"], [node["html"] for node in one["nodes"]]) for one in violations]
    assert not faults, (*what, faults)


def keys(scene):
    """Everything can be reached and done with the keyboard."""
    scene.open()
    scene.session.wait_for("document.querySelectorAll('.badge:not([hidden])').length === 0")
    names = []
    for _ in range(4):
        press(scene.session, "\ue004")
        focused = "return document.activeElement.ariaLabel ?? document.activeElement.textContent"
        names.append(scene.session.run(focused))
    assert names == ["Framecast", "Status", "main", "lab"], names
    scene.session.run("document.querySelectorAll('.tile')[1].focus()")
    press(scene.session, "\ue007")
    scene.session.wait_for("location.pathname === '/watch/lab'")
    assert scene.session.run("return document.activeElement.textContent") == "lab"
    scene.session.wait_for(f"{SEQ} >= 0")
    press(scene.session, " ")
    scene.session.wait_for("document.querySelector('.pause').getAttribute('aria-pressed') === 'true'")
    press(scene.session, " ")
    scene.session.wait_for("document.querySelector('.pause').getAttribute('aria-pressed') === 'false'")
    scene.session.ask("POST", "/back", {})
    scene.session.wait_for("document.querySelectorAll('.tile').length === 2")


def refused(scene):
    """Who cannot watch here is told why, and what would be right."""
    scene.session.open(scene.url)
    scene.session.wait_for("document.querySelector('.badge')?.textContent.includes('only tcp:// can deliver')")
    scene.keep(scene.session.screenshot(), "refused")


ROWS = """
    [...document.querySelectorAll("#viewers tbody tr")].map(row =>
        Object.fromEntries([...row.children].map(cell => [cell.dataset.label, cell.textContent])))
""".strip()


# The worst first.
VERDICTS = [
    r"client does not read: it has taken nothing for \d s",
    r"link carries (1\.\d|0\.\d\d) Mbit/s, needs \d\.\d",
    "asks for 5 frames a second and gets them",
    "keeps up",
]


def status(scene, screen):
    """The page of figures says what the API says, fits on the screen, and axe finds nothing wrong."""
    session = scene.session
    # Over the line that everybody takes: the link on the page of pictures.
    scene.open()
    scene.press("a.place")
    session.wait_for("location.pathname === '/status'")
    session.wait_for("document.querySelectorAll('#viewers tbody tr').length === 4")
    session.wait_for("document.querySelector('.verdict').textContent.startsWith('client does not read')")
    # Whoever does not read is closed ten seconds after it stopped.
    time.sleep(2)
    rows = session.run(f"return {ROWS}")
    told = api(scene, "/api/v1/viewers?order=worst")["viewers"]
    for verdict, row, one in zip(VERDICTS, rows, told, strict=True):
        assert re.fullmatch(verdict, row["Verdict"]) and re.fullmatch(verdict, one["verdict"]["text"]), (row, one)
    for row, one in zip(rows, told):
        assert row["Viewer"] == f"{one['address']} {one['protocol']}", (row, one)
        assert row["Channel"] == one["channels"][0]["name"], (row, one)
        rate, bitrate = row["Rate"].split()[0], row["Bitrate"].split()
        assert abs(float(rate) - one["lately"]["rate"]) <= 3, (row, one)
        bps = float(bitrate[0]) * {"kbit/s": 1e3, "Mbit/s": 1e6}[bitrate[1]]
        assert abs(bps - one["lately"]["bitrate_bps"]) <= 0.2 * bps + 60e3, (row, one)
    facts = api(scene, "/api/v1/status")
    assert scene.figure("version") == facts["version"]
    assert scene.figure("viewers") == "4" == str(facts["viewers"])
    cards = session.run("return [...document.querySelectorAll('.source')].map(card => card.innerText)")
    assert len(cards) == 2, cards
    for card, channel in zip(cards, facts["channels"]):
        assert channel["name"] in card and "live" in card, card
        assert "{} × {} {}".format(*channel["size"], channel["format"]) in card, card
        assert channel["source"]["description"] in card and "30 of 30 fps" in card, card
    points = "[...document.querySelectorAll('polyline')].map(line => line.points.numberOfItems)"
    # A point a second, and for the CPU one fewer.
    session.wait_for(f"{points}.length === 2 && Math.min(...{points}) >= 3")
    assert max(session.run(f"return {points}")) <= 30, session.run(f"return {points}")
    memory = session.run("return document.querySelector('#memory-chart strong').textContent")
    assert abs(float(memory.split()[0]) * 1e6 - facts["memory"]["rss_bytes"]) < 20e6, (memory, facts)
    for scheme in "light", "dark":
        emulate(session, scheme)
        time.sleep(0.5)
        check_with_axe(session, (scheme, "/status"))
        assert session.run("return document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"
        scene.keep(session.screenshot(), f"status-{screen}-{scheme}")
        scene.keep(whole(session), f"status-{screen}-{scheme}-whole")
    # What programs ask is to be found from here.
    links = session.run("return [...document.querySelectorAll('.programs a')].map(link => link.pathname)")
    assert {"/metrics", "/api/openapi.json"} < set(links), links
    for link in links:
        urllib.request.urlopen(scene.url + link).close()
    log = session.ask("POST", "/se/log", {"type": "browser"})
    assert not log, log
    scene.press("a.brand")
    session.wait_for("location.pathname === '/'")


def status_desktop(scene):
    status(scene, "desktop")


def status_phone(scene):
    status(scene, "phone")


def status_crowd(scene):
    """Of many viewers those are shown that fare worst, and fewer of them where there is little room."""
    session = scene.session
    session.open(scene.url + "/status")
    rows = "document.querySelectorAll('#viewers tbody tr').length"
    session.wait_for(f"{rows} === 50 && document.querySelector('.verdict').dataset.level === 'bad'")
    said = "document.getElementById('viewers-note').textContent"
    assert session.run(f"return {said}").startswith("The 50 of 60 that fare worst"), session.run(f"return {said}")
    session.cdp("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    session.wait_for(f"{rows} === 12 && {said}.startsWith('The 12 of 60 that fare worst')")
    assert session.run("return document.querySelector('.verdict').dataset.level") == "bad"


def status_hidden(scene):
    """A page of figures that nobody sees asks for nothing, and goes on when it is seen."""
    proxy = Proxy(scene.url)
    session = scene.session
    session.open(proxy.url + "/status")
    session.wait_for("document.querySelectorAll('.source').length === 1")
    tab = session.ask("GET", "/window")
    other = session.ask("POST", "/window/new", {"type": "tab"})["handle"]
    session.ask("POST", "/window", {"handle": other})
    # Seen, it asks every second.
    before = settled(lambda: len(proxy.lines), 2)
    assert before > 4, before
    time.sleep(4)
    assert len(proxy.lines) == before, len(proxy.lines) - before
    session.ask("POST", "/window", {"handle": tab})
    session.wait_for("!document.hidden")
    while len(proxy.lines) < before + 4:
        time.sleep(0.1)


def api(scene, path):
    with urllib.request.urlopen(scene.url + path) as answer:
        return json.load(answer)


def whole(session):
    """All of the page, also what is below the screen."""
    png = session.cdp("Page.captureScreenshot", captureBeyondViewport=True)["data"]
    return cv2.imdecode(numpy.frombuffer(base64.b64decode(png), numpy.uint8), cv2.IMREAD_COLOR)


def press(session, key):
    actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
    session.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})


def plain(scene):
    """Without scripts there is still a live picture."""
    session = scene.session
    session.cdp("Emulation.setScriptExecutionDisabled", value=True)
    session.open(scene.url + "/")
    numbers = []
    begun = time.time()
    while len(numbers) < 2 and time.time() - begun < 20:
        time.sleep(1)
        screen = session.screenshot()
        scene.keep(screen, "plain")
        number = plain_number(screen)
        if number is not None and number not in numbers:
            numbers.append(number)
    assert len(numbers) == 2 and numbers[0] < numbers[1], numbers


def plain_number(screen):
    """The number of the picture, wherever on the screen it is."""
    height, width = screen.shape[:2]
    for top in range(0, height - 480 + 1):
        for left in (16, 24, 31, 32, 38, 38.4):
            try:
                return sequence_number(screen[top : top + 480, int(left) : int(left) + 640])
            except ValueError:
                pass
    return None


def memory(scene):
    """Three minutes of watching leave the tab's memory where it was. By hand: it takes that long."""
    memory_after(scene, [30] * 7)


def memory_soon(scene):
    """Nor do some hundred pictures stay in it."""
    memory_after(scene, [10, 8, 8])


def memory_after(scene, waits):
    scene.open()
    session = scene.session
    held = []
    numbers = []
    for seconds in waits:
        time.sleep(seconds)
        session.cdp("HeapProfiler.collectGarbage")
        usage = session.cdp("Runtime.getHeapUsage")
        numbers.append(scene.seq())
        held.append((usage["usedSize"], usage.get("backingStorageSize", 0), renderer_kib()))
        print("frame", numbers[-1], "heap, buffers:", *held[-1][:2], "renderers, KiB:", held[-1][2], flush=True)
    heap, buffers, kib = zip(*held)
    assert numbers[-1] - numbers[0] >= 20 * sum(waits[1:]), numbers
    assert heap[-1] <= 1.2 * heap[0] and buffers[-1] <= buffers[0] + 1_000_000, held
    # A picture is 1.2 MB when it is decoded: hundreds of them would show.
    assert kib[-1] <= 1.1 * kib[0], held


def renderer_kib():
    """What the pages' processes hold, their shares of shared memory included."""
    [driver] = pathlib.Path("/proc/self/task", str(threading.get_native_id()), "children").read_text().split()
    total = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            group = process.joinpath("stat").read_text().rpartition(")")[2].split()[2]
            if group == driver and b"--type=renderer" in process.joinpath("cmdline").read_bytes():
                rollup = process.joinpath("smaps_rollup").read_text()
                total += int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


class Line:
    """One connection through a proxy, and what the server has sent over it."""

    def __init__(self):
        self.bytes = 0
        self.is_socket = False
        self.is_open = True


class Proxy:
    """Between browser and server, to count what is sent."""

    def __init__(self, url):
        host, port = url.removeprefix("http://").split(":")
        self.server = host, int(port)
        self.lines = []
        self.refuses_sockets = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.server)
            line = Line()
            self.lines.append(line)
            for ends in (client, server, False), (server, client, True):
                threading.Thread(target=self.carry, args=(*ends, line), daemon=True).start()

    def carry(self, source, sink, is_from_server, line):
        try:
            self.pass_on(source, sink, is_from_server, line)
        except OSError:
            pass
        line.is_open = False
        for end in source, sink:
            # The other direction waits in it, and would go on to hold it open.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def pass_on(self, source, sink, is_from_server, line):
        while data := source.recv(65536):
            if is_from_server:
                line.bytes += len(data)
            elif b"\r\nUpgrade: websocket" in data:
                line.is_socket = True
                if self.refuses_sockets:
                    source.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    return
            sink.sendall(data)


SCENES = [desktop, phone, rate, age, hold, replay, twelve, hidden, restart, lawful, keys, plain, refused, memory]
SCENES += [memory_soon, blocked, status_desktop, status_phone, status_hidden, status_crowd]


def give_up(*_):
    sys.exit(f"not done within {DEADLINE_S} s")


def main():
    name, url, folder = sys.argv[1:]
    [scene] = [scene for scene in SCENES if scene.__name__ == name]
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(DEADLINE_S if scene is not memory else 300)
    screens = {phone: "phone", desktop: "desktop", status_phone: "phone", status_desktop: "desktop"}
    screen = screens.get(scene, "wide")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        chromedriver(home) as driver,
    ):
        scene(Scene(Session(driver, home, screen), url, folder))


if __name__ == "__main__":
    main()
