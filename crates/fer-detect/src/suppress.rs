//! One answer for each face out of the many that a network gives.

use crate::geometry::Rect;

/// The indices of the boxes that stay, the best first: a box goes where a better one overlaps it by more than `most`.
pub(crate) fn suppress(boxes: &[Rect], scores: &[f32], most: f32) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for i in by_score(scores) {
        if kept.iter().all(|&k| boxes[k].iou(boxes[i]) <= most) {
            kept.push(i);
        }
    }
    kept
}

/// Groups of boxes: the best, and with it those that it overlaps by more than `most`; then the best of what is left.
pub(crate) fn groups(boxes: &[Rect], scores: &[f32], most: f32) -> Vec<Vec<usize>> {
    let mut left = by_score(scores);
    let mut groups = Vec::new();
    while let Some(&best) = left.first() {
        let (group, rest) = left.into_iter().partition(|&i| i == best || boxes[best].iou(boxes[i]) > most);
        groups.push(group);
        left = rest;
    }
    groups
}

/// From the best to the worst; of equals, the first.
fn by_score(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(x: f32) -> Rect {
        Rect { x, y: 0.0, width: 10.0, height: 10.0 }
    }

    #[test]
    fn the_better_box_stays() {
        let boxes = [at(0.0), at(1.0), at(50.0), at(8.0)];
        assert_eq!(suppress(&boxes, &[0.8, 0.9, 0.7, 0.6], 0.45), [1, 2, 3]);
    }

    #[test]
    fn a_group_is_the_best_and_what_it_overlaps() {
        let boxes = [at(0.0), at(1.0), at(50.0), at(51.0)];
        assert_eq!(groups(&boxes, &[0.8, 0.9, 0.7, 0.6], 0.3), [vec![1, 0], vec![2, 3]]);
    }
}
