//! Which of several ways to compute the same thing is the fastest, by trying them.

use std::time::Duration;

/// Warm runs of a candidate that may be the fastest.
const RUNS: usize = 5;
/// What a first run may take besides: the kernel is loaded to the card.
const LOADING: Duration = Duration::from_millis(50);

/// The fastest of the candidates, which come in the order in which they are expected to be so, and what it takes: the median of
/// warm runs. `run` runs one once; one that gives nothing is not taken.
///
/// When the runs have taken `limit` together, no other candidate is begun, and one that is begun has one warm run. None is run on
/// that takes more than twice as long as the fastest so far. So beyond the limit there are two runs at most.
pub(super) fn fastest<C>(
    candidates: &[C],
    limit: Duration,
    mut run: impl FnMut(&C) -> Option<Duration>,
) -> Option<(usize, Duration)> {
    let mut fastest: Option<(usize, Duration)> = None;
    let mut spent = Duration::ZERO;
    for (i, candidate) in candidates.iter().enumerate() {
        if fastest.is_some() && spent >= limit {
            break;
        }
        let is_hopeless = |took: Duration| fastest.is_some_and(|(_, best)| took > 2 * best);
        let Some(cold) = run(candidate) else { continue };
        spent += cold;
        if is_hopeless(cold.saturating_sub(LOADING)) {
            continue;
        }
        let mut runs = Vec::with_capacity(RUNS);
        while runs.is_empty() || (runs.len() < RUNS && spent < limit && !is_hopeless(runs[0])) {
            let Some(warm) = run(candidate) else { break };
            spent += warm;
            runs.push(warm);
        }
        if runs.is_empty() {
            continue;
        }
        runs.sort_unstable();
        let median = runs[runs.len() / 2];
        if fastest.is_none_or(|(_, best)| median < best) {
            fastest = Some((i, median));
        }
    }
    fastest
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The fastest of candidates by what their runs take, in microseconds, the last for all further ones; and how often each ran.
    fn search(candidates: &[&[u64]], limit: u64) -> (Option<(usize, u128)>, Vec<usize>) {
        let runs = RefCell::new(vec![0; candidates.len()]);
        let run = |&i: &usize| {
            let run = runs.borrow()[i];
            runs.borrow_mut()[i] += 1;
            candidates[i].get(run).or(candidates[i].last()).map(|&took| Duration::from_micros(took))
        };
        let all: Vec<usize> = (0..candidates.len()).collect();
        let found = fastest(&all, Duration::from_micros(limit), run);
        (found.map(|(i, took)| (i, took.as_micros())), runs.into_inner())
    }

    #[test]
    fn warm_runs_decide() {
        // The second is slow when it is cold, and once on the way.
        let (found, runs) = search(&[&[60], &[30_000, 40, 900, 40]], 1_000_000);
        assert_eq!(found, Some((1, 40)));
        assert_eq!(runs, [1 + RUNS; 2]);
    }

    #[test]
    fn what_is_many_times_slower_runs_once_or_twice() {
        let (found, runs) = search(&[&[50], &[40_000, 400], &[4_000_000]], u64::MAX);
        assert_eq!(found, Some((0, 50)));
        assert_eq!(runs, [1 + RUNS, 2, 1]);
    }

    #[test]
    fn it_ends_at_the_limit_with_what_it_has() {
        let (found, runs) = search(&[&[100], &[90], &[80]], 1140);
        assert_eq!(found, Some((1, 90)));
        assert_eq!(runs, [1 + RUNS, 1 + RUNS, 0]);
        // The first is run whatever it takes, and once again.
        assert_eq!(search(&[&[5000], &[1]], 1000), (Some((0, 5000)), vec![2, 0]));
    }

    #[test]
    fn what_fails_is_passed_over() {
        assert_eq!(search(&[&[], &[70]], 1_000_000).0, Some((1, 70)));
        assert_eq!(search(&[&[], &[]], 1_000_000).0, None);
        assert_eq!(search(&[], 1_000_000).0, None);
    }
}
