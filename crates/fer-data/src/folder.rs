//! Reads folders of images: `train|test/<class>/*`, or the class folders alone.
//!
//! Rows are in the order of the folders' names and, in a folder, of the files' names. Colour is kept where that is asked
//! for, else converted to grey as [`image::DynamicImage::to_luma8`] does, and that is logged with the number of images. Hidden files are passed
//! over; other files whose names do not end as a picture's are counted in a warning.

use std::{
    collections::BTreeMap,
    fs, io, panic,
    path::{Path, PathBuf},
    thread,
};

use fer_picture::Decoder;
use image::{DynamicImage, imageops::FilterType};
use md5::{Digest, Md5};

use crate::{
    Classes, Dataset, EMOTIONS, Error, Problem, ReadConfig, Result, Shape, Source, Usage, classes::Naming,
    error::shorten, memory::log_conversion, size, source::hex,
};

/// Pixels of one picture, 240 MB in colour: every core holds one while it is resized. Telephones make up to 64 million, unless
/// asked for more.
const MAX_PIXELS: u64 = 80_000_000;

/// Reads and checks every image.
pub(crate) fn read(root: &Path, config: &ReadConfig) -> Result<Dataset> {
    let Found { files, left_out, numbered, classes } = Found::below(root, config)?;
    if !left_out.is_empty() {
        let endings: Vec<String> =
            left_out.iter().map(|(ending, files)| format!("{files} {ending}")).collect();
        let all: usize = left_out.values().sum();
        tracing::warn!(
            "{}: {all} files left out, whose names do not end as a picture's: {}",
            root.display(),
            endings.join(", ")
        );
    }
    if numbered && config.classes == Classes::Fer2013 {
        let codes: Vec<String> =
            (0..).zip(EMOTIONS).map(|(code, name): (u32, _)| format!("{code} {name}")).collect();
        tracing::warn!(
            "{}: folders that are numbers are taken for FER2013's codes ({}); name them by emotion where the numbers mean \
             something else, as in RAF-DB and AffectNet, or say the data set's classes",
            root.display(),
            codes.join(", ")
        );
    }
    let Some(first) = files.first() else {
        return Err(layout(root, format!("no picture ({})", fer_picture::ENDINGS.join(", "))));
    };
    let decoder =
        Decoder { allow_truncated: config.allow_truncated, max_pixels: MAX_PIXELS, ..Decoder::default() };
    let channels = if config.colour { 3 } else { 1 };
    let (width, height) = match config.size {
        Some(size) => (size.width.get(), size.height.get()),
        None => {
            let (first, _) = decode(&first.path, &decoder)?;
            (first.width(), first.height())
        }
    };
    let shape = Shape { channels, height: height as usize, width: width as usize };
    let mut pixels = vec![0; size::bytes(root, files.len(), shape)?];
    let (mut sums, mut coloured) = (Md5::new(), 0);
    let resized = config.size.is_some();
    let contents = decode_all(&files, shape, resized, &decoder, &mut pixels)?;
    for (file, Content { md5, is_colour }) in files.iter().zip(contents) {
        coloured += usize::from(is_colour);
        let name = file.path.strip_prefix(root).unwrap_or(&file.path).display().to_string();
        sums.update(format!("{md5}  {}\n", name.replace('\\', "/")));
    }
    if !config.colour {
        log_conversion(&root.display().to_string(), coloured, files.len());
    }
    let mut labels: Vec<u32> = files.iter().map(|file| file.label).collect();
    let vocabulary = classes.finish(&mut labels)?;
    let usages = files.iter().map(|file| file.usage).collect();
    Ok(Dataset::of(pixels, shape, Some((labels, vocabulary)), usages, Source::new(root, hex(sums))))
}

struct ImageFile {
    path: PathBuf,
    label: u32,
    usage: Option<Usage>,
}

impl ImageFile {
    fn problem(&self, problem: Problem) -> Error {
        Error::Image { path: self.path.clone(), problem }
    }
}

/// What is below a folder.
struct Found {
    /// The images in their order.
    files: Vec<ImageFile>,
    /// How many other files there are of each ending.
    left_out: BTreeMap<String, usize>,
    /// Whether classes are named by their codes.
    numbered: bool,
    classes: Naming,
}

