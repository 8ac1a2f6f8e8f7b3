//! The images and plain tensors that rows are made of, and back.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, bail};
use rayon::prelude::*;

use super::row::Row;
use crate::cpu::groups::{GROUP, groups};
use crate::cpu::vectorized;

/// Images `(batch, channels, height, width)` as they lie in memory: planes, or channels last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Images<'a> {
    values: Values<'a>,
    /// From one image, channel, row and column to the next.
    strides: [usize; 4],
    channels: usize,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    F32(&'a [f32]),
    /// Numbers 0 to 255.
    U8(&'a [u8]),
}

impl<'a> Images<'a> {
    pub fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let (&[_, channels, ..], &[image, channel, row, column]) = (layout.dims(), layout.stride()) else {
            bail!("conv2d: expected (batch, in_channels, height, width), got {:?}", layout.dims())
        };
        let start = layout.start_offset();
        let values = match storage {
            CpuStorage::F32(values) => Values::F32(&values[start..]),
            CpuStorage::U8(values) => Values::U8(&values[start..]),
            other => bail!("conv2d works on f32 and u8 tensors, got {:?}", other.dtype()),
        };
        Ok(Self { values, strides: [image, channel, row, column], channels })
    }

    /// Row `y` of an image; what lies around it stays.
    pub fn load(&self, image: usize, y: usize, row: Row, out: &mut [f32]) {
        match self.values {
            Values::F32(values) => self.load_from(values, image, y, row, out),
            Values::U8(values) => self.load_from(values, image, y, row, out),
        }
    }

    fn load_from<T: Copy + Into<f32>>(
        &self,
        values: &[T],
        image: usize,
        y: usize,
        row: Row,
        out: &mut [f32],
    ) {
        let [of_image, of_channel, of_row, of_column] = self.strides;
        let values = &values[image * of_image + y * of_row..];
        if (of_channel, of_column, row.pitch) == (1, self.channels, self.channels) {
            let out = row.columns_mut(out, 0);
            return vectorized(
                #[inline(always)]
                || {
                    for (out, &value) in out.iter_mut().zip(values) {
                        *out = value.into();
                    }
                },
            );
        }
        for channel in 0..self.channels {
            let out = row.columns_mut(out, channel / row.pitch)[channel % row.pitch..].iter_mut();
            let plane = values[channel * of_channel..].iter().step_by(of_column.max(1));
            out.step_by(row.pitch).zip(plane).for_each(|(out, &value)| *out = value.into());
        }
    }
}

/// From `(batch, height, groups, width, 16)` to `(batch, channels, height, width)`.
pub(super) fn to_planes(map: &[f32], [batch, channels, height, width]: [usize; 4]) -> Vec<f32> {
    let row = Row { groups: groups(channels), pitch: GROUP, width, ..Row::default() };
    let mut planes = vec![0.0; batch * channels * height * width];
    let area = height * width;
    let images = planes.par_chunks_exact_mut(channels * area).zip(map.par_chunks_exact(height * row.len()));
    images.for_each(|(planes, rows)| {
        for (y, of_row) in rows.chunks_exact(row.len()).enumerate() {
            for (group, planes) in planes.chunks_mut(GROUP * area).enumerate() {
                for (x, lanes) in row.lanes(of_row, group).iter().enumerate() {
                    let column = planes[y * width + x..].iter_mut().step_by(area);
                    column.zip(lanes).for_each(|(out, &value)| *out = value);
                }
            }
        }
    });
    planes
}
