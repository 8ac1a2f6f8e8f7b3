//! Data that is in memory already: in colour or converted to grey with a word on it, and brought to one size.

use std::{
    fmt::{Debug, Write},
    fs,
    sync::{Arc, Mutex},
};

use fer_data::{Dataset, ReadConfig, Usage};
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage, imageops};
use ndarray::{Array4, Axis};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Keeps every message.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// What is said while `work` runs, but for the line on what was read.
fn said<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let log = Log::default();
    let made = tracing::subscriber::with_default(log.clone(), work);
    let messages = log.0.lock().unwrap().iter().filter(|message| *message != "read").cloned().collect();
    (made, messages)
}

/// Squares of one tone, 10 for the first.
fn colours(n: u8, side: u32) -> impl Iterator<Item = (DynamicImage, u32)> {
    (1..=n).map(move |i| (RgbImage::from_pixel(side, side, Rgb([10 * i; 3])).into(), u32::from(i % 7)))
}

#[test]
fn images_of_any_kind_become_grey_and_that_is_said_once() {
    let grey = GrayImage::from_fn(6, 6, |x, y| Luma([(40 * x + y) as u8]));
    let alpha = RgbaImage::from_pixel(6, 6, Rgba([200, 100, 50, 10]));
    let images = colours(3, 6).chain([(grey.clone().into(), 6), (alpha.into(), 0)]);
    let (data, said) = said(|| Dataset::from_images(images, None).unwrap());
    assert_eq!(said, ["memory: 4 of 5 images in colour, converted to grey"]);
    assert_eq!((data.len(), data.shape().to_string()), (5, "6×6 grey".to_owned()));
    assert_eq!(data.labels(), Some(&[1, 2, 3, 6, 0][..]));
    assert_eq!([0, 1, 2].map(|i| data.image(i)[(0, 3, 5)]), [10, 20, 30]);
    assert!(data.image(3).iter().eq(grey.as_raw()));
    let luma = 0.2126 * 200.0 + 0.7152 * 100.0 + 0.0722 * 50.0_f32;
    assert!((f32::from(data.image(4)[(0, 0, 0)]) - luma).abs() <= 1.0);
    assert_eq!(data.targets().dim(), (5, 5));
}

#[test]
fn nothing_is_said_of_grey_images() {
    let images = [(DynamicImage::new_luma8(4, 4), 3), (DynamicImage::new_luma16(4, 4), 4)];
    let (data, said) = said(|| Dataset::from_images(images, None).unwrap());
    assert_eq!((data.len(), said), (2, vec![]));
}

#[test]
fn with_a_size_images_of_any_other_are_resized() {
    let small = GrayImage::from_fn(5, 9, |x, y| Luma([(20 * x + 11 * y) as u8]));
    let images = colours(1, 100).chain([(small.clone().into(), 6), (DynamicImage::new_luma8(8, 8), 3)]);
    let data = Dataset::from_images(images, Some("8x6".parse().unwrap())).unwrap();
    assert_eq!((data.len(), data.image(0).dim()), (3, (1, 6, 8)));
    assert!(data.image(0).iter().all(|tone| *tone == 10));
    let resized = imageops::resize(&small, 8, 6, imageops::FilterType::Triangle);
    assert!(data.image(1).iter().eq(resized.as_raw()));
}

#[test]
fn images_that_do_not_fit_are_named() {
    let error = |sizes: &[(u32, u32)], size| {
        let images = sizes.iter().map(|&(width, height)| (DynamicImage::new_luma8(width, height), 3));
        Dataset::from_images(images, size).unwrap_err().to_string()
    };
    assert_eq!(
        error(&[(4, 4), (4, 5)], None),
        "images is 4×5 at position 1; allowed: 4×4, as the first image, or any with a size"
    );
    for size in [None, Some("4".parse().unwrap())] {
        assert_eq!(error(&[(0, 4)], size), "images is 0×4 at position 0; allowed: at least one pixel");
        assert_eq!(error(&[], size), "memory: no image");
    }
    let beyond = Dataset::from_images([(DynamicImage::new_luma8(4, 4), 7)], None).unwrap();
    assert_eq!(beyond.encoder().names(), ["class_7"], "no emotion of FER2013");
}

