# What the guest's scripts have in common. Each begins with `. /guest/lib.sh`, says with `mark` what
# it does, and leaves everything in /out; whether it is as it should be is judged outside.
#
# Times are seconds since boot, as in uvcsim's own lines.

# Seconds since boot.
uptime_s() {
  read -r up _ </proc/uptime
  echo "$up"
}

# Notes what happens, and when.
mark() {
  echo "$(uptime_s) $*" | tee -a /out/marks
}

# await SECONDS COMMAND...: tries until it succeeds; ends the script if it does not in time.
await() {
  end=$(($(cut -d . -f 1 /proc/uptime) + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$(cut -d . -f 1 /proc/uptime)" -gt "$end" ]; then
      mark "gave up waiting for: $*"
      exit 1
    fi
    usleep 30000
  done
}

# usb MODULE-PARAMETER...: the drivers of a USB camera, before there is one.
usb() {
  modprobe vhci-hcd
  modprobe uvcvideo "$@"
}

# plug_in [both|mjpeg|yuyv]: the simulated camera.
plug_in() {
  mkfifo /tmp/camera
  uvcsim /tmp/camera "${1:-both}" >/out/camera.log 2>&1 &
  # Open for reading too, so that it opens whether or not uvcsim has.
  exec 9<>/tmp/camera
  await 10 is_there
}

# A character device comes before its driver lets it be opened.
is_there() {
  v4l2-ctl -d /dev/video0 --get-fmt-video
}

# Tells the camera what happens to it: camera stall.
camera() {
  mark "camera $*"
  echo "$*" >&9
}

# broadcast ARGUMENT...: the program under test; returns when its addresses are bound.
broadcast() {
  broadcaster --source webcam --fps 30 --http 127.0.0.1:8080 --tcp 127.0.0.1:7400 "$@" \
    >/out/addresses 2>/out/broadcaster.log &
  await 10 grep -q '^native' /out/addresses
  mark "broadcaster is up"
}

# watch: a viewer in the background that keeps every frame, until stop_watching.
watch() {
  receiver tcp://127.0.0.1:7400 --json --duration 60s --save /out/frames \
    >/out/receiver.json 2>/out/receiver.log &
  viewer=$!
  await 5 is_watched
  mark "viewer on port $(viewer_port)"
}

# The viewer ends as after its duration, with a summary.
stop_watching() {
  mark "viewer on port $(viewer_port)"
  kill -TERM "$viewer"
  wait "$viewer"
  mark "viewer ended with $?"
  ls /dev/video* >/out/devices
}

# The viewer's own port, as a hexadecimal number: another one is another connection.
viewer_port() {
  awk '$3 ~ /:1CE8$/ && $4 == "01" { split($2, address, ":"); print address[2] }' /proc/net/tcp
}

is_watched() {
  [ -n "$(viewer_port)" ]
}

# Whether pictures come from the camera, by what the broadcaster says of itself.
is_live() {
  wget -q -O /dev/null 2>/dev/null http://127.0.0.1:8080/readyz
}

# Whether the newest picture stands in for one that is missing.
has_placeholder() {
  wget -S -O /dev/null http://127.0.0.1:8080/live/main.jpg 2>&1 | grep -qi 'x-placeholder: 1'
}

# What the broadcaster counts, kept as NAME.
keep_health() {
  wget -q -O "/out/$1" http://127.0.0.1:8080/healthz
}

# A network card, for ports that lead into the guest.
network() {
  modprobe virtio_pci
  modprobe virtio_net
  ip addr add 10.0.2.15/24 dev eth0
  ip link set eth0 up
}
