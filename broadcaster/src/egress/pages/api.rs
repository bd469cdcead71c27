//! The API, version 1: what goes on, for programs and for the page `/status`, and sending viewers away.
//!
//! Answers are JSON, refusals too: `{"error": "…"}`. Who may call is decided in [`guard`](super::guard).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use common::{Clock, SystemClock};
use serde::Deserialize;
use serde_json::{Value, json};

use super::guard::{Aim, Call, Ends};
use super::told::{self, Judged};
use super::{Shared, Site, no_sniff, no_store};
use crate::channel::Pace;
use crate::egress::accept::request::value_in;

/// Viewers in one answer, unless it is said how many.
const VIEWERS: usize = 100;
/// Most viewers in one answer.
const MAX_VIEWERS: usize = 1_000;

/// Bytes of a request's body.
const MAX_BODY: usize = 4 << 10;
/// Above this numbers of JSON are not exact everywhere.
const MAX_ID: u64 = 1 << 53;

/// The document that describes the API.
const DOCUMENT: &str = include_str!("../../../assets/openapi.json");

/// What is below `/api`.
pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/openapi.json", get(document))
        .route("/v1/status", get(status))
        .route("/v1/channels", get(channels))
        .route("/v1/channels/{name}", get(channel))
        .route("/v1/channels/{name}/source", put(switch))
        .route("/v1/viewers", get(viewers))
        .route("/v1/viewers/{id}", get(viewer).delete(dismiss))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(middleware::from_fn(check))
}

/// Lets through whoever may call.
async fn check(request: Request, next: Next) -> Response {
    let aim = match *request.method() {
        Method::GET | Method::HEAD => Aim::Read,
        _ => Aim::Change,
    };
    let Some(ends) = request.extensions().get::<Ends>().copied() else {
        return refusal(StatusCode::FORBIDDEN, "nobody knows who asks");
    };
    let headers = request.headers();
    let call = Call {
        aim,
        ends,
        host: only(headers, header::HOST),
        // One that is there twice or is no text is not ours, which `null` never is either.
        origin: (headers.contains_key(header::ORIGIN))
            .then(|| only(headers, header::ORIGIN).unwrap_or("null")),
        content_type: only(headers, header::CONTENT_TYPE),
    };
    match call.check() {
        Ok(()) => next.run(request).await,
        Err(text) => refusal(StatusCode::FORBIDDEN, text),
    }
}

/// The value of a field that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    only.to_str().ok()
}

async fn document() -> Response {
    let document = DOCUMENT.replace("{{version}}", env!("CARGO_PKG_VERSION"));
    (json_head(), document).into_response()
}

async fn status(State(site): Shared) -> Response {
    answer(StatusCode::OK, &told::status(&site))
}

async fn channels(State(site): Shared) -> Response {
    let channels = told::channels(&site, SystemClock.monotonic());
    answer(StatusCode::OK, &json!({ "channels": channels }))
}

async fn channel(State(site): Shared, Path(name): Path<String>) -> Response {
    match site.channels().find(&name) {
        Ok(place) => {
            let channel = &site.channels()[place];
            let told = told::channel(channel, SystemClock.monotonic());
            answer(StatusCode::OK, &told)
        }
        Err(unknown) => refusal(StatusCode::NOT_FOUND, unknown),
    }
}

/// What is to be shown from now on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    source: String,
}

async fn switch(State(site): Shared, Path(name): Path<String>, body: Body) -> Response {
    let place = match site.channels().find(&name) {
        Ok(place) => place,
        Err(unknown) => return refusal(StatusCode::NOT_FOUND, unknown),
    };
    let sources = &site.channels()[place].sources;
    let names = sources.names().join(", ");
    let right = || format!("right would be {{\"source\": NAME}}, NAME being one of: {names}");
    let body = axum::body::to_bytes(body, MAX_BODY).await.ok();
    let wanted = body.and_then(|body| serde_json::from_slice::<Switch>(&body).ok());
    let Some(Switch { source: wanted }) = wanted else {
        let text = format!("this is not what was expected; {}", right());
        return refusal(StatusCode::BAD_REQUEST, text);
    };
    if !sources.switch(&wanted) {
        let text = format!("channel {name} has no source {wanted:?}; {}", right());
        return refusal(StatusCode::NOT_FOUND, text);
    }
    answer(
        StatusCode::ACCEPTED,
        &json!({"channel": name, "source": wanted}),
    )
}

async fn viewers(State(site): Shared, RawQuery(query): RawQuery) -> Response {
    match Wanted::parse(&query.unwrap_or_default(), &site) {
        Ok(wanted) => answer(StatusCode::OK, &wanted.list(&site)),
        Err((status, text)) => refusal(status, text),
    }
}

