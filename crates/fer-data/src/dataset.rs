//! The faces that were read, and views of them.

use std::{fmt, sync::Arc};

use image::{DynamicImage, GrayImage, RgbImage, imageops::FilterType};
use ndarray::{Array4, ArrayView3};

use crate::{Error, LabelEncoder, Result, Shape, Source, Usage, Vocabulary, drawn, row_votes::RowVotes};

/// Everything that a source holds.
struct Faces {
    /// (row, channel, height, width), 0 to 255, contiguous.
    images: Array4<u8>,
    usages: Option<Vec<Usage>>,
    source: Source,
}

/// Faces and their labels: all rows of a source, or some of them in some order.
///
/// A dataset is a view: it is cheap to clone, and choosing rows copies no pixels. Positions count the rows of
/// the view, from 0; a *row* is the data row of the source, from 0, and stays the same whatever is chosen.
/// Images are all of one [`Shape`], grey or in colour.
///
/// ```
/// let data = fer_data::Dataset::drawn(100, 42).select(&[4, 6])?;
/// assert_eq!(data.encoder().names(), ["sad", "neutral"]);
/// assert_eq!(data.image(0).dim(), (1, 48, 48));
/// assert!(data.labels().unwrap().iter().all(|label| *label == 4 || *label == 6));
/// # Ok::<(), fer_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    faces: Arc<Faces>,
    rows: Arc<[u32]>,
    labels: Option<Arc<[u32]>>,
    encoder: LabelEncoder,
    /// For each row of the source, so that choosing rows leaves them as they are.
    pub(crate) votes: Option<Arc<[RowVotes]>>,
}

/// The rows of one class.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClassCount {
    /// The label: its name's place in the [vocabulary](LabelEncoder::vocabulary).
    pub label: u32,
    /// Its name.
    pub name: String,
    /// The rows that have it.
    pub rows: usize,
}

impl Dataset {
    /// `n` faces that the project draws itself, 48×48: happy, sad and neutral, varied in shape, pose, light and
    /// noise. The same for a seed everywhere; the first of `n` are the first of more.
    ///
    /// ```
    /// let data = fer_data::Dataset::drawn(12, 42);
    /// assert_eq!((data.len(), data.shape().to_string()), (12, "48×48 grey".to_owned()));
    /// assert_eq!(data.encoder().names(), ["happy", "sad", "neutral"]);
    /// ```
    pub fn drawn(n: usize, seed: u64) -> Self {
        let (pixels, labels) = drawn::draw(n, seed);
        let source = Source::memory("drawn", &pixels, &labels);
        Self::of(pixels, Shape::grey(48), Some((labels, Vocabulary::fer2013())), None, source)
    }

    /// All rows of these parts, which the caller has checked.
    pub(crate) fn of(
        pixels: Vec<u8>,
        shape: Shape,
        labels: Option<(Vec<u32>, Vocabulary)>,
        usages: Option<Vec<Usage>>,
        source: Source,
    ) -> Self {
        let n = pixels.len() / shape.values();
        // Whole images are all that readers push, so the shape always fits.
        let dims = (n, shape.channels, shape.height, shape.width);
        let images = Array4::from_shape_vec(dims, pixels).unwrap_or_default();
        let all = Self {
            faces: Arc::new(Faces { images, usages, source }),
            rows: (0..n as u32).collect(),
            labels: None,
            encoder: LabelEncoder::default(),
            votes: None,
        };
        match labels {
            Some((labels, vocabulary)) => all.relabelled(labels, &vocabulary),
            None => all,
        }
    }

    /// The same rows with these labels, one a row; the classes are the labels that occur.
    pub(crate) fn relabelled(self, labels: Vec<u32>, vocabulary: &Vocabulary) -> Self {
        // Labels are checked where they are read.
        let encoder = LabelEncoder::of(&labels, vocabulary).unwrap_or_default();
        Self { labels: Some(labels.into()), encoder, votes: None, ..self }
    }

    /// The same rows with the eight classes of FER+: the winner of each row in view as its label, 0 to 7, and the
    /// votes on each row of the source.
    pub(crate) fn voted(self, labels: Vec<u32>, votes: Vec<RowVotes>) -> Self {
        let encoder = LabelEncoder::all_of(&Vocabulary::ferplus());
        Self { labels: Some(labels.into()), encoder, votes: Some(votes.into()), ..self }
    }

    /// The same rows, labels and classes with one-hot targets.
    pub(crate) fn without_votes(self) -> Self {
        Self { votes: None, ..self }
    }

