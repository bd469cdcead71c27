# Lists a USB webcam, captures from it, and unplugs it.
. /guest/lib.sh

usb
plug_in
v4l2-ctl -d /dev/video0 --list-formats-ext
v4l2-ctl -d /dev/video0 -v width=640,height=480,pixelformat=MJPG --stream-mmap --stream-count=60 \
  --stream-to=/out/frames.mjpeg 2>&1 | tail -n 1
camera unplug
usleep 300000
ls /dev/video*
cat /out/camera.log
