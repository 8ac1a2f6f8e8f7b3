//! Reads folders of images: `train|test/<class>/*.{png,jpg}`, or the class folders alone.
//!
//! Rows are in the order of the folders' names and, in a folder, of the files' names. Colour is converted to
//! grey as [`image::DynamicImage::to_luma8`] does, and that is logged with the number of images. Hidden files are passed over and so, with a warning, are
//! files that are neither PNG nor JPEG by their names.

use std::{
    fs, io, panic,
    path::{Path, PathBuf},
    thread,
};

use image::{GrayImage, ImageReader};
use md5::{Digest, Md5};

use crate::{
    Dataset, EMOTIONS, Error, Problem, Result, Source, Usage, emotion_code, error::shorten,
    memory::log_conversion, source::hex,
};

/// Reads and checks every image.
pub(crate) fn read(root: &Path) -> Result<Dataset> {
    let files = find(root)?;
    let Some(first) = files.first() else {
        return Err(layout(root, "no PNG or JPEG".to_owned()));
    };
    let (width, height) = decode(&first.path)?.grey.dimensions();
    if width != height {
        return Err(first.problem(Problem::ImageSize { width, height, allowed: "square images".to_owned() }));
    }
    let side = width as usize;
    let mut pixels = vec![0; files.len() * side * side];
    let (mut sums, mut coloured) = (Md5::new(), 0);
    for (file, Content { md5, is_colour }) in files.iter().zip(decode_all(&files, side, &mut pixels)?) {
        coloured += usize::from(is_colour);
        let name = file.path.strip_prefix(root).unwrap_or(&file.path).display().to_string();
        sums.update(format!("{md5}  {}\n", name.replace('\\', "/")));
    }
    log_conversion(&root.display().to_string(), coloured, files.len());
    let labels = files.iter().map(|file| file.label).collect();
    let usages = files.iter().map(|file| file.usage).collect();
    Ok(Dataset::of(pixels, side, Some(labels), usages, Source::new(root, hex(sums))))
}

struct ImageFile {
    path: PathBuf,
    label: u8,
    usage: Option<Usage>,
}

impl ImageFile {
    fn problem(&self, problem: Problem) -> Error {
        Error::Image { path: self.path.clone(), problem }
    }
}

/// The images below `root` in their order.
fn find(root: &Path) -> Result<Vec<ImageFile>> {
    let mut files = Vec::new();
    let folders = entries(root)?;
    if !folders.iter().any(|(name, _)| Usage::of_folder(name).is_some()) {
        find_classes(root, None, &mut files)?;
        return Ok(files);
    }
    for (name, path) in folders.into_iter().filter(|(_, path)| path.is_dir()) {
        let Some(usage) = Usage::of_folder(&name) else {
            return Err(layout(root, format!("a folder `{}`", shorten(&name))));
        };
        find_classes(&path, Some(usage), &mut files)?;
    }
    Ok(files)
}

fn find_classes(folder: &Path, usage: Option<Usage>, files: &mut Vec<ImageFile>) -> Result<()> {
    for (name, class) in entries(folder)?.into_iter().filter(|(_, path)| path.is_dir()) {
        let label = emotion_code(&name).filter(|label| usize::from(*label) < EMOTIONS.len());
        let Some(label) = label else {
            return Err(layout(folder, format!("a folder `{}`", shorten(&name))));
        };
        for (name, path) in entries(&class)? {
            let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
            if path.is_dir() {
                return Err(layout(&class, format!("a folder `{}`", shorten(&name))));
            } else if extension.is_some_and(|known| known == "png" || known == "jpg" || known == "jpeg") {
                files.push(ImageFile { path, label, usage });
            } else {
                tracing::warn!("{}: neither .png nor .jpg: passed over", path.display());
            }
        }
    }
    Ok(())
}

/// What a folder holds, hidden entries excepted, by name.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let read = || -> io::Result<Vec<_>> {
        let named = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
        fs::read_dir(folder)?.map(|entry| Ok(named(entry?))).collect()
    };
    let mut entries = read().map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    entries.retain(|(name, _)| !name.starts_with('.'));
    entries.sort();
    Ok(entries)
}

fn layout(path: &Path, found: String) -> Error {
    Error::Folder { path: path.to_owned(), found }
}

/// What is known of a file beside its pixels.
struct Content {
    md5: String,
    is_colour: bool,
}

struct Decoded {
    grey: GrayImage,
    content: Content,
}

