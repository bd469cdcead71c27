//! Everything over HTTP that is not a stream: the page, stills, health.
//!
//! The door has already read the request head when a connection comes here, so the connection is
//! wrapped to give those bytes once more. Every connection answers one request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use common::{Budget, Clock, Frame, Monotonic, SystemClock};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tracing::debug;

use super::accept::request::Reply;
use super::assets;
use super::drop_in::{self, DropIn};
use super::metrics::Metrics;
use super::register::Register;
use super::still::{Still, Stills};
use crate::channel::{Channel, Channels, Unknown};
use crate::journal::Journal;

mod api;
pub mod guard;
mod replay;
mod told;

use guard::Ends;
use replay::Replay;

/// How long a whole request and its answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long hyper waits for the head, which is already here.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The routes, ready to be served.
#[derive(Debug, Clone)]
pub struct Pages {
    router: Router,
}

/// What pages and API tell about beside the channels.
#[derive(Debug)]
pub struct Backstage {
    /// The memory that frames share.
    pub budget: Budget,
    /// Who watches.
    pub register: Arc<Register>,
    /// The log's last lines.
    pub journal: Journal,
    /// How frames get from the writer to the viewers, in words.
    pub model: &'static str,
    /// What moves bytes to the viewers, in a word.
    pub driver: &'static str,
    /// When the program began to serve.
    pub started: Monotonic,
}

#[derive(Debug)]
struct Site {
    channels: Channels,
    /// One for each channel.
    stills: Vec<Stills>,
    backstage: Backstage,
    allow_origin: Option<HeaderValue>,
    /// `Content-Security-Policy` of the page.
    policy: HeaderValue,
}

impl Site {
    const fn channels(&self) -> &Channels {
        &self.channels
    }
}

impl Pages {
    /// Pages about `channels`; stills may be read by pages from `allow_origin`.
    #[must_use]
    pub fn new(channels: Channels, backstage: Backstage, allow_origin: Option<&str>) -> Self {
        let policy = assets::policy(allow_origin);
        let policy = HeaderValue::try_from(policy).expect("origins are checked to be ASCII");
        let allow_origin = allow_origin.and_then(|origin| HeaderValue::from_str(origin).ok());
        let router = Router::new()
            .route("/", get(home))
            .route("/watch/{channel}", get(watch))
            .route("/assets/{file}", get(asset))
            .route("/live/{file}", get(still))
            .route("/snapshot", get(home))
            .route("/state", get(state))
            .route("/healthz", get(health))
            .route("/readyz", get(readiness))
            .route("/status", get(status))
            .nest("/api", api::routes())
            .fallback(nothing_here)
            .with_state(Arc::new(Site {
                stills: channels.iter().cloned().map(Stills::new).collect(),
                channels,
                backstage,
                allow_origin,
                policy,
            }));
        Self { router }
    }

    /// The same with `/metrics`.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        let route = Router::new().route("/metrics", get(tell_metrics));
        Self {
            router: self.router.merge(route.with_state(metrics)),
        }
    }
}

async fn tell_metrics(State(metrics): State<Metrics>, asked: HeaderMap) -> Response {
    let accept = asked
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let answer = metrics.answer(accept.unwrap_or_default());
    let mut headers = no_store();
    let content_type = HeaderValue::from_static(answer.content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    (headers, answer.text).into_response()
}

/// Answers the one request whose head has been read.
pub async fn serve(pages: &Pages, stream: TcpStream, head: Bytes) {
    let ends = match (stream.peer_addr(), stream.local_addr()) {
        (Ok(peer), Ok(local)) => Ends { peer, local },
        // Whoever asked is gone.
        _ => return,
    };
    let router = TowerToHyperService::new(pages.router.clone());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ends);
        router.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Replay { head, stream }), service);
    match tokio::time::timeout(REQUEST_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "request not answered"),
        Err(_) => debug!("request not answered within 30 s"),
    }
}

type Shared = State<Arc<Site>>;

/// The page, or a still for those who ask for it as other servers have it.
async fn home(State(site): Shared, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    match drop_in::asked(uri.path(), query, &site.channels) {
        Ok(Some(DropIn::Snapshot(channel))) => snapshot(&site, channel, query).await,
        Ok(_) => page(&site, None),
        Err(unknown) => no_such_channel(&unknown),
    }
}

/// A still with the heads that clients of ustreamer read.
async fn snapshot(site: &Site, channel: usize, query: &str) -> Response {
    let frame = match take_still(site, channel, query).await {
        Ok(frame) => frame,
        Err(reply) => return refusal(site, &reply),
    };
    let mut response = picture(site, &frame);
    let is_online = site.channels[channel].flows(SystemClock.monotonic());
    let online = HeaderValue::from_static(if is_online { "true" } else { "false" });
    let headers = response.headers_mut();
    headers.insert("x-ustreamer-online", online);
    headers.insert("x-ustreamer-width", frame.head.width.into());
    headers.insert("x-ustreamer-height", frame.head.height.into());
    response
}

/// What is known of the default channel, in ustreamer's words.
async fn state(State(site): Shared) -> Response {
    let json = HeaderValue::from_static("application/json");
    let mut headers = no_store();
    headers.insert(header::CONTENT_TYPE, json);
    allow(&site, &mut headers);
    let state = drop_in::state(&site.channels[0], SystemClock.monotonic());
    (headers, state).into_response()
}

