//! Batches: complete, in order, repeatable, and gone without a trace when dropped.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use fer_data::{Batch, Dataset, Loader, LoaderConfig};
use ndarray::{Array3, Axis};
use rand::Rng;

fn config(threads: usize) -> LoaderConfig {
    LoaderConfig { batch_size: 8, threads, prefetch: 3, ..LoaderConfig::default() }
}

/// A loader whose function adds a random number to each image.
fn noisy(config: LoaderConfig) -> Loader {
    Loader::new(Dataset::drawn(45, 1), config).unwrap().map(|mut image, stream| {
        let shift = stream.rng().next_u32() as f32 / u32::MAX as f32;
        image.mapv_inplace(|grey| grey + shift);
        Ok(())
    })
}

fn collect(loader: &Loader, epoch: u32) -> Vec<Batch> {
    loader.epoch(epoch).collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let expected = collect(&noisy(config(0)), 3);
    for threads in [1, 2, 5, 20] {
        assert_eq!(collect(&noisy(config(threads)), 3), expected, "{threads} threads");
    }
}

#[test]
fn an_epoch_serves_every_row_once_and_ends_ragged() {
    let loader = noisy(config(2));
    let batches = collect(&loader, 0);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.rows.len()).collect();
    assert_eq!(sizes, [8, 8, 8, 8, 8, 5]);
    assert_eq!(loader.batches(), 6);
    assert_eq!(batches[5].images.dim(), (5, 1, 48, 48));
    let rows: BTreeSet<u32> = batches.iter().flat_map(|batch| batch.rows.clone()).collect();
    assert_eq!(rows, (0..45).collect());
}

#[test]
fn epochs_and_seeds_are_shuffled_and_drawn_differently() {
    let loader = noisy(config(2));
    assert_ne!(collect(&loader, 0)[0].rows, collect(&loader, 1)[0].rows);
    assert_eq!(collect(&loader, 1), collect(&loader, 1));
    let other = noisy(LoaderConfig { seed: 43, ..config(2) });
    assert_ne!(collect(&loader, 0)[0].rows, collect(&other, 0)[0].rows);
}

#[test]
fn without_shuffle_and_function_batches_are_the_data() {
    let data = Dataset::drawn(20, 5).select(&[4, 6]).unwrap();
    let config = LoaderConfig { shuffle: false, ..config(2) };
    let batches = collect(&Loader::new(data.clone(), config).unwrap(), 7);
    let rows: Vec<u32> = batches.iter().flat_map(|batch| batch.rows.clone()).collect();
    assert_eq!(rows, data.rows());
    let labels: Vec<u32> = batches.iter().flat_map(|batch| batch.labels.clone()).collect();
    let expected: Vec<u32> =
        data.labels().unwrap().iter().map(|label| data.encoder().encode(*label).unwrap()).collect();
    assert_eq!(labels, expected);
    for ((channel, y, x), &grey) in data.image(0).indexed_iter() {
        assert_eq!(batches[0].images[(0, channel, y, x)], f32::from(grey) / 255.0);
    }
}

#[test]
fn targets_are_one_hot_at_the_label_and_empty_without_labels() {
    for batch in collect(&noisy(config(2)), 0) {
        assert_eq!(batch.targets.dim(), (batch.rows.len(), 3));
        for (target, &label) in batch.targets.rows().into_iter().zip(&batch.labels) {
            assert_eq!((target[label as usize], target.sum()), (1.0, 1.0));
        }
    }
    let unlabelled = Dataset::new(Array3::zeros((5, 4, 4)), None, None).unwrap();
    let batches = collect(&Loader::new(unlabelled, config(0)).unwrap(), 0);
    assert_eq!((batches[0].targets.dim(), batches[0].labels.len()), ((5, 0), 0));
}

#[test]
fn the_last_batch_can_be_left_out_where_it_is_not_full() {
    let dropping = |batch_size| LoaderConfig { batch_size, drop_last: true, ..config(2) };
    let loader = noisy(dropping(8));
    assert_eq!((loader.batches(), loader.samples(), loader.order(3).len()), (5, 40, 40));
    let batches = collect(&loader, 3);
    assert_eq!(batches, collect(&noisy(config(2)), 3)[..5]);
    assert_eq!(noisy(config(2)).samples(), 45);
    // A batch that is full is not left out.
    assert_eq!(collect(&noisy(dropping(15)), 0).len(), 3);
    assert_eq!(collect(&noisy(dropping(45)), 0).len(), 1);
    let error = Loader::new(Dataset::drawn(45, 1), dropping(46)).unwrap_err().to_string();
    assert_eq!(error, "batch_size is 46; allowed: at most 45, the rows there are, with drop_last");
}

