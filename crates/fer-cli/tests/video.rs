//! `fer video` and `fer camera` on a video of the shipped photos. Without FFmpeg these tests say that they were skipped.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: the program ffmpeg was not found");
    }
    found
}

fn fer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fer"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ffmpeg(arguments: &[&str]) {
    assert!(Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).status().unwrap().success());
}

/// Ten seconds: a face that comes nearer, then two that sway. Every third frame of it, and smaller.
fn clip(folder: &Path) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let (whole, small) = (folder.join("whole.mp4"), folder.join("clip.mp4"));
    let photos = tests.join("../../fer-detect/tests/photos");
    let made = Command::new(tests.join("make_video.sh")).arg(photos).arg(&whole).status().unwrap();
    assert!(made.success());
    let (from, to) = (whole.to_str().unwrap(), small.to_str().unwrap());
    ffmpeg(&["-i", from, "-vf", "fps=10,scale=320:-2", to]);
    small
}

/// `frame,time,id,…,label` of each row.
fn rows(csv: &Path) -> Vec<(u64, f64, u64, String)> {
    let mut reader = csv::Reader::from_path(csv).unwrap();
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        (row[0].parse().unwrap(), row[1].parse().unwrap(), row[2].parse().unwrap(), row[8].to_owned())
    });
    rows.collect()
}

#[test]
fn faces_are_followed_and_everything_is_written() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let clip = clip(folder.path()).to_str().unwrap().to_owned();
    let (csv, out, lines) = (path("frames.csv"), path("out.mp4"), path("timelines"));
    let arguments = ["video", &clip, "--csv", &csv, "--out", &out, "--timeline", &lines];
    let output = fer(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));

    let rows = rows(Path::new(&csv));
    let of = |id: u64| rows.iter().filter(|row| row.2 == id).collect::<Vec<_>>();
    assert_eq!((of(0).len(), of(1).len(), of(2).len(), rows.len()), (50, 50, 50, 150));
    assert!(of(0).iter().all(|row| row.3 == "happy"));
    assert!(rows.iter().all(|&(frame, time, ..)| (time - frame as f64 / 10.0).abs() < 1e-3));
    for id in 0..3 {
        assert!(Path::new(&lines).join(format!("face-{id}.svg")).exists());
    }
    let entries = "stream=nb_frames,width,height";
    let probe = ["-v", "error", "-select_streams", "v", "-show_entries", entries, "-of", "csv=p=0", &out];
    let probed = Command::new("ffprobe").args(probe).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&probed.stdout).trim(), "320,240,100");

    let again = fer(&arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("--overwrite"), "{}", err(&again));

    let camera = fer(&["camera", "--file", &clip]).output().unwrap();
    assert!(camera.status.success(), "{}", err(&camera));
    assert!(String::from_utf8_lossy(&camera.stdout).contains("face 0: happy"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_video_goes_on() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (clip, long) = (clip(folder.path()), path("long.mp4"));
    // Six times over: two parts of 300 frames.
    ffmpeg(&["-stream_loop", "5", "-i", clip.to_str().unwrap(), "-c", "copy", &long]);
    let (csv, out, whole) = (path("frames.csv"), path("out.mp4"), path("whole.csv"));
    let arguments = ["video", &long, "--every", "5", "--csv", &csv, "--out", &out];
    let child = fer(&arguments).spawn().unwrap();
    let first_part = folder.path().join("out.mp4.parts/00000.mp4");
    let begun = Instant::now();
    while !first_part.exists() && begun.elapsed() < Duration::from_secs(300) {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", err(&stopped));
    assert!(!Path::new(&out).exists());

    let resumed = fer(&arguments).arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{}", err(&resumed));
    assert!(Path::new(&out).exists() && !first_part.exists());
    let output = fer(&["video", &long, "--every", "5", "--csv", &whole]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(rows(Path::new(&csv)), rows(Path::new(&whole)));
}

#[test]
fn a_cut_video_keeps_what_was_read_and_others_are_refused() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let clip = clip(folder.path());
    // Matroska can be read without its end.
    let (mkv, cut, csv) = (path("clip.mkv"), path("cut.mkv"), path("frames.csv"));
    ffmpeg(&["-i", clip.to_str().unwrap(), "-c", "copy", &mkv]);
    let bytes = fs::read(&mkv).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let output = fer(&["video", &cut, "--csv", &csv]).output().unwrap();
    let read = rows(Path::new(&csv)).len();
    assert!(read > 10, "{read}: {}", err(&output));
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(err(&output).contains("cut.mkv"), "{}", err(&output));

    let text = path("notes.mp4");
    fs::write(&text, "no video").unwrap();
    for (video, said) in [(text, "notes.mp4"), (path("missing.mp4"), "no such file")] {
        let output = fer(&["video", &video]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains(said), "{}", err(&output));
    }
    let camera = fer(&["camera", "--device", "/dev/video77"]).output().unwrap();
    assert!(err(&camera).contains("no such camera"), "{}", err(&camera));
}

#[test]
fn without_ffmpeg_it_is_said_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    fs::write(&clip, "").unwrap();
    let output = fer(&["video", clip.to_str().unwrap()]).env("PATH", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("apt install ffmpeg"), "{}", err(&output));
}
