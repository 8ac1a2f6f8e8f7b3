//! Which of several ways to compute the same thing is the fastest, by trying them.

use std::time::Duration;

/// Warm runs of a candidate that may be the fastest.
const RUNS: usize = 5;
/// What a first run may take besides: the library loads the kernel, and what it needs for it.
const LOADING: Duration = Duration::from_millis(500);

/// When a search ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// When the runs have taken so long together, no other candidate is begun if one is fast enough. The warm runs of one candidate
    /// take no longer either.
    pub usual: Duration,
    /// When they have taken so long, none is begun at all.
    pub most: Duration,
    /// What is fast enough.
    pub enough: Duration,
}

/// The fastest of some candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fastest {
    pub index: usize,
    /// The median of its warm runs.
    pub took: Duration,
    /// Whether it is fast enough, or all were tried.
    pub is_final: bool,
}

/// Tries candidates, which come in the order in which they are expected to be fast. `run` runs one once; one that gives nothing is
/// not taken. None is run on that takes more than twice as long as the fastest so far.
pub(super) fn fastest<C>(
    candidates: &[C],
    patience: Patience,
    mut run: impl FnMut(&C) -> Option<Duration>,
) -> Option<Fastest> {
    let mut fastest: Option<(usize, Duration)> = None;
    let mut spent = Duration::ZERO;
    let is_enough = |of: Option<(usize, Duration)>| of.is_some_and(|(_, best)| best <= patience.enough);
    let mut tried = 0;
    for (i, candidate) in candidates.iter().enumerate() {
        if spent >= patience.most || (spent >= patience.usual && is_enough(fastest)) {
            break;
        }
        tried += 1;
        let is_hopeless = |took: Duration| fastest.is_some_and(|(_, best)| took > 2 * best);
        let Some(cold) = run(candidate) else { continue };
        spent += cold;
        if is_hopeless(cold.saturating_sub(LOADING)) {
            continue;
        }
        let mut runs = Vec::with_capacity(RUNS);
        let mut warm = Duration::ZERO;
        while runs.is_empty() || (runs.len() < RUNS && warm < patience.usual && !is_hopeless(runs[0])) {
            let Some(took) = run(candidate) else { break };
            warm += took;
            runs.push(took);
        }
        spent += warm;
        if runs.is_empty() {
            continue;
        }
        runs.sort_unstable();
        let median = runs[runs.len() / 2];
        if fastest.is_none_or(|(_, best)| median < best) {
            fastest = Some((i, median));
        }
    }
    let is_final = tried == candidates.len() || is_enough(fastest);
    fastest.map(|(index, took)| Fastest { index, took, is_final })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The fastest of candidates by what their runs take, in microseconds, the last for all further ones; and how often each ran.
    /// Fast enough is what takes 100.
    fn search(candidates: &[&[u64]], [usual, most]: [u64; 2]) -> (Option<(usize, u128, bool)>, Vec<usize>) {
        let runs = RefCell::new(vec![0; candidates.len()]);
        let run = |&i: &usize| {
            let run = runs.borrow()[i];
            runs.borrow_mut()[i] += 1;
            candidates[i].get(run).or(candidates[i].last()).map(|&took| Duration::from_micros(took))
        };
        let all: Vec<usize> = (0..candidates.len()).collect();
        let [usual, most, enough] = [usual, most, 100].map(Duration::from_micros);
        let found = fastest(&all, Patience { usual, most, enough }, run);
        (found.map(|found| (found.index, found.took.as_micros(), found.is_final)), runs.into_inner())
    }

    const LONG: [u64; 2] = [100_000_000; 2];

    #[test]
    fn warm_runs_decide() {
        // The second is slow when it is cold, and once on the way.
        let (found, runs) = search(&[&[60], &[300_000, 40, 900, 40]], LONG);
        assert_eq!(found, Some((1, 40, true)));
        assert_eq!(runs, [1 + RUNS; 2]);
    }

    #[test]
    fn what_is_many_times_slower_runs_once_or_twice() {
        let (found, runs) = search(&[&[50], &[400_000, 400], &[4_000_000]], LONG);
        assert_eq!(found, Some((0, 50, true)));
        assert_eq!(runs, [1 + RUNS, 2, 1]);
    }

    #[test]
    fn it_ends_at_the_limit_with_what_is_fast_enough() {
        let (found, runs) = search(&[&[100], &[90], &[80]], [1140, 10_000]);
        assert_eq!(found, Some((1, 90, true)));
        assert_eq!(runs, [1 + RUNS, 1 + RUNS, 0]);
    }

    #[test]
    fn what_is_slow_is_not_the_last_to_be_tried() {
        // A cold start and a slow kernel take the usual time; the next is tried all the same.
        let (found, runs) = search(&[&[200_000, 5000], &[50], &[40]], [1000, 1_000_000]);
        assert_eq!(found, Some((1, 50, true)));
        assert_eq!(runs, [2, 1 + RUNS, 0]);
        // It ends at the most that it may take, and what it has is not final.
        assert_eq!(
            search(&[&[5000], &[4000], &[1]], [1000, 15_000]),
            (Some((1, 4000, false)), vec![2, 2, 0])
        );
        assert_eq!(search(&[&[5000], &[4000]], [1000, 15_000]).0, Some((1, 4000, true)));
    }

    #[test]
    fn what_fails_is_passed_over() {
        assert_eq!(search(&[&[], &[70]], LONG).0, Some((1, 70, true)));
        assert_eq!(search(&[&[], &[]], LONG).0, None);
        assert_eq!(search(&[], LONG).0, None);
    }
}
