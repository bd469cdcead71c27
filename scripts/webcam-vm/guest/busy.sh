# Another program streams from the camera when the broadcaster starts, and lets go of it later.
. /guest/lib.sh

usb
plug_in
v4l2-ctl -d /dev/video0 -v width=640,height=480,pixelformat=MJPG --stream-mmap \
  --stream-count=0 --stream-to=/dev/null >/out/other.log 2>&1 &
other=$!
await 10 grep -q 'streams Mjpeg 640x480' /out/camera.log
broadcast --size 640x480
watch
await 5 has_placeholder
mark placeholder
sleep 2
is_live && mark "live without the camera"
mark "camera released"
kill "$other"
await 15 is_live
mark live
sleep 2
stop_watching