impl Found {
    fn below(root: &Path, config: &ReadConfig) -> Result<Self> {
        let classes = Naming::of(&config.classes)?;
        let mut found = Self { files: Vec::new(), left_out: BTreeMap::new(), numbered: false, classes };
        let folders = entries(root)?;
        if !folders.iter().any(|(name, _)| Usage::of_folder(name).is_some()) {
            found.add_classes(root, None)?;
            return Ok(found);
        }
        for (name, path) in folders {
            if !path.is_dir() {
                found.leave_out(&path);
                continue;
            }
            let Some(usage) = Usage::of_folder(&name) else {
                return Err(layout(root, format!("a folder `{}`", shorten(&name))));
            };
            found.add_classes(&path, Some(usage))?;
        }
        Ok(found)
    }

    fn add_classes(&mut self, folder: &Path, usage: Option<Usage>) -> Result<()> {
        for (name, class) in entries(folder)? {
            if !class.is_dir() {
                self.leave_out(&class);
                continue;
            }
            let Some(label) = self.classes.label(&name) else {
                let found = format!("a folder `{}`", shorten(&name));
                return Err(Error::Folder {
                    path: folder.to_owned(),
                    found,
                    classes: self.classes.allowed(),
                });
            };
            self.numbered |= name.parse::<u32>().is_ok();
            for (name, path) in entries(&class)? {
                if path.is_dir() {
                    return Err(layout(&class, format!("a folder `{}`", shorten(&name))));
                } else if fer_picture::is_picture_name(&path) {
                    self.files.push(ImageFile { path, label, usage });
                } else {
                    self.leave_out(&path);
                }
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &Path) {
        let ending = path.extension().map(|ending| format!(".{}", shorten(&ending.to_string_lossy())));
        *self.left_out.entry(ending.unwrap_or_else(|| "without ending".to_owned())).or_default() += 1;
    }
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
    Error::Folder { path: path.to_owned(), found, classes: "named by the folders".to_owned() }
}

/// What is known of a file beside its pixels.
struct Content {
    md5: String,
    is_colour: bool,
}

/// Decodes all files into `pixels`, on all cores. Where `resized`, those of another size are brought to the shape's.
fn decode_all(
    files: &[ImageFile],
    shape: Shape,
    resized: bool,
    decoder: &Decoder,
    pixels: &mut [u8],
) -> Result<Vec<Content>> {
    let size = shape.values();
    let (width, height) = (shape.width as u32, shape.height as u32);
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = files.len().div_ceil(threads);
    let work = |files: &[ImageFile], pixels: &mut [u8]| -> Result<Vec<Content>> {
        let mut contents = Vec::with_capacity(files.len());
        for (file, pixels) in files.iter().zip(pixels.chunks_exact_mut(size)) {
            let (picture, content) = decode(&file.path, decoder)?;
            let found = (picture.width(), picture.height());
            if !resized && found != (width, height) {
                let allowed = format!("{width}×{height}, as the first image, or any where a size is given");
                let (width, height) = found;
                return Err(file.problem(Problem::ImageSize { width, height, allowed }));
            }
            let planes = fer_picture::planes(&picture, shape.channels, (width, height), FilterType::Triangle);
            pixels.copy_from_slice(&planes);
            contents.push(content);
        }
        Ok(contents)
    };
    thread::scope(|scope| {
        let shares = files.chunks(share).zip(pixels.chunks_mut(share * size));
        let workers: Vec<_> =
            shares.map(|(files, pixels)| scope.spawn(move || work(files, pixels))).collect();
        let mut contents = Vec::with_capacity(files.len());
        for worker in workers {
            contents.extend(worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))?);
        }
        Ok(contents)
    })
}

