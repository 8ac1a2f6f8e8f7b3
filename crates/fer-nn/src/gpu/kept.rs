//! What was found out about a card, kept in the process and in files, so that it need not be found out again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What this process knows, by collection and name, as JSON.
static KNOWN: Mutex<BTreeMap<[String; 2], Vec<u8>>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<[String; 2], Vec<u8>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A collection of small values.
pub(super) struct Kept {
    collection: String,
    /// The folder of its JSON files; none where no files are to be kept.
    folder: Option<PathBuf>,
}

impl Kept {
    /// The collection of this name, with its folder in the user's caches: in `$FER_CACHE_DIR`, where that is set, and without a folder
    /// where it is empty; else in the folder `fer` of the system's place for caches.
    #[cfg(feature = "cuda")]
    pub fn of_user(collection: String) -> Self {
        let caches = caches(|name| std::env::var_os(name));
        Self { folder: caches.map(|caches| caches.join(file_name(&collection))), collection }
    }

    /// What was kept by this name. A file that cannot be read is as good as none.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let here = known().get(&self.key(name)).cloned();
        let bytes = here.or_else(|| self.read(name))?;
        serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::debug!("{}, {name}, is made again: {error}", self.collection))
            .ok()
    }

    /// Keeps a value by this name in the process, and in a file where `in_file` says so. Where that fails, one debug line says so:
    /// it is found out again then.
    pub fn put<T: Serialize>(&self, name: &str, value: &T, in_file: bool) {
        let bytes = match serde_json::to_vec(value) {
            Ok(bytes) => bytes,
            Err(error) => return tracing::debug!("{}, {name}, is not kept: {error}", self.collection),
        };
        if let Some(path) = self.path(name).filter(|_| in_file)
            && let Err(error) = fer_files::write(&path, &bytes)
        {
            tracing::debug!("{} is not kept: {error}", path.display());
        }
        known().insert(self.key(name), bytes);
    }

    fn key(&self, name: &str) -> [String; 2] {
        [self.collection.clone(), name.to_owned()]
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name)?;
        let not_there = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
        fs::read(&path)
            .inspect_err(|error| {
                if !not_there(error) {
                    tracing::debug!("{}: {error}", path.display());
                }
            })
            .ok()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.json", file_name(name))))
    }
}

/// Where caches are, by the environment.
fn caches(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(own) = variable("FER_CACHE_DIR") {
        return (!own.is_empty()).then(|| own.into());
    }
    let given = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_home = |below: &str| Some(given("HOME")?.join(below));
    let system = if cfg!(windows) {
        given("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        of_home("Library/Caches")
    } else {
        // As the XDG base directory specification says, a relative path is passed over.
        given("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| of_home(".cache"))
    };
    Some(system?.join("fer"))
}

/// A name as that of a file, whatever the system.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A collection, and the same in another process.
    fn two(collection: &str, folder: Option<PathBuf>) -> [Kept; 2] {
        [collection.to_owned(), format!("{collection}, again")]
            .map(|collection| Kept { collection, folder: folder.clone() })
    }

    #[test]
    fn values_come_back_and_broken_files_are_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, again] = two("files", Some(folder.path().join("NVIDIA-H100")));
        assert_eq!(kept.get::<u32>("forward of 3/4"), None);
        kept.put("forward of 3/4", &7_u32, true);
        let path = folder.path().join("NVIDIA-H100").join("forward-of-3-4.json");
        assert_eq!([&kept, &again].map(|kept| kept.get::<u32>("forward of 3/4")), [Some(7); 2]);
        fs::write(&path, "{").unwrap();
        assert_eq!([&kept, &again].map(|kept| kept.get::<u32>("forward of 3/4")), [Some(7), None]);
        kept.put("forward of 3/4", &8_u32, true);
        assert_eq!(again.get::<u32>("forward of 3/4"), Some(8));
    }

    #[test]
    fn the_process_keeps_what_is_in_no_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let below_a_file = file.path().join("below a file");
        let folder = tempfile::tempdir().unwrap();
        for (name, folder, in_file) in [
            ("no folder", None, true),
            ("no place", Some(below_a_file), true),
            ("not wanted", Some(folder.path().into()), false),
        ] {
            let [kept, again] = two(name, folder);
            kept.put("name", &7_u32, in_file);
            assert_eq!([kept, again].map(|kept| kept.get::<u32>("name")), [Some(7), None], "{name}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_environment_says_where() {
        let with = |set: &[(&str, &str)]| {
            caches(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value)))
        };
        let home = ("HOME", "/home/me");
        assert_eq!(with(&[home]), Some("/home/me/.cache/fer".into()));
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "/caches")]), Some("/caches/fer".into()));
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "caches")]), Some("/home/me/.cache/fer".into()));
        assert_eq!(with(&[home, ("FER_CACHE_DIR", "here")]), Some("here".into()));
        assert_eq!(with(&[home, ("FER_CACHE_DIR", "")]), None);
        assert_eq!(with(&[]), None);
    }
}
