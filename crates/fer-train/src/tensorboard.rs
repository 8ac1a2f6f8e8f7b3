//! Scalars for TensorBoard.
//!
//! An event file is a sequence of TFRecords (length, its checksum, data, its checksum) that each hold an
//! `Event` in protobuf; the few fields used are written by hand. Source: tensorflow `core/lib/io/record_writer`,
//! `core/util/event.proto`, `core/framework/summary.proto`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::BoxError;
use crate::callback::{Callback, Control};

/// Writes each epoch's values as scalars for TensorBoard, in the folders `train` and `validation` as Keras
/// does: `epoch_loss`, `epoch_accuracy`, metrics of one's own and, in `train`, `epoch_learning_rate`. The step is the
/// epoch, from 1.
///
/// A resumed training goes on in a file of its own, which tells TensorBoard to forget the epochs that are
/// done again.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    train: Option<File>,
    validation: Option<File>,
}

impl TensorBoard {
    /// A log in `folder`, which is made when it is missing.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), train: None, validation: None }
    }
}

impl Callback for TensorBoard {
    fn name(&self) -> &str {
        "TensorBoard"
    }

    fn on_train_begin(&mut self, _control: &mut Control) -> Result<(), BoxError> {
        (self.train, self.validation) = (None, None);
        Ok(())
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        let Some(log) = control.log() else { return Ok(()) };
        let (of_validation, of_training): (Vec<_>, Vec<_>) =
            log.metrics.iter().partition(|(name, _)| name.starts_with("val_"));
        let own = |metrics: Vec<(&String, &f64)>| -> Vec<(String, f64)> {
            let tag = |name: &str| format!("epoch_{}", name.strip_prefix("val_").unwrap_or(name));
            metrics.into_iter().map(|(name, &value)| (tag(name), value)).collect()
        };
        let named = |values: &[(&str, Option<f64>)]| -> Vec<(String, f64)> {
            values.iter().filter_map(|&(name, value)| Some((name.to_owned(), value?))).collect()
        };
        let mut train = named(&[
            ("epoch_loss", Some(log.loss)),
            ("epoch_accuracy", Some(log.accuracy)),
            ("epoch_learning_rate", Some(log.learning_rate)),
        ]);
        train.extend(own(of_training));
        append(&mut self.train, &self.folder.join("train"), log.epoch, &train)?;
        let mut validation = named(&[("epoch_loss", log.val_loss), ("epoch_accuracy", log.val_accuracy)]);
        validation.extend(own(of_validation));
        if !validation.is_empty() {
            append(&mut self.validation, &self.folder.join("validation"), log.epoch, &validation)?;
        }
        Ok(())
    }
}

/// Appends an epoch's scalars to an event file, which is begun when there is none yet.
fn append(
    file: &mut Option<File>,
    folder: &Path,
    epoch: usize,
    scalars: &[(String, f64)],
) -> Result<(), BoxError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut records = Vec::new();
    let file = match file {
        Some(file) => file,
        None => {
            fs::create_dir_all(folder)?;
            // TensorBoard reads the files of a folder in the order of their names.
            let name = format!("events.out.tfevents.{:010}.{:09}.fer", now.as_secs(), now.subsec_nanos());
            let mut version = event(now.as_secs_f64(), 0);
            field_bytes(&mut version, 3, b"brain.Event:2");
            record(&mut records, &version);
            // SessionLog { status: START }: what an interrupted training logged from this step on is void.
            let mut start = event(now.as_secs_f64(), epoch);
            field_bytes(&mut start, 7, &[0x08, 1]);
            record(&mut records, &start);
            file.insert(OpenOptions::new().append(true).create_new(true).open(folder.join(name))?)
        }
    };
    record(&mut records, &scalars_event(now.as_secs_f64(), epoch, scalars));
    Ok(file.write_all(&records)?)
}

fn scalars_event(wall_time: f64, epoch: usize, scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut scalar = Vec::new();
        field_bytes(&mut scalar, 1, tag.as_bytes());
        scalar.push(2 << 3 | 5);
        scalar.extend((*value as f32).to_le_bytes());
        field_bytes(&mut summary, 1, &scalar);
    }
    let mut event = event(wall_time, epoch);
    field_bytes(&mut event, 5, &summary);
    event
}

/// The fields that every event has: the time in seconds since 1970, and the step.
fn event(wall_time: f64, step: usize) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(wall_time.to_le_bytes());
    event.push(2 << 3);
    varint(&mut event, step as u64);
    event
}

fn field_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn record(records: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    records.extend(length);
    records.extend(masked_crc32c(&length).to_le_bytes());
    records.extend(data);
    records.extend(masked_crc32c(data).to_le_bytes());
}

fn masked_crc32c(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), a bit at a time: an epoch's events are a few hundred bytes.
fn crc32c(data: &[u8]) -> u32 {
    let bit = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !data.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| bit(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4, and the check value of the CRC catalogue.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_record_is_framed_as_tensorflow_frames_it() {
        // tf.io.TFRecordWriter("x").write(b"fer")
        let mut records = Vec::new();
        record(&mut records, b"fer");
        assert_eq!(records, TFRECORD_OF_FER);
    }

    const TFRECORD_OF_FER: [u8; 19] =
        [3, 0, 0, 0, 0, 0, 0, 0, 176, 153, 73, 14, 102, 101, 114, 159, 160, 114, 80];

    #[test]
    fn an_event_is_the_protobuf_of_tensorboard() {
        // event_pb2.Event(wall_time=1.5, step=300, summary=summary_pb2.Summary(value=[
        //     summary_pb2.Summary.Value(tag="a", simple_value=0.5),
        //     summary_pb2.Summary.Value(tag="b", simple_value=0.25)])).SerializeToString(), of tensorboard 2.21.0
        let event = scalars_event(1.5, 300, &[("a".into(), 0.5), ("b".into(), 0.25)]);
        assert_eq!(event, EVENT);
    }

    const EVENT: [u8; 34] = [
        9, 0, 0, 0, 0, 0, 0, 248, 63, 16, 172, 2, 42, 20, 10, 8, 10, 1, 97, 21, 0, 0, 0, 63, 10, 8, 10, 1,
        98, 21, 0, 0, 128, 62,
    ];
}
