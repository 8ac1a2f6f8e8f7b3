//! Frames in and out through the program `ffmpeg`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use image::RgbImage;

use crate::failure::Failure;

/// What stands before the file in `ffmpeg`'s arguments: nothing, `-re` for its own speed, `-f v4l2` for a camera.
pub type InputOptions<'a> = &'a [&'a str];

/// Frames of a video, upright, at an even rate.
pub struct Frames {
    child: Child,
    out: BufReader<ChildStdout>,
    errors: Option<JoinHandle<String>>,
    source: String,
    rate: f64,
}

/// The program, its standard streams closed but for those that are asked for.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    // Without a terminal it neither asks nor takes keys; in a group of its own Ctrl-C does not reach it.
    command.args(["-v", "error"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

fn start(command: &mut Command) -> Result<Child, Failure> {
    command.spawn().map_err(|e| {
        let name = command.get_program().to_string_lossy().into_owned();
        match e.kind() {
            io::ErrorKind::NotFound => format!(
                "the program '{name}' was not found; videos are read and written by FFmpeg: \
                 apt install ffmpeg, brew install ffmpeg, winget install ffmpeg, or ffmpeg.org"
            )
            .into(),
            _ => format!("{name}: {e}").into(),
        }
    })
}

/// Gathers what a child says on stderr, so that it never waits for a reader.
fn errors_of(child: &mut Child) -> Option<JoinHandle<String>> {
    let mut stderr = child.stderr.take()?;
    Some(std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).trim().to_owned()
    }))
}

fn joined(errors: &mut Option<JoinHandle<String>>) -> String {
    errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default()
}