fn decode(path: &Path, decoder: &Decoder) -> Result<(DynamicImage, Content)> {
    let bytes = fer_picture::contents(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let image = decoder.decode(&bytes);
    let image = image.map_err(|problem| Error::Image { path: path.to_owned(), problem: problem.into() })?;
    let content = Content { md5: hex(Md5::new_with_prefix(&bytes)), is_colour: image.color().has_color() };
    Ok((image, content))
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};

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
        let greys: Vec<u8> = (0..5).map(|i| data.image(i)[(0, 1, 2)]).collect();
        assert_eq!(greys, [40, 50, 30, 20, 10]);
        assert_eq!(data.usage(0), Some(Usage::PrivateTest));
        assert_eq!(data.usage(4), Some(Usage::Training));
    }

    #[test]
    fn every_kind_of_picture_is_read_and_what_is_left_out_is_counted() {
        let root = tempfile::tempdir().unwrap();
        for (i, ending) in (0..).zip(fer_picture::ENDINGS) {
            let path = root.path().join("happy").join(format!("{i}.{ending}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_pixel(4, 4, Rgb([200; 3])).save(path).unwrap();
        }
        for left_out in ["notes.txt", "happy/Thumbs.db", "happy/a.heic", "happy/b.HEIC", "happy/LICENCE"] {
            fs::write(root.path().join(left_out), "").unwrap();
        }
        let found = Found::below(root.path(), &ReadConfig::default()).unwrap();
        let left_out: Vec<(&str, usize)> =
            found.left_out.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(left_out, [(".HEIC", 1), (".db", 1), (".heic", 1), (".txt", 1), ("without ending", 1)]);
        let data = Dataset::open(root.path()).unwrap();
        assert_eq!(data.len(), fer_picture::ENDINGS.len());
        assert!((0..data.len()).all(|i| data.image(i)[(0, 1, 1)].abs_diff(200) <= 2));
    }

    #[test]
    fn pictures_are_turned_cut_ones_refused_and_sizes_brought_to_one() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sad")).unwrap();
        let wide = root.path().join("sad/wide.jpg");
        GrayImage::from_fn(64, 32, |x, _| Luma([if x < 32 { 0 } else { 255 }])).save(&wide).unwrap();
        let mut jpeg = fs::read(&wide).unwrap();
        // EXIF orientation 6: a quarter clockwise.
        let exif =
            b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        jpeg.splice(2..2, exif.iter().copied());
        fs::write(&wide, &jpeg).unwrap();
        let open = |side, allow_truncated| {
            Dataset::open_with(
                root.path(),
                &ReadConfig {
                    size: std::num::NonZeroU32::new(side).map(crate::Size::square),
                    allow_truncated,
                    ..ReadConfig::default()
                },
            )
        };
        assert_eq!(open(0, false).unwrap().shape(), Shape { channels: 1, height: 64, width: 32 });
        let data = open(8, false).unwrap();
        assert_eq!(data.shape(), Shape::grey(8));
        assert!(data.image(0)[(0, 0, 4)] < 30 && data.image(0)[(0, 7, 4)] > 225);

        fs::write(&wide, &jpeg[..jpeg.len() - 4]).unwrap();
        let error = open(8, false).unwrap_err().to_string();
        assert!(error.ends_with("wide.jpg: the picture is cut off: the file is not complete"), "{error}");
        assert_eq!(open(8, true).unwrap().len(), 1);
    }

    #[test]
    fn a_small_file_that_claims_a_huge_picture_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("sad/0.jpg");
        fs::create_dir(root.path().join("sad")).unwrap();
        GrayImage::new(8, 8).save(&file).unwrap();
        let mut jpeg = fs::read(&file).unwrap();
        let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        for side in [frame + 5, frame + 7] {
            jpeg[side..side + 2].copy_from_slice(&9000_u16.to_be_bytes());
        }
        fs::write(&file, jpeg).unwrap();
        let size = Some("8".parse().unwrap());
        let config = ReadConfig { size, allow_truncated: true, ..ReadConfig::default() };
        let error = Dataset::open_with(root.path(), &config).unwrap_err().to_string();
        assert!(error.ends_with("0.jpg: a picture of 9000×9000; allowed: 80000000 pixels"), "{error}");
    }

    #[test]
    fn more_than_fits_is_refused_before_it_is_read() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sad")).unwrap();
        GrayImage::new(4000, 4000).save(root.path().join("sad/0.png")).unwrap();
        for i in 1..600 {
            fs::write(root.path().join(format!("sad/{i}.png")), "").unwrap();
        }
        let error = Dataset::open(root.path()).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "600 images of 4000×4000 grey pixels take 9.6 GB; allowed: 8.6 GB; a smaller size resizes them while they are read"
            ),
            "{error}"
        );
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
        assert!(
            error().contains(
                "found no picture (png, jpg, jpeg, bmp, gif, tif, tiff, webp); allowed: train/<class>"
            ),
            "{}",
            error()
        );
        save(root.path(), "train/happy/a.png", 1);
        fs::write(root.path().join("train/happy/b.png"), "no image").unwrap();
        assert!(error().contains("b.png: unknown bytes, no picture"), "{}", error());
        GrayImage::new(4, 5).save(root.path().join("train/happy/b.png")).unwrap();
        assert!(error().contains("b.png: an image of 4×5; allowed: 4×4, as the first image"), "{}", error());
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
