//! What the targets share.

use std::panic;
use std::path::Path;
use std::sync::{Once, OnceLock};

use tempfile::TempDir;

/// The decoders of pictures, whose panics `fer_picture::Decoder` turns into errors.
const DECODERS: [&str; 7] = ["/zune-jpeg-", "/png-", "/gif-", "/tiff-", "/image-", "/image-webp-", "/moxcms-"];

/// From now on a panic of a picture's decoder is not the end, as it is with libFuzzer's own hook.
pub fn decoders_may_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let end = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |location| location.file());
            if !DECODERS.iter().any(|decoder| file.contains(decoder)) {
                end(panic);
            }
        }));
    });
}

/// Calls `read` with a file of these bytes: most readers take a path.
pub fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder for temporary files"));
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("the folder")).expect("a folder for the file");
    std::fs::write(&path, bytes).expect("room for a file");
    read(&path);
}

/// An error must say something, and nothing that moves a terminal's cursor.
pub fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty(), "an error without a word");
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "control characters: {text:?}");
            None
        }
    }
}
