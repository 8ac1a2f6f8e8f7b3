//! Every figure, over ordinary and over odd data: both files are there, read back and have the size they say.

use std::fs;

use fer_metrics::{ConfusionMatrix, EpochLog, History};
use fer_plot::{
    Error, Figure, Prediction, class_counts, confusion_matrix, epoch_history, learning_rates, page,
    performance_dist, sample_grid, sample_predictions,
};
use image::GenericImageView;
use ndarray::{Array2, Array3, array};

const EMOTIONS: [&str; 7] = ["anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
const AWKWARD: [&str; 7] = [
    "",
    "<b>&\"quoted\"</b>",
    "a name that is much longer than a bar is wide",
    "喜び",
    "\u{7}bell",
    "π",
    "ß",
];

fn history(epochs: usize) -> History {
    let log = |epoch: usize| {
        let done = 1.0 - 1.0 / epoch as f64;
        EpochLog {
            epoch,
            loss: 1.3 - done,
            accuracy: 0.4 + 0.5 * done,
            val_loss: Some(1.1 - 0.7 * done),
            val_accuracy: Some(0.5 + 0.3 * done),
            learning_rate: 1e-3,
            seconds: 10.0,
            metrics: Default::default(),
        }
    };
    History { epochs: (1..=epochs).map(log).collect() }
}

fn gradient(rows: usize, columns: usize) -> Array3<u8> {
    Array3::from_shape_fn((1, rows, columns), |(_, row, column)| (row * 3 + column * 2) as u8)
}

fn matrix(classes: usize) -> ConfusionMatrix {
    let count = |(row, column)| if row == column { 900 } else { (row * 5 + column * 3) as u64 };
    ConfusionMatrix::from_counts(Array2::from_shape_fn((classes, classes), count)).unwrap()
}

fn predictions(image: &Array3<u8>, count: usize) -> Vec<Prediction<'_>> {
    let predicted = |index: usize| if index % 4 == 1 { "happy" } else { "sad" };
    (0..count).map(|i| Prediction { image: image.view(), truth: "sad", predicted: predicted(i) }).collect()
}

/// Saves the figure and checks what came out.
#[track_caller]
fn check(figure: Figure, width: u32, height: u32) {
    let folder = tempfile::tempdir().unwrap();
    // A dot in the stem is part of it.
    let stem = folder.path().join("figure_v1.0");
    figure.save(&stem).unwrap();
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["figure_v1.0.png", "figure_v1.0.svg"]);

    let svg = fs::read_to_string(folder.path().join("figure_v1.0.svg")).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "svg");
    assert_eq!(
        [root.attribute("width"), root.attribute("height")],
        [Some(width.to_string().as_str()), Some(height.to_string().as_str())]
    );
    assert!(!svg.contains("<text") && !svg.contains("NaN") && !svg.contains("inf"), "text as outlines alone");

    let png = image::open(folder.path().join("figure_v1.0.png")).unwrap();
    assert_eq!(png.dimensions(), (2 * width, 2 * height));
    // Neither empty nor touching its edge.
    let ink = |(x, y, color): (u32, u32, image::Rgba<u8>)| (color.0[0] < 128).then_some((x, y));
    let places: Vec<(u32, u32)> = png.pixels().filter_map(ink).collect();
    assert!(places.len() > 100, "{} dark pixels", places.len());
    assert!(places.iter().all(|&(x, y)| x > 3 && y > 3 && x < 2 * width - 4 && y < 2 * height - 4));
}

/// The texts that the figure spells, in the order drawn.
fn texts(figure: &Figure) -> Vec<String> {
    let svg = figure.to_svg().unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    document.descendants().filter_map(|node| node.attribute("aria-label").map(str::to_owned)).collect()
}

#[test]
fn class_counts_are_bars_with_names_and_numbers() {
    let counts = [4953, 547, 5121, 8989, 6077, 4002, 6198];
    let figure = class_counts(&EMOTIONS.into_iter().zip(counts).collect::<Vec<_>>()).unwrap();
    let texts = texts(&figure);
    for text in ["Images per class", "class", "images", "anger", "neutral", "547", "8,989"] {
        assert!(texts.iter().any(|found| found == text), "{text} in {texts:?}");
    }
    check(figure, 730, 415);
    check(class_counts(&[("none", 0), ("one", 1)]).unwrap(), 440, 415);
    check(class_counts(&[("all", u64::MAX)]).unwrap(), 440, 415);
    check(class_counts(&AWKWARD.into_iter().zip(counts).collect::<Vec<_>>()).unwrap(), 730, 515);
}