#[test]
fn an_array_of_colour_keeps_it_or_becomes_grey_as_images_do() {
    let images = Array4::from_shape_fn((3, 4, 5, 3), |(n, y, x, c)| (50 * n + 16 * y + 5 * x + 20 * c) as u8);
    let usages = Some(vec![Usage::Training; 3]);
    let (data, messages) =
        said(|| Dataset::from_colour(images.clone(), Some(vec![3, 4, 6]), usages).unwrap());
    assert_eq!((data.len(), data.usage(2), messages), (3, Some(Usage::Training), vec![]));
    assert_eq!(data.shape().to_string(), "5×4 colour");
    assert!(data.image(2).indexed_iter().all(|((c, y, x), &value)| value == images[(2, y, x, c)]));
    let one = |n: usize| {
        let pixels = images.index_axis(Axis(0), n).iter().copied().collect();
        DynamicImage::from(RgbImage::from_raw(5, 4, pixels).unwrap())
    };
    assert!((0..3).all(|i| data.picture(i) == one(i)));
    let pictures = || (0..3).map(|n| (one(n), 3));
    let same = Dataset::from_colour_images(pictures(), None).unwrap();
    assert!((0..3).all(|i| data.image(i) == same.image(i)));
    let (grey, converted) = (Dataset::from_images(pictures(), None).unwrap(), data.in_grey());
    assert!((0..3).all(|i| converted.image(i) == grey.image(i) && converted.picture(i) == grey.picture(i)));
    assert_eq!((converted.labels(), converted.usage(2)), (data.labels(), data.usage(2)));
    let back = converted.subset(&[2, 0]).unwrap().in_colour();
    assert_eq!(back.rows(), [2, 0]);
    assert!(back.image(0).outer_iter().all(|plane| plane == converted.image(2).index_axis(Axis(0), 0)));

    // The layout in memory does not matter.
    let turned = images.clone().reversed_axes().as_standard_layout().into_owned().reversed_axes();
    assert!(!turned.is_standard_layout());
    let turned = Dataset::from_colour(turned, None, None).unwrap();
    assert!((0..3).all(|i| turned.image(i) == same.image(i)));
    assert_eq!(turned.labels(), None);

    let error = |shape| Dataset::from_colour(Array4::zeros(shape), None, None).unwrap_err().to_string();
    assert_eq!(
        error((2, 4, 4, 1)),
        "images is 2×4×4×1; allowed: images × height × width × 3: red, green, blue"
    );
    assert_eq!(error((2, 0, 4, 3)), "images is 0×4; allowed: 1 to 2³² − 1 pixels each way");
}

#[test]
fn a_folder_with_colour_says_so_once_or_keeps_it() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("happy")).unwrap();
    let save = |name, image: DynamicImage| image.save(root.path().join("happy").join(name)).unwrap();
    save("a.png", DynamicImage::new_luma8(4, 4));
    save("b.png", RgbImage::from_pixel(4, 4, Rgb([200, 100, 0])).into());
    save("c.png", DynamicImage::new_rgba8(4, 4));
    let (data, said) = said(|| Dataset::open(root.path()).unwrap());
    assert_eq!(data.len(), 3);
    let expected = format!("{}: 2 of 3 images in colour, converted to grey", root.path().display());
    assert_eq!(said, [expected]);

    let config = ReadConfig { colour: true, ..ReadConfig::default() };
    let (data, said) = self::said(|| Dataset::open_with(root.path(), &config).unwrap());
    assert_eq!((data.shape().channels, said), (3, vec![]));
    assert_eq!([0, 1, 2].map(|channel| data.image(1)[(channel, 3, 2)]), [200, 100, 0]);
    // Of one colour in every pixel, as the two without any.
    assert_eq!(data.without_constant().1, 3);
}

#[test]
fn what_a_folder_is_taken_for_is_said() {
    let root = tempfile::tempdir().unwrap();
    for class in ["3", "6"] {
        fs::create_dir(root.path().join(class)).unwrap();
        DynamicImage::new_luma8(4, 4).save(root.path().join(class).join("a.png")).unwrap();
    }
    fs::write(root.path().join("3/notes.txt"), "").unwrap();
    let (data, said) = said(|| Dataset::open(root.path()).unwrap());
    assert_eq!(data.labels(), Some(&[3, 6][..]));
    let root = root.path().display();
    assert_eq!(said[0], format!("{root}: 1 files left out, whose names do not end as a picture's: 1 .txt"));
    let codes = "0 anger, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral";
    let numbers = format!("{root}: folders that are numbers are taken for FER2013's codes ({codes}); ");
    assert!(said[1].starts_with(&numbers), "{}", said[1]);
    assert_eq!(said.len(), 2);
}
