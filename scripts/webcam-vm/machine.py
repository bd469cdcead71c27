"""A virtual machine that boots Debian's kernel, runs one script of the guest, and ends.

It needs neither privileges nor hardware support: qemu emulates the processor. What the script left
in the guest's /out is brought out through a disk whose only content is a tar archive.

The guest's clock counts instructions, a nanosecond each, and leaps over the time in which nothing is
to be done. So the guest has the same processor with 1000 MIPS on every machine, however slow or busy
that is, and rates and delays measured in the guest can be judged. Only where a port leads into the
guest the clock is that of the world outside, and the guest is as slow as the emulation.
"""
import dataclasses
import os
import pathlib
import subprocess
import sys
import tarfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
KERNEL = TARGET / "test-tools/webcam-vm/kernel"
DISK_BYTES = 512 << 20
# A machine ends by itself. This is for one that hangs, in seconds of the world outside.
PATIENCE_S = 300


@dataclasses.dataclass
class Ending:
    """How a machine ended."""

    console: list
    took_s: float
    # Why what it left cannot be trusted; none if it ended by itself.
    trouble: str | None


def setup():
    """Makes sure that everything a machine needs is there."""
    subprocess.run([HERE / "setup"], check=True)


def run(script, files, folder, limit_s, parameters=None, forward=None, say=None):
    """Boots a machine with `files` and runs `script` in it, for at most `limit_s` seconds of its own.

    The script finds `parameters` in its environment. Everything the machine makes is put into
    `folder`; what the guest left is in `folder/out`. `forward` is HOST:GUEST, a port of this machine
    and the guest's port it leads to. `say` is given each line of the console as it comes.
    """
    initrd, disk = folder / "initrd", folder / "disk"
    subprocess.run([HERE / "pack", initrd, *files], check=True)
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    environment = {"script": script, "limit": limit_s, **(parameters or {})}
    command = _command(initrd, disk, environment, forward)
    begun = time.monotonic()
    console, is_late = _run_qemu(command, say)
    if is_late:
        trouble = f"did not end within {PATIENCE_S} s and was killed"
    else:
        trouble = _unpack(disk, folder / "out")
    (folder / "console").write_text("\n".join(console) + "\n")
    initrd.unlink()
    disk.unlink()
    return Ending(console, time.monotonic() - begun, trouble)


def _command(initrd, disk, environment, forward):
    # What the kernel does not know it puts into the environment of the first process.
    parameters = "console=ttyS0 panic=-1 reboot=t mitigations=off quiet " + " ".join(
        f"{name}={value}" for name, value in environment.items())
    command = [
        # Whatever becomes of this program, qemu ends with it.
        "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1G",
        "-kernel", KERNEL / "vmlinux", "-initrd", initrd, "-append", parameters, "-serial", "stdio",
        "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe",
    ]
    if not forward:
        command += ["-icount", "shift=0,sleep=off"]
    else:
        host, guest = forward.split(":")
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{host}-:{guest}",
                    "-device", "virtio-net-pci,netdev=net,romfile="]
    return command


def _run_qemu(command, say):
    """The console's lines, and whether the machine had to be killed."""
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    alarm = threading.Timer(PATIENCE_S, qemu.kill)
    alarm.start()
    console = []
    try:
        for line in qemu.stdout:
            console.append(line.decode(errors="replace").rstrip())
            if say:
                say(console[-1])
        code = qemu.wait()
    finally:
        alarm.cancel()
        qemu.kill()
        qemu.wait()
    if code > 0:
        sys.exit(f"webcam-vm: qemu failed: {console[-1] if console else 'without a word'}")
    return console, code < 0


def _unpack(disk, out):
    """Takes out what the guest left; returns why that is not possible."""
    out.mkdir()
    try:
        with tarfile.open(disk, "r:") as archive:
            archive.extractall(out, filter="data")
    except tarfile.TarError as error:
        return f"left nothing that can be read: {error}"
    return None