async fn viewer(State(site): Shared, Path(id): Path<String>) -> Response {
    let entry = id
        .parse()
        .ok()
        .and_then(|id| site.backstage.register.find(id));
    let Some(entry) = entry else {
        return no_such_viewer(&id);
    };
    let now = SystemClock.monotonic();
    let judged = Judged::new(&site, &entry, &paces(&site), now);
    answer(StatusCode::OK, &judged.told(&site))
}

async fn dismiss(State(site): Shared, Path(id): Path<String>) -> Response {
    let entry = id
        .parse()
        .ok()
        .and_then(|id| site.backstage.register.find(id));
    let Some(entry) = entry else {
        return no_such_viewer(&id);
    };
    tracing::info!(id = entry.id, peer = %entry.peer, "viewer is sent away, as the API was asked to");
    entry.dismiss();
    answer(
        StatusCode::ACCEPTED,
        &json!({"id": entry.id, "state": "leaving"}),
    )
}

/// Which viewers are asked for.
#[derive(Debug)]
struct Wanted {
    /// The place of their channel, if only one is meant.
    channel: Option<usize>,
    after: u64,
    limit: usize,
    is_worst_first: bool,
}

type Wrong = (StatusCode, String);

impl Wanted {
    fn parse(query: &str, site: &Site) -> Result<Self, Wrong> {
        let wrong = |text: String| (StatusCode::BAD_REQUEST, text);
        let channel = value_in(query, "channel").map(|name| {
            let place = site.channels().find(name);
            place.map_err(|unknown| (StatusCode::NOT_FOUND, unknown.to_string()))
        });
        let after = value_in(query, "after").map(|text| {
            let right = "right would be the number of a viewer, as next gives it";
            let after = text.parse().ok();
            after
                .filter(|after| *after <= MAX_ID)
                .ok_or_else(|| wrong(format!("after={text}: {right}")))
        });
        let limit = value_in(query, "limit").map(|text| {
            let limit = text.parse().ok();
            limit
                .filter(|limit| (1..=MAX_VIEWERS).contains(limit))
                .ok_or_else(|| wrong(format!("limit={text}: right would be 1 to {MAX_VIEWERS}")))
        });
        let is_worst_first = match value_in(query, "order") {
            None | Some("id") => false,
            Some("worst") => true,
            Some(other) => {
                return Err(wrong(format!("order={other}: right would be id or worst")));
            }
        };
        Ok(Self {
            channel: channel.transpose()?,
            after: after.transpose()?.unwrap_or_default(),
            limit: limit.transpose()?.unwrap_or(VIEWERS),
            is_worst_first,
        })
    }

    fn list(&self, site: &Site) -> Value {
        let (now, paces) = (SystemClock.monotonic(), paces(site));
        let mut entries = site.backstage.register.after(self.after);
        if let Some(channel) = self.channel {
            entries.retain(|entry| entry.watches(channel));
        }
        let count = entries.len();
        if !self.is_worst_first {
            entries.truncate(self.limit);
        }
        let judged = entries
            .iter()
            .map(|entry| Judged::new(site, entry, &paces, now));
        let mut judged: Vec<_> = judged.collect();
        if self.is_worst_first {
            judged.sort_by_key(Judged::rank);
            judged.truncate(self.limit);
        }
        let last = judged.last().map(|viewer| viewer.entry.id);
        let next = last.filter(|_| count > judged.len() && !self.is_worst_first);
        let viewers: Vec<_> = judged.iter().map(|viewer| viewer.told(site)).collect();
        json!({"viewers": viewers, "count": count, "next": next})
    }
}

fn paces(site: &Site) -> Vec<Pace> {
    let now = SystemClock.monotonic();
    let channels = site.channels().iter();
    channels.map(|channel| channel.pace(now)).collect()
}

fn no_such_viewer(id: &str) -> Response {
    let text = format!("no viewer {id:?} here; /api/v1/viewers lists those there are");
    refusal(StatusCode::NOT_FOUND, text)
}

async fn nothing_here() -> Response {
    let text = "nothing here; /api/openapi.json tells what there is";
    refusal(StatusCode::NOT_FOUND, text)
}

async fn not_so(method: Method) -> Response {
    let text = format!("{method} makes no sense here; /api/openapi.json tells what does");
    refusal(StatusCode::METHOD_NOT_ALLOWED, text)
}

fn refusal(status: StatusCode, text: impl ToString) -> Response {
    answer(status, &json!({ "error": text.to_string() }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, json_head(), body.to_string()).into_response()
}

fn json_head() -> HeaderMap {
    let mut headers = no_store();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff());
    headers
}
