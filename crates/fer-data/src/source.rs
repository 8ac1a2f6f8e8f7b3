//! Where data came from.

use std::path::Path;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// Files known by the md5 of their uncompressed content, as torchvision's `FER2013` pins them.
const KNOWN: [(&str, &str); 4] = [
    ("f8428a1edbd21e88f42c73edd2a14f95", "FER2013 (fer2013.csv)"),
    ("b114b9e04e6949e5fe8b6a98b3892b1d", "FER2013 (icml_face_data.csv)"),
    ("3f0dfb3d3fd99c811a1299cb947e3131", "FER2013 training rows (train.csv)"),
    ("b02c2298636a634e8c2faabbf3ea9a23", "FER2013 test rows (test.csv)"),
];

/// The origin of a [`Dataset`](crate::Dataset), for every report made from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file or folder as it was given; `drawn` or `memory` for data without one.
    pub path: String,
    /// In hexadecimal: of a CSV file, the md5 of its uncompressed content; of a folder, that of what
    /// `md5sum` prints for its images in their order; of data without a file, that of its pixels and labels.
    pub md5: String,
    /// What the data is, when the md5 is known.
    pub name: Option<String>,
}

impl Source {
    pub(crate) fn new(path: &Path, md5: String) -> Self {
        let name = KNOWN.iter().find(|(known, _)| *known == md5).map(|(_, name)| (*name).to_owned());
        Self { path: path.display().to_string(), md5, name }
    }

    /// Labels are a byte each in the digest: there are at most 256.
    pub(crate) fn memory(path: &str, pixels: &[u8], labels: &[u32]) -> Self {
        let mut digest = Md5::new();
        digest.update(pixels);
        digest.update(labels.iter().map(|label| *label as u8).collect::<Vec<u8>>());
        Self { path: path.to_owned(), md5: hex(digest), name: None }
    }
}

/// The finished digest in hexadecimal.
pub(crate) fn hex(digest: Md5) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