async fn watch(State(site): Shared, Path(channel): Path<String>) -> Response {
    match site.channels.find(&channel) {
        Ok(channel) => page(&site, Some(channel)),
        Err(unknown) => no_such_channel(&unknown),
    }
}

/// The page of figures, which it asks the API for.
async fn status(State(site): Shared) -> Response {
    html(&site, assets::STATUS.to_owned())
}

/// The page, beginning with the channel at a place or with all of them.
fn page(site: &Site, place: Option<usize>) -> Response {
    html(site, assets::page(&site.channels, place))
}

fn html(site: &Site, page: String) -> Response {
    let mut headers = no_store();
    headers.insert(header::CONTENT_SECURITY_POLICY, site.policy.clone());
    let no_referrer = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, no_referrer);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff());
    (headers, Html(page)).into_response()
}

/// A file of the page.
async fn asset(Path(file): Path<String>) -> Response {
    let Some(asset) = assets::find(&file) else {
        return nothing_here().await.into_response();
    };
    let mut headers = no_store();
    let content_type = HeaderValue::from_static(asset.content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff());
    (headers, asset.text).into_response()
}

const fn no_sniff() -> HeaderValue {
    HeaderValue::from_static("nosniff")
}

async fn still(
    State(site): Shared,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(name) = file.strip_suffix(".jpg") else {
        return nothing_here().await.into_response();
    };
    let channel = match site.channels.find(name) {
        Ok(channel) => channel,
        Err(unknown) => return no_such_channel(&unknown),
    };
    match take_still(&site, channel, &query.unwrap_or_default()).await {
        Ok(frame) => picture(&site, &frame),
        Err(reply) => refusal(&site, &reply),
    }
}

async fn take_still(site: &Site, channel: usize, query: &str) -> Result<Frame, Reply> {
    if let Some(elsewhere) = site.channels[channel].elsewhere() {
        return Err(Reply::new(503, elsewhere));
    }
    site.stills[channel].take(Still::parse(query)?).await
}

fn refusal(site: &Site, reply: &Reply) -> Response {
    let mut headers = no_store();
    allow(site, &mut headers);
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    (status, headers, format!("{}\n", reply.text)).into_response()
}

fn picture(site: &Site, frame: &Frame) -> Response {
    let head = &frame.head;
    let mut headers = no_store();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert("x-sequence", head.identity.seq.into());
    headers.insert("x-epoch", head.identity.epoch.into());
    let seconds = head.captured_at.as_seconds().to_string();
    headers.insert("x-timestamp", ascii(&seconds));
    if head.is_placeholder() {
        headers.insert("x-placeholder", HeaderValue::from_static("1"));
    }
    allow(site, &mut headers);
    (headers, frame.data().clone()).into_response()
}

/// Lets pages of the origin that is allowed read the answer.
fn allow(site: &Site, headers: &mut HeaderMap) {
    if let Some(origin) = &site.allow_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

async fn health(State(site): Shared) -> Response {
    (no_store(), report(&site)).into_response()
}

/// Ready when every channel is; the first lines name those that are not.
async fn readiness(State(site): Shared) -> Response {
    let now = SystemClock.monotonic();
    let waiting = (site.channels.iter()).filter(|channel| !channel.is_ready(now));
    let mut text: String = waiting
        .map(|channel| format!("not_ready {}\n", channel.name))
        .collect();
    let status = match &*text {
        "" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    text += &report(&site);
    (status, no_store(), text).into_response()
}

/// A few lines of `name value` about each channel and the memory they share, for people and for
/// `grep`.
fn report(site: &Site) -> String {
    let (held, allowed) = (site.backstage.budget.used(), site.backstage.budget.limit());
    let mut text: String = site.channels.iter().map(|one| facts(one)).collect();
    text += &format!("frame_bytes_held {held}\nframe_bytes_allowed {allowed}\n");
    text
}

fn facts(channel: &Channel) -> String {
    let counters = &channel.counters;
    let age = channel.freshness(SystemClock.monotonic());
    let age = age.map_or_else(|| "none".to_owned(), |age| age.as_millis().to_string());
    format!(
        "channel {}\nsource {}\nframes {}\ndamaged {}\novertaken {}\nnewest_frame_age_ms {age}\nviewers {}\n",
        channel.name,
        counters.source_state().name(),
        counters.frames.load(Ordering::Relaxed),
        counters.damaged.load(Ordering::Relaxed),
        counters.overtaken.load(Ordering::Relaxed),
        counters.viewers.load(Ordering::Relaxed),
    )
}

async fn nothing_here() -> impl IntoResponse {
    let text = "nothing here; there is: / /status /watch/CHANNEL /live/CHANNEL.mjpeg /live/CHANNEL.jpg \
                /live/CHANNEL.ws /live.ws /api/openapi.json /api/v1/status \
                /healthz /readyz /metrics, and as in ustreamer /stream /snapshot /state\n";
    (StatusCode::NOT_FOUND, no_store(), text)
}

fn no_such_channel(unknown: &Unknown) -> Response {
    (StatusCode::NOT_FOUND, no_store(), format!("{unknown}\n")).into_response()
}

fn no_store() -> HeaderMap {
    let no_store = HeaderValue::from_static("no-store");
    HeaderMap::from_iter([(header::CACHE_CONTROL, no_store)])
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and points are allowed in a header")
}