#[test]
fn a_configuration_written_before_drop_last_is_read() {
    let read: LoaderConfig = serde_json::from_str(r#"{"batch_size":8,"seed":1}"#).unwrap();
    assert_eq!(read, LoaderConfig { batch_size: 8, seed: 1, ..LoaderConfig::default() });
    assert!(!read.drop_last);
}

/// A loader that also blends each batch with its reverse, by a random share.
fn mixed(config: LoaderConfig) -> Loader {
    noisy(config).map_batch(|mut images, mut targets, stream| {
        let share = stream.rng().next_u32() as f32 / u32::MAX as f32;
        let (mut other_images, mut other_targets) = (images.to_owned(), targets.to_owned());
        other_images.invert_axis(Axis(0));
        other_targets.invert_axis(Axis(0));
        images.zip_mut_with(&other_images, |a, b| *a += share * (b - *a));
        targets.zip_mut_with(&other_targets, |a, b| *a += share * (b - *a));
        Ok(())
    })
}

#[test]
fn the_function_on_batches_comes_after_that_on_images_with_the_batchs_own_numbers() {
    let expected = collect(&mixed(config(0)), 3);
    for threads in [1, 2, 5] {
        assert_eq!(collect(&mixed(config(threads)), 3), expected, "{threads} threads");
    }
    let plain = collect(&noisy(config(0)), 3);
    for (step, (mixed_batch, batch)) in (0..).zip(expected.iter().zip(&plain)) {
        assert_eq!((&mixed_batch.rows, &mixed_batch.labels), (&batch.rows, &batch.labels));
        let stream = mixed(config(0)).batch_stream(3, step);
        assert_eq!((stream.seed, stream.epoch, stream.item), (42, 3, step));
        let share = stream.rng().next_u32() as f32 / u32::MAX as f32;
        let last = batch.rows.len() - 1;
        let (a, b) = (batch.images[(0, 0, 5, 7)], batch.images[(last, 0, 5, 7)]);
        assert_eq!(mixed_batch.images[(0, 0, 5, 7)], a + share * (b - a));
        let (a, b) = (batch.targets[(0, 2)], batch.targets[(last, 2)]);
        assert_eq!(mixed_batch.targets[(0, 2)], a + share * (b - a));
    }
    let loader = Loader::new(Dataset::drawn(9, 1), config(0)).unwrap().map_batch(|_, _, _| Ok(()));
    assert!(loader.is_batch_mapped() && !loader.is_mapped());
    assert!(!noisy(config(0)).is_batch_mapped() && noisy(config(0)).is_mapped());
}

#[test]
fn an_error_or_a_panic_on_a_batch_ends_the_epoch_with_its_number() {
    for threads in [0, 1, 3] {
        let loader = Loader::new(Dataset::drawn(45, 1), config(threads)).unwrap();
        let failing = loader.clone().map_batch(|_, _, stream| match stream.item {
            2 => Err("out of paint".into()),
            _ => Ok(()),
        });
        let outcomes: Vec<_> = failing.epoch(0).collect();
        assert_eq!(outcomes.len(), 3);
        let error = outcomes[2].as_ref().unwrap_err().to_string();
        assert_eq!(error, "batch 2: the function on batches failed: out of paint");
        let panicking = loader.map_batch(|_, _, _| panic!("no paint"));
        let error = panicking.epoch(0).next().unwrap().unwrap_err().to_string();
        assert_eq!(error, "batch 0: the function on batches failed: panicked: no paint");
    }
}

#[test]
fn an_error_ends_the_epoch_with_the_row() {
    for threads in [0, 1, 3] {
        let loader = Loader::new(Dataset::drawn(45, 1), LoaderConfig { shuffle: false, ..config(threads) });
        let loader = loader.unwrap().map(|_, stream| match stream.item {
            20 => Err("out of paint".into()),
            _ => Ok(()),
        });
        let mut epoch = loader.epoch(0);
        assert!(epoch.next().unwrap().is_ok());
        assert!(epoch.next().unwrap().is_ok());
        let error = epoch.next().unwrap().unwrap_err().to_string();
        assert_eq!(error, "row 20: the function on images failed: out of paint");
        assert!(epoch.next().is_none());
    }
}

#[test]
fn a_panic_is_an_error_and_no_hang() {
    for threads in [0, 2] {
        let loader = Loader::new(Dataset::drawn(45, 1), config(threads)).unwrap();
        let loader = loader.map(|_, stream| if stream.item == 7 { panic!("row {}", 7) } else { Ok(()) });
        let errors: Vec<String> =
            loader.epoch(0).filter_map(Result::err).map(|error| error.to_string()).collect();
        assert_eq!(errors, ["row 7: the function on images failed: panicked: row 7"]);
    }
}

#[test]
fn threads_run_ahead_within_bounds_and_stop_when_the_epoch_is_dropped() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let config = LoaderConfig { batch_size: 1, threads: 2, prefetch: 4, ..LoaderConfig::default() };
    let loader = Loader::new(Dataset::drawn(100, 1), config).unwrap().map(move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let mut epoch = loader.epoch(0);
    epoch.next().unwrap().unwrap();
    thread::sleep(Duration::from_millis(300));
    // One taken, four waiting, one in the hands of each thread.
    let ahead = made.load(Ordering::SeqCst);
    assert!((2..=7).contains(&ahead), "{ahead}");
    drop(epoch);
    let stopped = made.load(Ordering::SeqCst);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(made.load(Ordering::SeqCst), stopped);
}

#[test]
fn a_batch_size_of_0_is_refused() {
    let error = Loader::new(Dataset::drawn(2, 1), LoaderConfig { batch_size: 0, ..config(1) }).unwrap_err();
    assert_eq!(error.to_string(), "batch_size is 0; allowed: 1 or more");
}

#[test]
fn an_empty_view_has_no_batches() {
    let data = Dataset::drawn(2, 1).subset(&[]).unwrap();
    assert_eq!(collect(&Loader::new(data, config(2)).unwrap(), 0), []);
}
