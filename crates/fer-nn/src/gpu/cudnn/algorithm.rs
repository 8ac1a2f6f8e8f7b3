//! cuDNN's algorithms for a convolution, forward and for both gradients.

use std::ffi::{c_int, c_void};
use std::mem;

use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::{Error, Result};

use super::super::card::{Address, Direction};
use super::shapes::Shapes;

/// More than the algorithms that cuDNN names for a convolution.
const MOST: usize = 16;

/// An algorithm for one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Input(sys::cudnnConvolutionBwdDataAlgo_t),
    Weight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm that cuDNN names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub algorithm: Algorithm,
    /// Whether it gives the same bits every time.
    pub repeats: bool,
}

/// What cuDNN names, best first by its own heuristics, of the descriptors in the order in which its function wants them.
macro_rules! named {
    ($handle:expr, $perf:ident, $get:ident, $algorithm:ident, $a:expr, $b:expr, $conv:expr, $c:expr) => {{
        let mut count: c_int = 0;
        // SAFETY: the reports are of numbers, for which zeros are values; handle and descriptors are alive, and there is
        // room for as many reports as are asked for.
        let mut found: [sys::$perf; MOST] = unsafe { mem::zeroed() };
        let status =
            unsafe { sys::$get($handle, $a, $b, $conv, $c, MOST as c_int, &mut count, found.as_mut_ptr()) };
        status.result().map_err(Error::wrap)?;
        let works = |perf: &&sys::$perf| perf.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS;
        let named = |perf: &sys::$perf| Named {
            algorithm: Algorithm::$algorithm(perf.algo),
            repeats: perf.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
        };
        found.iter().take(count.max(0) as usize).filter(works).map(named).collect()
    }};
}

/// The algorithms that cuDNN names for a direction, the one that it expects to be the fastest first.
pub(super) fn named(handle: sys::cudnnHandle_t, of: &Shapes, direction: Direction) -> Result<Vec<Named>> {
    let (x, w, y, conv) = (of.x.0, of.w.0, of.y.0, of.conv.0);
    let all: Vec<Named> = match direction {
        Direction::Forward => named!(
            handle,
            cudnnConvolutionFwdAlgoPerf_t,
            cudnnGetConvolutionForwardAlgorithm_v7,
            Forward,
            x,
            w,
            conv,
            y
        ),
        Direction::Input => named!(
            handle,
            cudnnConvolutionBwdDataAlgoPerf_t,
            cudnnGetConvolutionBackwardDataAlgorithm_v7,
            Input,
            w,
            y,
            conv,
            x
        ),
        Direction::Weight => named!(
            handle,
            cudnnConvolutionBwdFilterAlgoPerf_t,
            cudnnGetConvolutionBackwardFilterAlgorithm_v7,
            Weight,
            x,
            y,
            conv,
            w
        ),
    };
    // An algorithm is named once for each kind of arithmetic; which one is used is said in the convolution's descriptor.
    let same = |named: Named| move |other: &&Named| other.algorithm == named.algorithm;
    let is_first = |i: usize| all[..i].iter().find(same(all[i])).is_none();
    let named = |named: Named| Named { repeats: all.iter().filter(same(named)).all(|n| n.repeats), ..named };
    Ok((0..all.len()).filter(|&i| is_first(i)).map(|i| named(all[i])).collect())
}

impl Algorithm {
    /// cuDNN's number of it.
    pub fn number(self) -> u32 {
        match self {
            Self::Forward(algorithm) => algorithm as u32,
            Self::Input(algorithm) => algorithm as u32,
            Self::Weight(algorithm) => algorithm as u32,
        }
    }

    /// The memory that it uses besides, in bytes; an error where it does not compute this convolution.
    pub fn workspace(self, handle: sys::cudnnHandle_t, of: &Shapes) -> Result<usize> {
        let (x, w, y, conv) = (of.x.0, of.w.0, of.y.0, of.conv.0);
        // SAFETY: handle and descriptors are alive.
        let bytes = unsafe {
            match self {
                Self::Forward(algorithm) => {
                    result::get_convolution_forward_workspace_size(handle, x, w, conv, y, algorithm)
                }
                Self::Input(algorithm) => {
                    result::get_convolution_backward_data_workspace_size(handle, w, y, conv, x, algorithm)
                }
                Self::Weight(algorithm) => {
                    result::get_convolution_backward_filter_workspace_size(handle, x, y, conv, w, algorithm)
                }
            }
        };
        bytes.map_err(Error::wrap)
    }

    /// Queues the convolution: of the operands in the order of [`Direction`], to `to`.
    ///
    /// # Safety
    /// The operands and the place of the result are of the descriptors' shapes, and the workspace `(place, bytes)` is as large as
    /// was asked for.
    pub unsafe fn queue(
        self,
        handle: sys::cudnnHandle_t,
        of: &Shapes,
        (at, len): (*mut c_void, usize),
        [a, b]: [Address; 2],
        to: Address,
    ) -> Result<()> {
        let (x, w, y, conv) = (of.x.0, of.w.0, of.y.0, of.conv.0);
        let (one, zero) = (1.0_f32, 0.0_f32);
        let (one, zero) = ((&raw const one).cast(), (&raw const zero).cast());
        let [a, b] = [a, b].map(|address| address.0 as *const c_void);
        let to = to.0 as *mut c_void;
        // SAFETY: handle and descriptors are alive, and the caller's memory is as it promises.
        let done = unsafe {
            match self {
                Self::Forward(algorithm) => result::convolution_forward(
                    handle, one, x, a, w, b, conv, algorithm, at, len, zero, y, to,
                ),
                Self::Input(algorithm) => result::convolution_backward_data(
                    handle, one, w, a, y, b, conv, algorithm, at, len, zero, x, to,
                ),
                Self::Weight(algorithm) => result::convolution_backward_filter(
                    handle, one, x, a, y, b, conv, algorithm, at, len, zero, w, to,
                ),
            }
        };
        done.map_err(Error::wrap)
    }
}
