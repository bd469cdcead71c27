"""What the guest left of a scenario, ready to be judged."""
import functools
import json
import re
import subprocess

COMMENT, START_OF_SCAN = 0xFE, 0xDA
# Where the bar code of a YUYV frame is: see uvcsim/src/frames.rs.
BARS, BAR_ROW = 32, 24


class Evidence:
    """What the guest left in a folder."""

    def __init__(self, folder):
        self.folder = folder
        # Seconds since boot and what happened then.
        self.marks = [(float(at), what) for at, what in (line.split(" ", 1) for line in self._lines("marks"))]
        figures = [json.loads(line) for line in self._lines("receiver.json")]
        self.seconds = [line for line in figures if line["kind"] == "second"]
        self.summary = next((line for line in figures if line["kind"] == "summary"), None)
        self.warnings = [line for line in self._lines("broadcaster.log") if " WARN " in line]
        self.frames = sorted((folder / "frames").rglob("*.jpg"))

    def _lines(self, name):
        path = self.folder / name
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def between(self, first, then):
        """How long it took from each mark to the next one of the other kind."""
        starts = [at for at, what in self.marks if what == first]
        ends = [at for at, what in self.marks if what == then]
        return [min((end - start for end in ends if end >= start), default=float("inf")) for start in starts]

    def marked(self, pattern):
        """What marks say, where the pattern has its group."""
        found = (re.fullmatch(pattern, what) for _, what in self.marks)
        return [match[1] for match in found if match]

    def damaged(self, name):
        """Pictures that the broadcaster had counted as damaged by then; none if it did not say."""
        return next((int(line.split()[1]) for line in self._lines(name) if line.startswith("damaged ")), None)

    @functools.cached_property
    def stamps(self):
        """The camera's own numbers of the frames that arrived, in the order of ours."""
        numbers = [_stamp(path.read_bytes()) for path in self.frames]
        return self.bars if None in numbers else numbers

    @functools.cached_property
    def sizes(self):
        """Width and height of the frames, each that occurs."""
        return {_size(path.read_bytes()) for path in self.frames}

    @functools.cached_property
    def bars(self):
        """The numbers that the pictures show as bar codes."""
        (width, height), = self.sizes
        picture = width * height
        columns = [BAR_ROW * width + (2 * bar + 1) * width // (2 * BARS) for bar in range(BARS)]
        luma, _ = self._decoded
        starts = range(0, len(luma), picture)
        return [int("".join("01"[luma[start + at] > 127] for at in columns), 2) for start in starts]

    def decoding_trouble(self):
        """What a decoder that forgives nothing complains of; none if it has all pictures whole."""
        luma, complaints = self._decoded
        (width, height), = self.sizes
        if len(luma) != width * height * len(self.frames):
            return f"{len(luma) / (width * height):.1f} of {len(self.frames)} pictures decoded. {complaints}"
        return complaints or None

    @functools.cached_property
    def _decoded(self):
        """All pictures' brightness, one after the other, and complaints."""
        command = ["ffmpeg", "-v", "error", "-err_detect", "explode", "-f", "mjpeg", "-i", "-",
                   "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
        pictures = b"".join(path.read_bytes() for path in self.frames)
        done = subprocess.run(command, input=pictures, capture_output=True)
        return done.stdout, done.stderr.decode(errors="replace").strip()


def _segments(jpeg):
    """The marker and the content of each segment before the picture's data, ITU-T T.81 B.1.1."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != START_OF_SCAN:
        length = int.from_bytes(jpeg[at + 2:at + 4], "big")
        yield jpeg[at + 1], jpeg[at + 4:at + 2 + length]
        at += 2 + length


def _stamp(jpeg):
    """The camera's number of a frame; none if it has been encoded anew."""
    for marker, content in _segments(jpeg):
        if marker == COMMENT and content.startswith(b"SEQ:"):
            return int.from_bytes(content[4:12], "big")
    return None


def _size(jpeg):
    for marker, content in _segments(jpeg):
        # Baseline, extended and progressive frames.
        if marker in (0xC0, 0xC1, 0xC2):
            return int.from_bytes(content[3:5], "big"), int.from_bytes(content[1:3], "big")
    return None
