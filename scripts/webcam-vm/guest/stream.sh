# A camera streams, and all that it sends arrives. Parameters: encoding, size.
. /guest/lib.sh

usb
plug_in "$encoding"
broadcast --size "$size"
await 15 is_live
mark live
watch
sleep 6
stop_watching
