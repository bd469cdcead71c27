//! Filling the screen, which minifb cannot.
//!
//! On X11 any client may ask for it, so a connection of ours does: the window manager is asked as
//! EWMH says (`_NET_WM_STATE`, <https://specifications.freedesktop.org/wm-spec/>), and without a
//! window manager the window is made as large as the screen. On Wayland only the connection that
//! owns the window may ask, which minifb keeps to itself: there it is left to the desktop's own key.

use raw_window_handle::{HasWindowHandle, RawWindowHandle};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConfigureWindowAux, ConnectionExt, EventMask,
};
use x11rb::rust_connection::RustConnection;

/// `_NET_WM_STATE_TOGGLE` of EWMH.
const TOGGLE: u32 = 2;
/// The request comes from a program, not from a pager.
const FROM_APPLICATION: u32 = 1;

/// Why the window does not fill the screen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("full screen: use your desktop's own key, this window cannot ask for it")]
    NotX11,
    #[error("full screen: {0}")]
    X11(String),
}

impl Error {
    fn new(error: impl std::fmt::Display) -> Self {
        Self::X11(error.to_string())
    }
}

/// What is needed to fill the screen with a window.
#[derive(Debug)]
pub(super) struct FullScreen {
    /// X11's number of the window; `None` elsewhere.
    window: Option<u32>,
    /// Where and how large the window was, while it fills a screen without a window manager.
    before: Option<(i32, i32, u32, u32)>,
}

impl FullScreen {
    pub(super) fn of(window: &impl HasWindowHandle) -> Self {
        let handle = window.window_handle().map(|handle| handle.as_raw());
        let window = match handle {
            Ok(RawWindowHandle::Xlib(handle)) => u32::try_from(handle.window).ok(),
            _ => None,
        };
        let before = None;
        Self { window, before }
    }

    /// Fills the screen, or no longer.
    pub(super) fn toggle(&mut self) -> Result<(), Error> {
        let window = self.window.ok_or(Error::NotX11)?;
        let (connection, screen) = x11rb::connect(None).map_err(Error::new)?;
        let root = connection.setup().roots[screen].root;
        if has_manager(&connection, root)? {
            ask_manager(&connection, root, window)
        } else {
            self.resize(&connection, root, window)
        }
    }

    fn resize(&mut self, connection: &RustConnection, root: u32, window: u32) -> Result<(), Error> {
        let geometry = |of: u32| {
            let asked = connection.get_geometry(of).map_err(Error::new)?;
            let it = asked.reply().map_err(Error::new)?;
            Ok((it.x.into(), it.y.into(), it.width.into(), it.height.into()))
        };
        let (x, y, width, height) = match self.before.take() {
            Some(before) => before,
            None => {
                self.before = Some(geometry(window)?);
                geometry(root)?
            }
        };
        let change = ConfigureWindowAux::new()
            .x(x)
            .y(y)
            .width(width)
            .height(height);
        let asked = connection.configure_window(window, &change);
        // A connection that is closed too early takes with it what was not yet read.
        asked.map_err(Error::new)?.check().map_err(Error::new)
    }
}

fn atom(connection: &RustConnection, name: &str) -> Result<u32, Error> {
    let asked = connection
        .intern_atom(false, name.as_bytes())
        .map_err(Error::new)?;
    Ok(asked.reply().map_err(Error::new)?.atom)
}

/// Whether a window manager says that it follows EWMH.
fn has_manager(connection: &RustConnection, root: u32) -> Result<bool, Error> {
    let check = atom(connection, "_NET_SUPPORTING_WM_CHECK")?;
    let asked = connection.get_property(false, root, check, AtomEnum::WINDOW, 0, 1);
    let answer = asked.map_err(Error::new)?.reply().map_err(Error::new)?;
    Ok(answer.value_len > 0)
}

fn ask_manager(connection: &RustConnection, root: u32, window: u32) -> Result<(), Error> {
    let state = atom(connection, "_NET_WM_STATE")?;
    let full = atom(connection, "_NET_WM_STATE_FULLSCREEN")?;
    let data = [TOGGLE, full, 0, FROM_APPLICATION, 0];
    let message = ClientMessageEvent::new(32, window, state, data);
    let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
    let sent = connection.send_event(false, root, mask, message);
    sent.map_err(Error::new)?.check().map_err(Error::new)
}
