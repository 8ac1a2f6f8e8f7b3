//! Answers as text for a person, as JSON lines or as a table.

use std::io::{self, Write};
use std::path::Path;

use fer::FaceExpression;
use fer_files::printable;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a person.
    Text,
    /// A JSON object a line.
    Json,
    /// A row a face, or one for a picture without.
    Csv,
}

/// The faces of a picture, or why it could not be read.
pub type Answer = Result<Vec<FaceExpression>, String>;

impl Format {
    /// What stands before the first answer.
    pub fn begin(self, out: &mut impl Write, labels: &[String]) -> io::Result<()> {
        if self != Self::Csv {
            return Ok(());
        }
        let fixed = ["source", "face", "x", "y", "width", "height", "score", "label"];
        let names = fixed.into_iter().chain(labels.iter().map(String::as_str)).chain(["error"]);
        row(out, names)
    }

    /// The answer for one picture; `classes` is the number of labels.
    pub fn write(
        self,
        out: &mut impl Write,
        source: &Path,
        answer: &Answer,
        classes: usize,
    ) -> io::Result<()> {
        match self {
            Self::Text => text(out, source, answer),
            Self::Json => {
                serde_json::to_writer(&mut *out, &Line { source, answer })?;
                writeln!(out)
            }
            Self::Csv => table(out, source, answer, classes),
        }
    }
}

fn text(out: &mut impl Write, source: &Path, answer: &Answer) -> io::Result<()> {
    // An error names the file itself, and is for stderr.
    let Ok(faces) = answer else { return Ok(()) };
    let count = match faces.len() {
        0 => "no face".to_owned(),
        1 => "1 face".to_owned(),
        count => format!("{count} faces"),
    };
    writeln!(out, "{}: {count}", printable(source.display()))?;
    for FaceExpression { face, prediction } in faces {
        let top = prediction.top(3).into_iter();
        let shown: Vec<String> = top.map(|(label, p)| format!("{label} {:.0} %", p * 100.0)).collect();
        let b = face.bounds;
        let place = format!("at {:.0},{:.0}, {:.0}×{:.0}", b.x, b.y, b.width, b.height);
        writeln!(out, "  {:<44} {place}", shown.join(", "))?;
    }
    Ok(())
}

fn table(out: &mut impl Write, source: &Path, answer: &Answer, classes: usize) -> io::Result<()> {
    let source = source.to_string_lossy().into_owned();
    // A picture without faces has a row too, as has one with an error.
    let without_face = |out, source, error| {
        let empty = std::iter::repeat_n(String::new(), 7 + classes);
        row(out, std::iter::once(source).chain(empty).chain([error]))
    };
    let faces = match answer {
        Ok(faces) if faces.is_empty() => return without_face(out, source, String::new()),
        Ok(faces) => faces,
        Err(e) => return without_face(out, source, e.clone()),
    };
    for (index, FaceExpression { face, prediction }) in faces.iter().enumerate() {
        let b = face.bounds;
        let mut fields = vec![source.clone(), index.to_string()];
        fields.extend([b.x, b.y, b.width, b.height].map(|v| format!("{v:.1}")));
        fields.extend([format!("{:.4}", face.score), prediction.label.clone()]);
        fields.extend(prediction.probabilities.iter().map(|(_, p)| format!("{p:.6}")));
        row(out, fields.into_iter().chain([String::new()]))?;
    }
    Ok(())
}

/// A row of a CSV table.
pub fn row<T: AsRef<[u8]>>(out: &mut impl Write, fields: impl IntoIterator<Item = T>) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(io::Error::other)?;
    let bytes = writer.into_inner().map_err(|e| io::Error::other(e.to_string()))?;
    out.write_all(&bytes)
}

/// `{"source":…,"faces":[{"box":[x,y,w,h],"score":…,"label":…,"probabilities":{…}}]}` or `{"source":…,"error":…}`.
struct Line<'a> {
    source: &'a Path,
    answer: &'a Answer,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(Some(2))?;
        line.serialize_entry("source", &self.source.to_string_lossy())?;
        match self.answer {
            Ok(faces) => line.serialize_entry("faces", faces)?,
            Err(e) => line.serialize_entry("error", e)?,
        }
        line.end()
    }
}