#[test]
fn epoch_history_shows_any_number_of_epochs() {
    for epochs in [1, 2, 3, 57, 100, 1000] {
        check(epoch_history(&history(epochs)).unwrap(), 1200, 400);
    }
    let texts = texts(&epoch_history(&history(57)).unwrap());
    for text in ["Accuracy", "Loss", "train", "valid", "epoch", "accuracy", "loss", "10", "50"] {
        assert!(texts.iter().any(|found| found == text), "{text} in {texts:?}");
    }
}

#[test]
fn metrics_of_ones_own_have_charts_of_their_own() {
    let mut own = history(12);
    for log in &mut own.epochs {
        log.metrics = [("f1".into(), log.accuracy - 0.1), ("val_f1".into(), log.accuracy)].into();
    }
    let (lines, violins) = (epoch_history(&own).unwrap(), performance_dist(&own).unwrap());
    for figure in [&lines, &violins] {
        // The chart's title, and the name of its axis.
        assert_eq!(texts(figure).iter().filter(|text| *text == "f1").count(), 2);
    }
    check(lines, 1800, 400);
    check(violins, 2100, 400);
}

#[test]
fn values_that_are_not_finite_leave_gaps() {
    let mut odd = history(20);
    odd.epochs[4].loss = f64::NAN;
    odd.epochs[6].loss = f64::INFINITY;
    odd.epochs[8].val_loss = Some(f64::MAX);
    odd.epochs.iter_mut().for_each(|log| log.val_accuracy = None);
    check(epoch_history(&odd).unwrap(), 1200, 400);
    check(performance_dist(&odd).unwrap(), 1400, 400);
    odd.epochs.iter_mut().for_each(|log| log.loss = f64::NAN);
    check(epoch_history(&odd).unwrap(), 1200, 400);
    check(performance_dist(&odd).unwrap(), 1400, 400);
}

#[test]
fn performance_dist_shows_any_number_of_epochs() {
    for epochs in [1, 2, 57] {
        check(performance_dist(&history(epochs)).unwrap(), 1400, 400);
    }
    let mut constant = history(9);
    constant.epochs.iter_mut().for_each(|log| log.loss = 0.5);
    check(performance_dist(&constant).unwrap(), 1400, 400);
}

#[test]
fn confusion_matrix_shows_counts_and_percent_of_the_row() {
    let figure = confusion_matrix(&matrix(3), &["happy", "sad", "neutral"]).unwrap();
    let texts = texts(&figure);
    for text in [
        "Confusion matrix",
        "true class",
        "predicted class",
        "sad",
        "900",
        "99.0 %",
        "2,700 of 2,748 right: 98.3 %",
    ] {
        assert!(texts.iter().any(|found| found == text), "{text} in {texts:?}");
    }
    let (width, height) = (figure.width(), figure.height());
    check(figure, width, height);
    for classes in [1, 2, 7] {
        let figure = confusion_matrix(&matrix(classes), &AWKWARD[..classes]).unwrap();
        let (width, height) = (figure.width(), figure.height());
        check(figure, width, height);
    }
    let names: Vec<String> = (0..40).map(|class| format!("class number {class}")).collect();
    let figure = confusion_matrix(&matrix(40), &names).unwrap();
    let (width, height) = (figure.width(), figure.height());
    check(figure, width, height);
}

#[test]
fn the_sample_grid_walks_one_running_index() {
    let labels: Vec<usize> = (0..3 * 30).map(|index| index % 3).collect();
    let asked = std::cell::RefCell::new(Vec::new());
    let image = gradient(48, 48);
    let figure = sample_grid(&labels, &EMOTIONS, |index| {
        asked.borrow_mut().push(index);
        image.view()
    });
    // The class c shows its images 7c to 7c + 6, and the image n of the class c is the row 3n + c.
    let expected: Vec<usize> = (0..21).map(|k| 3 * k + k / 7).collect();
    assert_eq!(*asked.borrow(), expected);
    let figure = figure.unwrap();
    assert_eq!(texts(&figure), ["anger", "disgust", "fear"].map(|name| [name; 7]).concat());
    check(figure, 812, 401);
}

#[test]
fn classes_with_few_images_show_what_they_have() {
    let image = gradient(30, 70);
    let labels = [6, 6, 1, 6];
    let figure = sample_grid(&labels, &AWKWARD, |_| image.view()).unwrap();
    assert_eq!(figure.to_svg().unwrap().matches("<image").count(), 4);
    check(figure, 812, 272);
}

