//! What the targets share.

use std::panic;
use std::path::Path;
use std::sync::{Once, OnceLock};

use tempfile::TempDir;

/// From now on only a panic that reaches the target is the end, not each as with libFuzzer's own hook: `fer_picture::Decoder` turns
/// those of the formats' decoders into errors.
pub fn only_our_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| drop(panic::take_hook()));
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
