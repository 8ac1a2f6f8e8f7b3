//! A stream of frames.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use fer::{FaceExpression, TrackedFace, Tracker, TrackerConfig};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::judge::{Ask, Seen};
use crate::listen::stopped;
use crate::problem::{Body, Problem};
use crate::state::Shared;

/// How often the other side is asked whether it is there, and after how long a silence it is not.
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// How long an answer may take to be sent.
const SENDING: Duration = Duration::from_secs(10);

/// Begins a stream where there is room for one.
pub(crate) async fn upgrade(
    State(shared): State<Shared>,
    socket: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let socket = socket.map_err(|e| Problem::new(e.status(), "no_web_socket", e.body_text()))?;
    let streams = shared.limits.streams;
    let permit = shared.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::busy(format!("{streams} streams are open; try again")))?;
    let most = shared.limits.bytes;
    let socket = socket.protocols(["fer"]).max_message_size(most).max_frame_size(most);
    Ok(socket.on_upgrade(move |socket| async move {
        run(socket, shared).await;
        drop(permit);
    }))
}

/// What the client may say of the frames that follow.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    #[serde(default)]
    explain: bool,
}

/// The newest frame.
#[derive(Clone, Debug, Default)]
struct Frame {
    /// Its number, from 1; 0 before the first.
    number: u64,
    picture: Bytes,
    wishes: Wishes,
    /// What is wrong with a message, in the place of a frame.
    problem: Option<String>,
}

async fn run(socket: WebSocket, shared: Shared) {
    let (to, from) = socket.split();
    // Holds one frame: a newer one takes the place of one that nobody has looked at.
    let (newest, frames) = watch::channel(Frame::default());
    tokio::select! {
        () = read(from, &newest) => {}
        () = answer(to, frames, &shared) => {}
    }
}

/// Reads until the client ends or is silent.
async fn read(mut from: SplitStream<WebSocket>, newest: &watch::Sender<Frame>) {
    let (mut number, mut wishes) = (0, Wishes::default());
    while let Ok(Some(Ok(message))) = timeout(SILENCE, from.next()).await {
        let problem = match message {
            Message::Binary(picture) => {
                number += 1;
                newest.send_replace(Frame { number, picture, wishes, problem: None });
                continue;
            }
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(wished) => {
                    wishes = wished;
                    continue;
                }
                Err(e) => format!("a text is to be {{\"explain\":true}} or false: {e}"),
            },
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        newest.send_replace(Frame { number, picture: Bytes::new(), wishes, problem: Some(problem) });
    }
}

/// What is said of a frame.
#[derive(Serialize)]
struct Answered {
    frame: u64,
    #[serde(flatten)]
    said: Said,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said {
    Faces { milliseconds: f64, faces: Vec<Seen<TrackedFace>> },
    Error { error: Body },
}

/// Answers the newest frame, and then the newest again.
async fn answer(mut to: SplitSink<WebSocket, Message>, mut frames: watch::Receiver<Frame>, shared: &Shared) {
    let start = Instant::now();
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut stop = shared.stop.clone();
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = 0;
    loop {
        let message = tokio::select! {
            changed = frames.changed() => {
                if changed.is_err() {
                    return;
                }
                let frame = frames.borrow_and_update().clone();
                shared.metrics.dropped.inc_by(frame.number.saturating_sub(last + 1));
                last = frame.number;
                let text = judge(frame, start, &mut tracker, shared).await;
                Message::Text(text.into())
            }
            _ = pings.tick() => Message::Ping(Bytes::new()),
            () = stopped(&mut stop) => {
                let reason = "the service ends".into();
                Message::Close(Some(CloseFrame { code: close_code::AWAY, reason }))
            }
        };
        let ends = matches!(message, Message::Close(_));
        if !matches!(timeout(SENDING, to.send(message)).await, Ok(Ok(()))) || ends {
            return;
        }
    }
}

async fn judge(frame: Frame, start: Instant, tracker: &mut Tracker, shared: &Shared) -> String {
    let Frame { number, picture, wishes, problem } = frame;
    let begin = Instant::now();
    let answer = match problem {
        Some(problem) => Err(Problem::request(problem)),
        None => {
            let ask = Ask { explain: wishes.explain, ..Ask::default() };
            let answers = shared.ask(vec![picture], ask).await;
            answers.and_then(|answers| answers.into_iter().next().unwrap_or(Err(Problem::internal())))
        }
    };
    let said = match answer {
        Err(problem) => Said::Error { error: problem.into_body() },
        Ok(faces) => {
            let faces = tracked(faces, tracker, (begin - start).as_secs_f64());
            shared.metrics.answered.inc();
            Said::Faces { milliseconds: (begin.elapsed().as_secs_f64() * 10_000.0).round() / 10.0, faces }
        }
    };
    // Numbers and text are always written.
    serde_json::to_string(&Answered { frame: number, said }).unwrap_or_default()
}

/// The faces with their numbers.
fn tracked(faces: Vec<Seen>, tracker: &mut Tracker, time: f64) -> Vec<Seen<TrackedFace>> {
    let (found, explanations): (Vec<FaceExpression>, Vec<_>) =
        faces.into_iter().map(|seen| (seen.found, seen.explanation)).unzip();
    let tracked = tracker.update(time, found);
    tracked.into_iter().zip(explanations).map(|(found, explanation)| Seen { found, explanation }).collect()
}