#[test]
fn learning_rates_are_powers_and_pages_hold_figures() {
    let loss = |i: i32| 2.0 - f64::from((i - 20).clamp(0, 30)) / 20.0 + f64::from((i - 60).max(0)) / 10.0;
    let curve: Vec<(f32, f64)> = (0..80).map(|i| (1e-7 * 1.26_f32.powi(i), loss(i))).collect();
    let rates = learning_rates(&curve, Some(curve[40].0)).unwrap();
    let found = texts(&rates);
    for text in ["learning rate", "smoothed loss", "1e-6", "1e-2", "1.0e-3"] {
        assert!(found.iter().any(|found| found == text), "{text} in {found:?}");
    }
    let figures =
        [rates, class_counts(&[("none", 0), ("one", 1)]).unwrap(), epoch_history(&history(5)).unwrap()];
    let both = page(&figures, 2).unwrap();
    let all: Vec<String> = figures.iter().flat_map(texts).collect();
    assert_eq!(texts(&both), all);
    let [rates, _, _] = figures;
    check(rates, 720, 420);
    check(both, 1200 + 440, 420 + 400);
    assert!(matches!(learning_rates(&[(0.0, 1.0)], None), Err(Error::Empty { .. })));
    assert!(matches!(page(&[], 2), Err(Error::Empty { .. })));
}

#[test]
fn colours_are_shown() {
    let red = Array3::from_shape_fn((3, 4, 8), |(channel, ..)| if channel == 0 { 230 } else { 20 });
    let figure = sample_grid(&[0], &EMOTIONS, |_| red.view()).unwrap();
    let png = image::load_from_memory(&figure.to_png().unwrap()).unwrap();
    let shown = png.pixels().filter(|(_, _, color)| color.0[..3] == [230, 20, 20]).count();
    // Twice as wide as high, over the width of a face; its edges are smoothed.
    assert!(shown.abs_diff(192 * 96) < 700, "{shown}");
    check(figure, 812, 143);
}

#[test]
fn wrong_predictions_are_marked() {
    let image = gradient(48, 48);
    let figure = sample_predictions(&predictions(&image, 18), 9).unwrap();
    assert_eq!(texts(&figure)[..4], ["true: sad", "pred: sad", "true: sad", "pred: happy"]);
    // The indices 1, 5, 9, 13 and 17 are wrong: a text and a frame each.
    assert_eq!(figure.to_svg().unwrap().matches("#cd4600").count(), 10);
    check(figure, 1036, 306);
    check(sample_predictions(&predictions(&image, 1), 9).unwrap(), 140, 160);
}

#[test]
fn a_figure_is_the_same_bytes_each_time() {
    let image = gradient(48, 48);
    let draw = || {
        [
            class_counts(&[("happy", 3), ("sad", 1)]).unwrap(),
            epoch_history(&history(12)).unwrap(),
            performance_dist(&history(12)).unwrap(),
            confusion_matrix(&matrix(3), &EMOTIONS[..3]).unwrap(),
            sample_grid(&[0, 1], &EMOTIONS, |_| image.view()).unwrap(),
            sample_predictions(&predictions(&image, 3), 9).unwrap(),
        ]
        .map(|figure| (figure.to_svg().unwrap(), figure.to_png().unwrap()))
    };
    assert!(draw() == draw());
}

#[test]
fn data_that_shows_nothing_is_an_error() {
    let image = gradient(48, 48);
    let (flat, none): (_, &[&str]) = (Array3::zeros((1, 48, 0)), &[]);
    let empty = |figure: Result<Figure, Error>| matches!(figure, Err(Error::Empty { .. }));
    assert!(empty(class_counts::<&str>(&[])));
    assert!(empty(epoch_history(&history(0))));
    assert!(empty(performance_dist(&history(0))));
    assert!(empty(sample_grid(&[], none, |_| image.view())));
    assert!(empty(sample_predictions(&[], 9)));
    assert!(empty(sample_predictions(&predictions(&image, 2), 0)));

    let two = ConfusionMatrix::from_counts(array![[1, 0], [0, 1]]).unwrap();
    for names in [none, &["one"], &["one", "two", "three"]] {
        assert!(matches!(confusion_matrix(&two, names), Err(Error::Name { .. })));
    }
    assert!(matches!(
        sample_grid(&[0, 9], &EMOTIONS, |_| image.view()),
        Err(Error::Name { class: 9, names: 7, .. })
    ));
    assert!(matches!(sample_grid(&[0], &EMOTIONS, |_| flat.view()), Err(Error::Image { index: 0, .. })));
    assert!(matches!(sample_predictions(&predictions(&flat, 2), 9), Err(Error::Image { index: 0, .. })));
    let two = Array3::zeros((2, 4, 4));
    assert!(matches!(sample_grid(&[0], &EMOTIONS, |_| two.view()), Err(Error::Image { channels: 2, .. })));
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let figure = class_counts(&[("happy", 3)]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let stem = file.path().join("counts");
    let error = figure.save(&stem).unwrap_err();
    assert_eq!(error.to_string(), format!("{}.svg: cannot be written", stem.display()));
}
