# Some frames are cut short, some bear the driver's error flag: none of them may be passed on.
. /guest/lib.sh

# By itself the driver keeps frames back that it knows to be damaged.
usb nodrop=1
plug_in
broadcast --size 640x480
await 15 is_live
watch
sleep 1
keep_health before
camera trunc 3
sleep 1
keep_health truncated
camera err 4
sleep 1
keep_health damaged
stop_watching
