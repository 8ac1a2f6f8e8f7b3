//! The pictures that a command line names.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fer::picture::{ENDINGS, is_picture_name};
use walkdir::WalkDir;

/// What a command line names.
#[derive(Debug, Default)]
pub struct Sources {
    /// The pictures, in order: a folder's by name.
    pub pictures: Vec<PathBuf>,
    /// Files in folders that are left out, since their name does not end as a picture's.
    pub left_out: usize,
    /// What could not be looked into, or holds no picture, with the reason.
    pub failed: Vec<(PathBuf, String)>,
}

/// The files among `paths`, and the pictures in and below the folders among them. Links are followed.
pub fn sources(paths: &[PathBuf]) -> Sources {
    let mut all = Sources::default();
    for path in paths {
        if path.is_dir() { all.add_folder(path) } else { all.pictures.push(path.clone()) }
    }
    all
}

impl Sources {
    fn add_folder(&mut self, folder: &Path) {
        let (before, left_out) = (self.pictures.len(), self.left_out);
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) if is_picture_name(entry.path()) => self.pictures.push(entry.into_path()),
                Ok(_) => self.left_out += 1,
                Err(e) => {
                    let at = e.path().unwrap_or(folder).to_owned();
                    self.failed.push((at, e.to_string()));
                }
            }
        }
        if self.pictures.len() == before {
            let reason = match self.left_out - left_out {
                0 => "no pictures in this folder".to_owned(),
                other => format!("no pictures in this folder, {other} other files; {}", ENDINGS.join(", ")),
            };
            self.failed.push((folder.to_owned(), reason));
        }
    }
}

/// Names in a folder for what is made of pictures: `photo.jpg` becomes `photo.faces.png`, the next `photo` `photo.faces-2.png`.
#[derive(Debug, Default)]
pub struct DrawnNames(HashSet<PathBuf>);

impl DrawnNames {
    pub fn of(&mut self, picture: &Path) -> PathBuf {
        let stem = picture.file_stem().unwrap_or(OsStr::new("picture"));
        let name = |ending: String| {
            let mut name = stem.to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let mut names = std::iter::once(name(".faces.png".into()))
            .chain((2_u64..).map(|n| name(format!(".faces-{n}.png"))));
        let free = names.find(|name| self.0.insert(name.clone()));
        free.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_and_what_is_left_out_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let expected = [file("a/2.JPG"), file("a/b/1.webp"), file("z.png")];
        file("notes.txt");
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let found = sources(&[folder.path().to_owned(), empty.clone(), "missing.png".into()]);
        assert_eq!(found.pictures[..3], expected);
        assert_eq!(found.pictures[3], Path::new("missing.png"));
        assert_eq!((found.left_out, found.failed.len(), &found.failed[0].0), (1, 1, &empty));
    }

    #[test]
    fn drawn_names_do_not_meet() {
        let mut names = DrawnNames::default();
        assert_eq!(names.of(Path::new("x/a.png")), Path::new("a.faces.png"));
        assert_eq!(names.of(Path::new("y/a.jpg")), Path::new("a.faces-2.png"));
    }
}
