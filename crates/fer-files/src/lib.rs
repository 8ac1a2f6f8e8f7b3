#![doc = include_str!("../README.md")]

mod kind;
mod text;

pub use kind::Kind;
pub use text::{printable, printable_lines};

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes `contents` to the file at `path`, which is made or replaced; its folder is made when it is missing.
///
/// The bytes go to a temporary name in the same folder, are synced to the disk and renamed to `path`; on Unix the
/// folder is synced too, for the rename is on disk only then. A new file has the permissions that [`File::create`]
/// gives it, a replaced one keeps its own (Unix). A symbolic link is replaced, not followed.
///
/// # Errors
/// What the system says, without `path`. The file at `path` is then the old one, unless the folder could not be
/// synced. A process that is killed on the way leaves the temporary file, `.XXXXXX.partial`.
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let path = path.as_ref();
    if path.file_name().is_none() {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    // `Path::new("file").parent()` is the empty path, which means this folder but cannot be opened.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system takes the umask off, as it does for `File::create`.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.as_file_mut().write_all(contents.as_ref())?;
    if cfg!(unix)
        && let Ok(old) = fs::metadata(path)
        && old.is_file()
    {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    // Other systems cannot open folders.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file.txt");
        write(&path, "an older and longer text").unwrap();
        // Whoever has the file open goes on reading the old one.
        let mut reader = File::open(&path).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "an older and longer text");
        assert_eq!(names(path.parent().unwrap()), ["file.txt"]);
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        write(taken.join("file"), "old").unwrap();
        assert!(write(&taken, "new").is_err(), "a folder has the name");
        assert!(write(taken.join("file/below"), "new").is_err(), "a file is no folder");
        assert!(write(taken.join(".."), "new").is_err() && write("", "new").is_err(), "no name");
        assert_eq!(names(folder.path()), ["taken"]);
        assert_eq!(names(&taken), ["file"]);
        assert_eq!(fs::read(taken.join("file")).unwrap(), b"old");
    }

    #[test]
    fn a_name_alone_is_in_the_current_folder() {
        let name = format!("fer-files-{}.txt", std::process::id());
        write(&name, "here").unwrap();
        let found = std::env::current_dir().unwrap().join(&name);
        assert_eq!(fs::read(&found).unwrap(), b"here");
        fs::remove_file(found).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_the_usual_permissions_and_a_replaced_one_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode();
        File::create(folder.path().join("usual")).unwrap();
        write(folder.path().join("new"), "").unwrap();
        assert_eq!(mode("new"), mode("usual"));

        fs::set_permissions(folder.path().join("new"), fs::Permissions::from_mode(0o604)).unwrap();
        write(folder.path().join("new"), "again").unwrap();
        assert_eq!(mode("new") & 0o777, 0o604);
    }
}