/// Decodes all files into `pixels`, on all cores.
fn decode_all(files: &[ImageFile], side: usize, pixels: &mut [u8]) -> Result<Vec<Content>> {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = files.len().div_ceil(threads);
    let work = |files: &[ImageFile], pixels: &mut [u8]| -> Result<Vec<Content>> {
        let mut contents = Vec::with_capacity(files.len());
        for (file, pixels) in files.iter().zip(pixels.chunks_exact_mut(side * side)) {
            let Decoded { grey, content } = decode(&file.path)?;
            let (width, height) = grey.dimensions();
            if (width as usize, height as usize) != (side, side) {
                let allowed = format!("{side}×{side}, as the first image");
                return Err(file.problem(Problem::ImageSize { width, height, allowed }));
            }
            pixels.copy_from_slice(grey.as_raw());
            contents.push(content);
        }
        Ok(contents)
    };
    thread::scope(|scope| {
        let shares = files.chunks(share).zip(pixels.chunks_mut(share * side * side));
        let workers: Vec<_> =
            shares.map(|(files, pixels)| scope.spawn(move || work(files, pixels))).collect();
        let mut contents = Vec::with_capacity(files.len());
        for worker in workers {
            contents.extend(worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))?);
        }
        Ok(contents)
    })
}

fn decode(path: &Path) -> Result<Decoded> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    // The content decides: files named .jpg that hold a PNG are common.
    let image = ImageReader::new(io::Cursor::new(&bytes)).with_guessed_format();
    let image = image.map_err(image::ImageError::IoError).and_then(ImageReader::decode);
    let image =
        image.map_err(|error| Error::Image { path: path.to_owned(), problem: Problem::Decode(error) })?;
    let content = Content { md5: hex(Md5::new_with_prefix(&bytes)), is_colour: image.color().has_color() };
    Ok(Decoded { grey: image.into_luma8(), content })
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb, RgbImage};

    use super::*;

    fn save(root: &Path, name: &str, grey: u8) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(4, 4, Luma([grey])).save(path).unwrap();
    }

    #[test]
    fn usages_and_classes_are_read_in_their_usual_spellings() {
        let root = tempfile::tempdir().unwrap();
        save(root.path(), "train/happy/b.png", 10);
        save(root.path(), "train/happy/a.png", 20);
        save(root.path(), "train/Angry/0.png", 30);
        save(root.path(), "test/sadness/x.png", 40);
        RgbImage::from_pixel(4, 4, Rgb([50; 3])).save(root.path().join("test/sadness/y.JPG")).unwrap();
        fs::write(root.path().join("train/.DS_Store"), "").unwrap();
        fs::write(root.path().join("train/happy/Thumbs.db"), "").unwrap();

        let data = Dataset::open(root.path()).unwrap();
        assert_eq!(data.labels(), Some(&[4, 4, 0, 3, 3][..]));
        let greys: Vec<u8> = (0..5).map(|i| data.image(i)[(1, 2)]).collect();
        assert_eq!(greys, [40, 50, 30, 20, 10]);
        assert_eq!(data.usage(0), Some(Usage::PrivateTest));
        assert_eq!(data.usage(4), Some(Usage::Training));
    }

    #[test]
    fn class_folders_alone_have_no_usage() {
        let root = tempfile::tempdir().unwrap();
        save(root.path(), "3/a.png", 1);
        save(root.path(), "surprised/a.png", 2);
        let data = Dataset::open(root.path()).unwrap();
        assert_eq!((data.labels(), data.usage(0)), (Some(&[3, 5][..]), None));
    }

    #[test]
    fn what_is_no_class_and_no_image_is_an_error_with_its_name() {
        let root = tempfile::tempdir().unwrap();
        let error = || Dataset::open(root.path()).unwrap_err().to_string();
        assert!(error().contains("found no PNG or JPEG; allowed: train/<class>"), "{}", error());
        save(root.path(), "train/happy/a.png", 1);
        fs::write(root.path().join("train/happy/b.png"), "no image").unwrap();
        assert!(error().contains("b.png: no image: "), "{}", error());
        GrayImage::new(4, 5).save(root.path().join("train/happy/b.png")).unwrap();
        assert!(error().contains("b.png: an image of 4×5; allowed: 4×4"), "{}", error());
        save(root.path(), "tset/sad/a.png", 1);
        assert!(error().contains("found a folder `tset`"), "{}", error());
        save(root.path(), "train/contempt/a.png", 1);
        assert!(error().contains("train: found a folder `contempt`"), "{}", error());
        save(root.path(), "train/bored/a.png", 1);
        assert!(error().contains("train: found a folder `bored`"), "{}", error());
    }

    #[test]
    fn the_md5_is_that_of_md5sums_output() {
        let root = tempfile::tempdir().unwrap();
        save(root.path(), "sad/a.png", 1);
        save(root.path(), "sad/b.png", 2);
        let mut printed = String::new();
        for name in ["sad/a.png", "sad/b.png"] {
            let sum = hex(Md5::new_with_prefix(fs::read(root.path().join(name)).unwrap()));
            printed += &format!("{sum}  {name}\n");
        }
        let data = Dataset::open(root.path()).unwrap();
        assert_eq!(data.source().md5, hex(Md5::new_with_prefix(printed)));
    }
}
