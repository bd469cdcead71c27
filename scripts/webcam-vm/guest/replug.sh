# The camera is unplugged and plugged in again while a viewer watches.
# Parameters: times, and other=yes for a second camera that is there all the time.
. /guest/lib.sh

usb
plug_in
if [ "$other" = yes ]; then
  modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0
  await 5 test -e /dev/video2
fi
broadcast --size 640x480
await 15 is_live
watch
while [ "$times" -gt 0 ]; do
  sleep 1
  camera unplug
  await 5 has_placeholder
  mark placeholder
  sleep 2
  is_live && mark "live without the camera"
  camera plug
  await 15 is_live
  mark live
  times=$((times - 1))
done
sleep 2
stop_watching