    /// The rows at these positions, which must exist.
    pub(crate) fn pick(&self, positions: impl IntoIterator<Item = usize>) -> Self {
        let positions: Vec<usize> = positions.into_iter().collect();
        Self {
            faces: self.faces.clone(),
            rows: positions.iter().map(|&i| self.rows[i]).collect(),
            labels: self.labels.as_ref().map(|labels| positions.iter().map(|&i| labels[i]).collect()),
            encoder: self.encoder.clone(),
            votes: self.votes.clone(),
        }
    }

    /// The number of rows in view.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is in view.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The shape of every image.
    pub fn shape(&self) -> Shape {
        let (_, channels, height, width) = self.faces.images.dim();
        Shape { channels, height, width }
    }

    /// The image at a position: (channel, height, width), 0 dark to 255 light; one channel of grey, or red, green and blue.
    ///
    /// # Panics
    /// When `i` is not under [`len`](Self::len), as indexing a slice.
    pub fn image(&self, i: usize) -> ArrayView3<'_, u8> {
        self.faces.images.index_axis(ndarray::Axis(0), self.rows[i] as usize)
    }

    /// The image at a position as a picture, grey or RGB, of 8 bits.
    ///
    /// # Panics
    /// When `i` is not under [`len`](Self::len), as indexing a slice.
    pub fn picture(&self, i: usize) -> DynamicImage {
        picture(self.pixels(i), self.shape())
    }

    /// The same rows in three channels; grey becomes equal red, green and blue.
    pub fn in_colour(&self) -> Self {
        self.in_channels(3)
    }

    /// The same rows in grey, as [`DynamicImage::to_luma8`] makes it of colour.
    pub fn in_grey(&self) -> Self {
        self.in_channels(1)
    }

    /// All images of the source in so many channels; the rows keep their numbers.
    fn in_channels(&self, channels: usize) -> Self {
        let (before, Faces { images, usages, source }) = (self.shape(), &*self.faces);
        if before.channels == channels || images.is_empty() {
            return self.clone();
        }
        let size = (before.width as u32, before.height as u32);
        let converted =
            images.as_slice().unwrap_or_default().chunks_exact(before.values()).flat_map(|pixels| {
                fer_picture::planes(&picture(pixels, before), channels, size, FilterType::Triangle)
            });
        let dims = (images.dim().0, channels, before.height, before.width);
        let images = Array4::from_shape_vec(dims, converted.collect()).unwrap_or_default();
        let faces = Faces { images, usages: usages.clone(), source: source.clone() };
        Self { faces: Arc::new(faces), ..self.clone() }
    }

    /// The values of the image at a position, channel by channel and row by row.
    pub(crate) fn pixels(&self, i: usize) -> &[u8] {
        let size = self.shape().values();
        let start = self.rows[i] as usize * size;
        // Images are contiguous since `of`.
        self.faces.images.as_slice().map_or(&[], |pixels| &pixels[start..start + size])
    }

    /// The label at a position, the place of its name in the vocabulary; none where there is no such position or the data has no labels.
    pub fn label(&self, i: usize) -> Option<u32> {
        self.labels.as_ref()?.get(i).copied()
    }

    /// The labels in order, each the place of its name in the vocabulary, if the data has any.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// The usage at a position; none where there is no such position or the data has no usages.
    pub fn usage(&self, i: usize) -> Option<Usage> {
        let row = *self.rows.get(i)?;
        self.faces.usages.as_ref()?.get(row as usize).copied()
    }

    /// The data rows of the source in view, from 0, in order.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// All rows of the source, in view or not.
    pub(crate) fn source_rows(&self) -> usize {
        self.faces.images.dim().0
    }

    /// Where the data came from.
    pub fn source(&self) -> &Source {
        &self.faces.source
    }

    /// The classes: those chosen by [`select`](Self::select), or the labels of the source.
    pub fn encoder(&self) -> &LabelEncoder {
        &self.encoder
    }

    /// The rows of each class, in the order of the labels.
    pub fn class_counts(&self) -> Vec<ClassCount> {
        let count = |&label: &u32| ClassCount {
            label,
            name: self.encoder.name(label).unwrap_or_default().to_owned(),
            rows: self.positions_of(label).len(),
        };
        self.encoder.labels().iter().map(count).collect()
    }

    /// The labels that occur, in the order of their first appearance: pandas' `unique()`.
    pub fn label_order(&self) -> Vec<u32> {
        let mut order = Vec::new();
        for &label in self.labels().unwrap_or_default() {
            if !order.contains(&label) {
                order.push(label);
            }
        }
        order
    }

    /// The positions of the rows with a label.
    pub fn positions_of(&self, label: u32) -> Vec<usize> {
        let labels = self.labels().unwrap_or_default();
        labels.iter().enumerate().filter(|(_, found)| **found == label).map(|(i, _)| i).collect()
    }

    /// The first `n` rows as a table: row, emotion, the first pixels, usage.
    pub fn first_rows(&self, n: usize) -> String {
        let mut table = format!("{:>5}  {:>7}  {:<36}  Usage\n", "row", "emotion", "pixels");
        for i in 0..n.min(self.len()) {
            let emotion = self.label(i).map_or_else(|| "-".to_owned(), |label| label.to_string());
            let pixels: Vec<String> = self.pixels(i).iter().take(9).map(u8::to_string).collect();
            let usage = self.usage(i).map_or_else(|| "-".to_owned(), |usage| usage.to_string());
            let pixels = format!("{}…", pixels.join(" "));
            table += &format!("{:>5}  {emotion:>7}  {pixels:<36}  {usage}\n", self.rows[i]);
        }
        table
    }

    /// The rows with these labels, which become the classes, sorted: the notebook's `[3, 4, 6]` are happy 0,
    /// sad 1 and neutral 2. Where targets are votes, they become the shares among these classes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no label or one that the data cannot have; [`Error::Missing`] when no row has one of them.
    pub fn select(&self, labels: &[u32]) -> Result<Self> {
        let vocabulary = self.encoder.vocabulary();
        let encoder = LabelEncoder::of(labels, vocabulary)?;
        if encoder.is_empty() {
            let allowed = format!("at least one of 0 to {}", vocabulary.names().len() - 1);
            return Err(Error::Invalid { name: "labels", found: "empty".to_owned(), allowed });
        }
        let found = self.labels().ok_or_else(|| self.missing("no labels"))?;
        let chosen = found.iter().enumerate().filter(|(_, label)| encoder.encode(**label).is_ok());
        let chosen = self.pick(chosen.map(|(i, _)| i));
        if chosen.is_empty() {
            return Err(self.missing(format!("no row with one of the labels {}", encoder.named())));
        }
        Ok(Self { encoder, ..chosen })
    }

    /// The same rows whose labels have these names: label 0 the first.
    ///
    /// ```
    /// let images = ndarray::Array3::zeros((3, 48, 48));
    /// let pets = fer_data::Dataset::new(images, Some(vec![2, 0, 2]), None)?.named(["bird", "cat", "dog"])?;
    /// assert_eq!(pets.encoder().names(), ["bird", "dog"]);
    /// # Ok::<(), fer_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for names that are no [`Vocabulary`], and fewer than the labels need; [`Error::Missing`] for data
    /// without labels or with votes, whose classes are FER+'s.
    pub fn named<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Result<Self> {
        if self.labels.is_none() || self.has_votes() {
            return Err(self.missing("no labels that can be named"));
        }
        let encoder = LabelEncoder::of(self.encoder.labels(), &Vocabulary::new(names)?)?;
        Ok(Self { encoder, ..self })
    }

    /// The rows of one usage, in order.
    ///
    /// # Errors
    /// [`Error::Missing`] when there are none.
    pub fn select_usage(&self, usage: Usage) -> Result<Self> {
        let chosen = self.pick((0..self.len()).filter(|&i| self.usage(i) == Some(usage)));
        if chosen.is_empty() { Err(self.missing(format!("no row of usage {usage}"))) } else { Ok(chosen) }
    }

    /// The rows at these positions, in this order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a position that does not exist.
    pub fn subset(&self, positions: &[usize]) -> Result<Self> {
        match positions.iter().find(|&&i| i >= self.len()) {
            Some(i) => Err(Error::Invalid {
                name: "position",
                found: i.to_string(),
                allowed: format!("under {}", self.len()),
            }),
            None => Ok(self.pick(positions.iter().copied())),
        }
    }

    pub(crate) fn missing(&self, missing: impl Into<String>) -> Error {
        Error::Missing { data: self.source().path.clone(), missing: missing.into() }
    }
}

/// An image of this shape as a picture.
fn picture(pixels: &[u8], shape: Shape) -> DynamicImage {
    let (width, height) = (shape.width as u32, shape.height as u32);
    // As many values as the shape has.
    if shape.channels == 1 {
        return GrayImage::from_raw(width, height, pixels.to_vec()).unwrap_or_default().into();
    }
    let plane = shape.height * shape.width;
    let interleaved = (0..plane).flat_map(|i| [pixels[i], pixels[plane + i], pixels[2 * plane + i]]);
    RgbImage::from_raw(width, height, interleaved.collect()).unwrap_or_default().into()
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = self.encoder.names();
        f.debug_struct("Dataset")
            .field("source", self.source())
            .field("rows", &self.len())
            .field("shape", &self.shape())
            .field("classes", &classes)
            .finish()
    }
}
