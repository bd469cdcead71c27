# The camera sends nothing for three seconds, then goes on. Parameter: how (stall, nak).
. /guest/lib.sh

usb
plug_in
broadcast --size 640x480
await 15 is_live
watch
sleep 2
camera "$how"
await 5 has_placeholder
mark placeholder
usleep 2300000
camera resume
await 15 is_live
mark live
sleep 2
stop_watching