/// Frames a second of a video, and how many there are where that is known.
pub fn probe(path: &Path) -> Result<(f64, Option<u64>), Failure> {
    let entries = "stream=avg_frame_rate,r_frame_rate,nb_frames,duration:format=duration";
    let mut command = program("ffprobe");
    command.args(["-select_streams", "v:0", "-show_entries", entries, "-of", "json"]).arg(path);
    let output = start(command.stdout(Stdio::piped()))?.wait_with_output()?;
    let name = path.display();
    if !output.status.success() {
        return Err(format!("{name}: no video: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let stream = &found["streams"][0];
    let rate = |field: &str| {
        let (over, under) = stream[field].as_str()?.split_once('/')?;
        let rate = over.parse::<f64>().ok()? / under.parse::<f64>().ok()?;
        (rate.is_finite() && rate > 0.0).then_some(rate)
    };
    let Some(rate) = rate("avg_frame_rate").or_else(|| rate("r_frame_rate")) else {
        return Err(format!("{name}: no picture in it: is it a sound file?").into());
    };
    let seconds = [&stream["duration"], &found["format"]["duration"]]
        .into_iter()
        .find_map(|value| value.as_str()?.parse::<f64>().ok());
    let counted = stream["nb_frames"].as_str().and_then(|count| count.parse().ok());
    Ok((rate, counted.or_else(|| seconds.map(|seconds| (seconds * rate).round() as u64))))
}

impl Frames {
    /// The frames of what `options` and `path` name, `rate` a second.
    pub fn open(options: InputOptions<'_>, path: &Path, rate: f64) -> Result<Self, Failure> {
        let mut command = program("ffmpeg");
        command.args(options).arg("-i").arg(path).args(["-an", "-sn", "-r"]).arg(rate.to_string());
        // Each frame as a PPM file: its size stands before it.
        command.args(["-f", "image2pipe", "-c:v", "ppm", "-"]).stdout(Stdio::piped());
        let mut child = start(&mut command)?;
        let errors = errors_of(&mut child);
        let out = child.stdout.take().ok_or("ffmpeg has no output")?;
        Ok(Self {
            child,
            out: BufReader::with_capacity(1 << 20, out),
            errors,
            source: path.display().to_string(),
            rate,
        })
    }

    /// Frames a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The next frame; none at the end. A video that is cut short or damaged is an error after its last whole frame.
    pub fn next(&mut self) -> Result<Option<RgbImage>, Failure> {
        match read_ppm(&mut self.out) {
            Ok(Some(frame)) => Ok(Some(frame)),
            Ok(None) => {
                let status = self.child.wait()?;
                let errors = joined(&mut self.errors);
                match status.success() && errors.is_empty() {
                    true => Ok(None),
                    false => Err(format!("{}: damaged or cut short: {errors}", self.source).into()),
                }
            }
            Err(e) => Err(format!("{}: {e}: {}", self.source, joined(&mut self.errors)).into()),
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A binary PPM picture of 8 bits as FFmpeg writes it: `P6\nWIDTH HEIGHT\n255\n` and the pixels; none at the end.
fn read_ppm(from: &mut impl BufRead) -> io::Result<Option<RgbImage>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "ffmpeg's frames are not in PPM");
    let mut header = String::new();
    for _ in 0..3 {
        from.by_ref().take(64).read_line(&mut header)?;
    }
    let fields: Vec<&str> = header.split_ascii_whitespace().collect();
    let ["P6", width, height, "255"] = fields[..] else { return Err(wrong()) };
    let side = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    let (width, height) = (side(width)?, side(height)?);
    let bytes = usize::try_from(u64::from(width) * u64::from(height) * 3).map_err(|_| wrong())?;
    let mut pixels = vec![0; bytes];
    from.read_exact(&mut pixels)?;
    Ok(RgbImage::from_raw(width, height, pixels))
}

/// A video that is being written, in H.264.
pub struct Encoder {
    child: Child,
    to: ChildStdin,
    errors: Option<JoinHandle<String>>,
    size: (u32, u32),
}

impl Encoder {
    /// A video of frames of this size at this rate.
    pub fn create(path: &Path, (width, height): (u32, u32), rate: f64) -> Result<Self, Failure> {
        let mut command = program("ffmpeg");
        command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s"]).arg(format!("{width}x{height}"));
        command.arg("-r").arg(rate.to_string()).args(["-i", "-"]);
        // Even sides and this pixel format are what players expect.
        command.args(["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-c:v", "libx264", "-preset", "veryfast"]);
        command.args(["-pix_fmt", "yuv420p", "-y"]).arg(path).stdin(Stdio::piped());
        let mut child = start(&mut command)?;
        let errors = errors_of(&mut child);
        let to = child.stdin.take().ok_or("ffmpeg has no input")?;
        Ok(Self { child, to, errors, size: (width, height) })
    }

    /// Adds a frame; one of another size is brought to that of the first.
    pub fn write(&mut self, frame: &RgbImage) -> Result<(), Failure> {
        let written = if frame.dimensions() == self.size {
            self.to.write_all(frame)
        } else {
            let (width, height) = self.size;
            let filter = image::imageops::FilterType::Triangle;
            self.to.write_all(&image::imageops::resize(frame, width, height, filter))
        };
        written
            .map_err(|e| format!("ffmpeg cannot write the video: {e}: {}", joined(&mut self.errors)).into())
    }

    /// Ends the video; it is whole after this.
    pub fn finish(self) -> Result<(), Failure> {
        let Self { mut child, to, mut errors, .. } = self;
        drop(to);
        match child.wait()?.success() {
            true => Ok(()),
            false => Err(format!("ffmpeg cannot write the video: {}", joined(&mut errors)).into()),
        }
    }
}

/// Joins videos of one kind into `out`, with the sound of `original` where it has any.
pub fn join(parts: &[impl AsRef<Path>], original: &Path, out: &Path) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("parts.txt");
    let line = |part: &Path| -> Result<String, Failure> {
        let path = std::fs::canonicalize(part)?;
        Ok(format!("file '{}'\n", path.to_string_lossy().replace('\'', "'\\''")))
    };
    let text = parts.iter().map(|part| line(part.as_ref())).collect::<Result<String, _>>()?;
    std::fs::write(&list, text)?;
    let mut command = program("ffmpeg");
    command.args(["-f", "concat", "-safe", "0", "-i"]).arg(&list).arg("-i").arg(original);
    command.args(["-map", "0:v", "-map", "1:a?", "-c", "copy", "-shortest", "-y"]).arg(out);
    let output = start(&mut command)?.wait_with_output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}: {}", out.display(), String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_one_after_the_other_and_a_cut_one_is_an_error() {
        let bytes: Vec<u8> =
            [&b"P6\n2 1\n255\n"[..], &[1, 2, 3, 4, 5, 6], b"P6\n1 1\n255\n", &[7, 8, 9]].concat();
        let mut from = &bytes[..];
        assert_eq!(read_ppm(&mut from).unwrap().unwrap().dimensions(), (2, 1));
        assert_eq!(read_ppm(&mut from).unwrap().unwrap().into_raw(), [7, 8, 9]);
        assert!(read_ppm(&mut from).unwrap().is_none());
        assert!(read_ppm(&mut &bytes[..14]).is_err());
        assert!(read_ppm(&mut &b"P5\n1 1\n255\n1"[..]).is_err());
    }
}
