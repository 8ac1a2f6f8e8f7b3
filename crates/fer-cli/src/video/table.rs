//! `frames.csv`: a row a face and frame.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use fer::TrackedFace;
use fer::detect::{Face, Point, Rect};
use fer::model::Prediction;

use crate::failure::Failure;
use crate::format::row;

/// The columns before one a label.
const FIXED: [&str; 9] = ["frame", "time", "id", "x", "y", "width", "height", "score", "label"];

/// The faces of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub frame: u64,
    /// Seconds from the start.
    pub time: f64,
    pub faces: Vec<TrackedFace>,
}

/// The table on its way to a file.
pub struct Table {
    to: BufWriter<File>,
}

impl Table {
    /// A new table, with its header.
    pub fn create(path: &Path, labels: &[String]) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut to = BufWriter::new(file);
        row(&mut to, FIXED.into_iter().chain(labels.iter().map(String::as_str)))?;
        Ok(Self { to })
    }

    /// Goes on with the table of a run that was interrupted: rows from frame `from` on are dropped.
    pub fn resume(path: &Path, kept: &[Row], labels: &[String]) -> Result<Self, Failure> {
        let beside = path.with_extension("csv.part");
        let mut table = Self::create(&beside, labels)?;
        for row in kept {
            table.write(row)?;
        }
        table.flush()?;
        fs::rename(&beside, path).map_err(|e| format!("{}: {e}", path.display()))?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { to: BufWriter::new(file) })
    }

    pub fn write(&mut self, Row { frame, time, faces }: &Row) -> Result<(), Failure> {
        for TrackedFace { id, face, prediction } in faces {
            let b = face.bounds;
            let mut fields = vec![frame.to_string(), format!("{time:.3}"), id.to_string()];
            fields.extend([b.x, b.y, b.width, b.height].map(|v| format!("{v:.1}")));
            fields.extend([format!("{:.4}", face.score), prediction.label.clone()]);
            fields.extend(prediction.probabilities.iter().map(|(_, p)| format!("{p:.6}")));
            row(&mut self.to, fields)?;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.to.flush()?)
    }
}

/// The rows of a table, without what an interruption left of a last line.
pub fn read(path: &Path, labels: &[String]) -> Result<Vec<Row>, Failure> {
    let mut text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let expected = FIXED.into_iter().chain(labels.iter().map(String::as_str));
    if !reader.headers()?.iter().eq(expected) {
        return Err(format!("{}: not a table of this video by this model", path.display()).into());
    }
    let mut rows: Vec<Row> = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = || format!("{}: line {line}: not a number where one belongs", path.display());
        let number = |column: usize| record.get(column).and_then(|v| v.parse::<f64>().ok()).ok_or_else(wrong);
        let (frame, time) = (number(0)? as u64, number(1)?);
        let [x, y, width, height, score] = [3, 4, 5, 6, 7].map(|column| number(column).map(|v| v as f32));
        let bounds = Rect { x: x?, y: y?, width: width?, height: height? };
        let face = Face { bounds, score: score?, landmarks: [Point::default(); 5], eyes: None };
        let probabilities = labels
            .iter()
            .enumerate()
            .map(|(at, label)| Ok((label.clone(), number(FIXED.len() + at)? as f32)))
            .collect::<Result<_, String>>()?;
        let prediction = Prediction { label: record[8].to_owned(), probabilities };
        let tracked = TrackedFace { id: number(2)? as u64, face, prediction };
        match rows.last_mut() {
            Some(row) if row.frame == frame => row.faces.push(tracked),
            _ => rows.push(Row { frame, time, faces: vec![tracked] }),
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_cut_in_a_line_goes_on_from_whole_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames.csv");
        let labels = ["happy, or so".to_owned(), "sad".to_owned()];
        let face = |id| TrackedFace {
            id,
            face: Face {
                bounds: Rect { x: 1.5, y: 2.0, width: 30.0, height: 40.0 },
                score: 0.75,
                landmarks: [Point::default(); 5],
                eyes: None,
            },
            prediction: Prediction {
                label: labels[0].clone(),
                probabilities: vec![(labels[0].clone(), 0.75), (labels[1].clone(), 0.25)],
            },
        };
        let rows = [
            Row { frame: 0, time: 0.0, faces: vec![face(0), face(1)] },
            Row { frame: 2, time: 0.067, faces: vec![face(1)] },
        ];
        let mut table = Table::create(&path, &labels).unwrap();
        rows.iter().for_each(|row| table.write(row).unwrap());
        table.flush().unwrap();
        assert_eq!(read(&path, &labels).unwrap(), rows);

        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let kept = read(&path, &labels).unwrap();
        assert_eq!(kept, rows[..1]);
        let mut table = Table::resume(&path, &kept, &labels).unwrap();
        table.write(&rows[1]).unwrap();
        table.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        assert!(read(&path, &labels[..1]).unwrap_err().to_string().contains("frames.csv"));
    }
}
