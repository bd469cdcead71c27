//! The page as it is served: its files, which are part of the program, and what a browser may do with
//! them. Nothing is built and nothing comes from elsewhere.

use crate::channel::Channels;

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The last part of its address.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What is in it.
    pub text: &'static str,
}

const PAGE: &str = include_str!("../../assets/index.html");
/// The page of figures.
pub const STATUS: &str = include_str!("../../assets/status.html");

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("../../assets/", $name)),
        }
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const STYLE: &str = "text/css; charset=utf-8";

const ASSETS: [Asset; 12] = [
    asset!("app.js", SCRIPT),
    asset!("chart.js", SCRIPT),
    asset!("connection.js", SCRIPT),
    asset!("icon.svg", "image/svg+xml"),
    asset!("overview.js", SCRIPT),
    asset!("plain.js", SCRIPT),
    asset!("status.css", STYLE),
    asset!("status.js", SCRIPT),
    asset!("stream.js", SCRIPT),
    asset!("style.css", STYLE),
    asset!("watch.js", SCRIPT),
    asset!("words.js", SCRIPT),
];

/// The file of this name.
#[must_use]
pub fn find(name: &str) -> Option<Asset> {
    ASSETS.into_iter().find(|asset| asset.name == name)
}

/// The page that begins with the channel at a place, `None` for all of them. Without scripts it is a
/// picture with links to the other channels.
#[must_use]
pub fn page(channels: &Channels, place: Option<usize>) -> String {
    let shown = &channels[place.unwrap_or(0)].name;
    let others = channels.iter().map(|channel| &channel.name);
    let others = others.filter(|name| *name != shown);
    let links = others.map(|name| format!(r#"<a href="/watch/{name}">{name}</a>"#));
    let title = match place {
        Some(_) => format!("{shown} – Framecast"),
        None => "Framecast".to_owned(),
    };
    let page = PAGE.replace("{{title}}", &title);
    let page = page.replace("{{channel}}", shown);
    page.replace("{{others}}", &links.collect::<String>())
}

/// What a browser may do with the page: load its own files, watch its own server, show pictures.
/// Pages of `allow_origin` may frame it.
#[must_use]
pub fn policy(allow_origin: Option<&str>) -> String {
    let framers = allow_origin.map_or_else(String::new, |origin| format!(" {origin}"));
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'{framers}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::channel;
    use common::Format;

    #[test]
    fn every_file_that_is_named_is_there() {
        let texts = ASSETS.iter().map(|asset| asset.text).chain([PAGE, STATUS]);
        let mut named = 0;
        for text in texts {
            let from_page = text.split("\"/assets/").skip(1);
            for rest in from_page.chain(text.split("from \"./").skip(1)) {
                let name = rest.split('"').next().unwrap();
                assert!(find(name).is_some(), "{name}");
                named += 1;
            }
        }
        assert!(named >= ASSETS.len(), "some file is not used: {named}");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_inline() {
        for text in ASSETS.iter().map(|asset| asset.text).chain([PAGE, STATUS]) {
            // Namespaces are names, not addresses.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for forbidden in [
                "http://",
                "https://",
                "<style",
                " style=",
                " onclick=",
                "eval(",
            ] {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
        }
        for page in [PAGE, STATUS] {
            assert!(page.contains("<script type=\"module\" src=") && !page.contains("<script>"));
        }
    }

    #[test]
    fn without_scripts_the_page_is_a_picture_with_links() {
        let named = |name| channel(name, Format::Jpeg).0;
        let channels = Channels::new(vec![named("main"), named("lab")]);
        let all = page(&channels, None);
        assert!(all.contains("<title>Framecast</title>"));
        assert!(all.contains(r#"src="/live/main.mjpeg""#));
        assert!(all.contains(r#"<a href="/watch/lab">lab</a>"#));
        let lab = page(&channels, Some(1));
        assert!(lab.contains("<title>lab – Framecast</title>"));
        assert!(lab.contains(r#"src="/live/lab.mjpeg""#) && !lab.contains("{{"));
    }
}
