//! The kernel's virtual host controller, `vhci-hcd`: where a simulated device is plugged in.
//!
//! A line written to `attach` gives the kernel one end of a socket pair; from then on it speaks
//! USB/IP there. Described in the kernel's Documentation/ABI/testing/sysfs-platform-vhci_hcd; the
//! table `status` is read as `tools/usb/usbip/libsrc/vhci_driver.c` reads it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
/// In the column `sta`: nothing is plugged in there.
const FREE: &str = "004";
/// USB 2.0's 480 Mbit/s, as `enum usb_device_speed` numbers it.
const HIGH_SPEED: u32 = 3;
/// Bus 1, device 2: any number does, if it is not in use.
const DEVICE_ID: u32 = 1 << 16 | 2;

/// Why the camera could not be plugged in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The controller is not there, or does not take the device.
    #[error("{path}: {source}")]
    Controller {
        /// The file that was read or written.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// No port for devices of this speed is free.
    #[error("{CONTROLLER}/status: no free port for a high-speed device")]
    NoFreePort,
    /// The system gives no sockets.
    #[error("socket pair: {0}")]
    Socket(#[from] io::Error),
}

/// Plugs a device into a free port; returns the device's end of the connection.
pub(crate) fn plug() -> Result<UnixStream, Error> {
    let path = format!("{CONTROLLER}/status");
    let status = match fs::read_to_string(&path) {
        Ok(status) => status,
        Err(source) => return Err(Error::Controller { path, source }),
    };
    let port = free_port(&status).ok_or(Error::NoFreePort)?;
    let (device, kernel) = UnixStream::pair()?;
    let path = format!("{CONTROLLER}/attach");
    let line = format!("{port} {} {DEVICE_ID} {HIGH_SPEED}", kernel.as_raw_fd());
    match fs::write(&path, line) {
        // The kernel holds its end itself from here on.
        Ok(()) => Ok(device),
        Err(source) => Err(Error::Controller { path, source }),
    }
}

/// Columns: hub, port, status, speed, device, socket, bus ID.
fn free_port(status: &str) -> Option<u32> {
    status.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        match (columns.next()?, columns.next()?, columns.next()?) {
            ("hs", port, FREE) => port.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
hub port sta spd dev      sockfd local_busid
hs  0000 006 003 00010002 000003 1-2
hs  0001 004 000 00000000 000000 0-0
ss  0008 004 000 00000000 000000 0-0
";

    #[test]
    fn the_first_free_port_of_the_right_speed_is_taken() {
        assert_eq!(free_port(STATUS), Some(1));
        assert_eq!(
            free_port(&STATUS.replace("hs  0001 004", "hs  0001 006")),
            None
        );
        assert_eq!(free_port(""), None);
    }
}
