# The camera is plugged in only after the broadcaster has started.
. /guest/lib.sh

usb
broadcast --size 640x480
watch
await 5 has_placeholder
mark placeholder
sleep 2
is_live && mark "live without the camera"
mark "camera plug"
plug_in
await 15 is_live
mark live
sleep 2
stop_watching
