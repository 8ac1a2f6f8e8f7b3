//! What was found out about a card, kept in files, so that the next process need not find it out again.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A folder of small JSON files.
pub(super) struct Kept {
    /// None where nothing is to be kept.
    folder: Option<PathBuf>,
}

impl Kept {
    /// The folder `name` in the user's caches: in `$FER_CACHE_DIR`, where that is set, and none where it is empty; else in the
    /// folder `fer` of the system's place for caches.
    #[cfg(feature = "cuda")]
    pub fn of_user(name: &str) -> Self {
        Self { folder: caches(|name| std::env::var_os(name)).map(|caches| caches.join(file_name(name))) }
    }

    /// What was kept by this name. A file that cannot be read is as good as none.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.path(name)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::debug!("{}: {error}", path.display());
                }
                return None;
            }
        };
        serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::debug!("{} is made again: {error}", path.display()))
            .ok()
    }

    /// Keeps a value by this name. Where that fails, one debug line says so: it is found out again then.
    pub fn put<T: Serialize>(&self, name: &str, value: &T) {
        let Some(path) = self.path(name) else { return };
        let written =
            serde_json::to_vec(value).map_err(Into::into).and_then(|bytes| fer_files::write(&path, bytes));
        if let Err(error) = written {
            tracing::debug!("{} is not kept: {error}", path.display());
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let folder: &Path = self.folder.as_deref()?;
        Some(folder.join(format!("{}.json", file_name(name))))
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

    #[test]
    fn values_come_back_and_broken_files_are_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept { folder: Some(folder.path().join("NVIDIA-H100")) };
        assert_eq!(kept.get::<u32>("forward of 3/4"), None);
        kept.put("forward of 3/4", &7_u32);
        assert_eq!(kept.get::<u32>("forward of 3/4"), Some(7));
        let path = folder.path().join("NVIDIA-H100").join("forward-of-3-4.json");
        fs::write(&path, "{").unwrap();
        assert_eq!(kept.get::<u32>("forward of 3/4"), None);
        kept.put("forward of 3/4", &8_u32);
        assert_eq!(kept.get::<u32>("forward of 3/4"), Some(8));
    }

    #[test]
    fn nothing_is_kept_without_a_folder_or_where_none_can_be_made() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for folder in [None, Some(file.path().join("below a file"))] {
            let kept = Kept { folder };
            kept.put("name", &7_u32);
            assert_eq!(kept.get::<u32>("name"), None);
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
