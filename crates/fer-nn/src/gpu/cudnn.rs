//! Convolutions by cuDNN, forward and both gradients, channels last.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::result;
use candle_core::cuda_backend::cudarc::cudnn::sys;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::{Error, Result, bail};

use super::card::{Address, Direction, Kind};
use super::driver::zeros;
use crate::geometry::ConvShape;
use crate::{Compute, Precision};

/// Memory that an algorithm may use at most, in bytes.
const WORKSPACE: usize = 1 << 30;
/// The most algorithms that cuDNN names for a convolution.
const ALGORITHMS: usize = 8;

/// cuDNN on a stream.
pub(super) struct Cudnn {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
    compute: Compute,
    /// What the algorithms use: that of the convolutions chosen so far, which keep it when it is too small for others.
    workspace: RefCell<Option<Rc<Workspace>>>,
    chosen: RefCell<HashMap<Wanted, Rc<Convolution>>>,
}

/// A convolution, of values of a kind, and which gradients of it: the input's, the weight's.
type Wanted = (ConvShape, Kind, [bool; 2]);

impl Drop for Cudnn {
    fn drop(&mut self) {
        // SAFETY: the handle was made by `new` and is used no more.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

macro_rules! descriptor {
    ($(#[$doc:meta])* $name:ident, $type:ident, $create:ident, $destroy:ident) => {
        $(#[$doc])*
        struct $name(sys::$type);

        impl $name {
            fn new() -> Result<Self> {
                Ok(Self(result::$create().map_err(Error::wrap)?))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the descriptor was made by `new` and is used no more.
                let _ = unsafe { result::$destroy(self.0) };
            }
        }
    };
}

descriptor!(TensorOf, cudnnTensorDescriptor_t, create_tensor_descriptor, destroy_tensor_descriptor);
descriptor!(FilterOf, cudnnFilterDescriptor_t, create_filter_descriptor, destroy_filter_descriptor);
descriptor!(
    ConvOf,
    cudnnConvolutionDescriptor_t,
    create_convolution_descriptor,
    destroy_convolution_descriptor
);

/// A convolution's shapes and its algorithm for each direction.
pub(crate) struct Convolution {
    x: TensorOf,
    w: FilterOf,
    y: TensorOf,
    forward: Choice<sys::cudnnConvolutionFwdAlgo_t>,
    input: Option<Choice<sys::cudnnConvolutionBwdDataAlgo_t>>,
    weight: Option<Choice<sys::cudnnConvolutionBwdFilterAlgo_t>>,
    workspace: Rc<Workspace>,
}

/// Memory for algorithms.
struct Workspace {
    memory: CudaSlice<u8>,
    /// Its place, asked for once: asking a slice may wait for events, which a recording must not.
    at: *mut c_void,
}

/// How an algorithm is called.
struct Choice<A> {
    algorithm: A,
    conv: ConvOf,
    workspace: usize,
}

/// The first of the algorithms that cuDNN names, fastest first, that may be taken, of the descriptors in the order in
/// which its functions want them.
macro_rules! choose {
    (
        $cudnn:expr, $shape:expr, $what:literal, $perf:ident, $find:ident, $guess:ident, $needs:ident, $a:expr, $b:expr,
        $c:expr
    ) => {{
        let conv = $cudnn.describe($shape)?;
        let mut count: c_int = 0;
        // SAFETY: the reports are of numbers, for which zeros are values.
        let mut found: [sys::$perf; ALGORITHMS] = unsafe { std::mem::zeroed() };
        let most = ALGORITHMS as c_int;
        let call = if $cudnn.compute.deterministic { sys::$guess } else { sys::$find };
        // A first trial is of a cold card, with kernels that are still to be loaded, and may name one that takes many
        // times as long as the fastest: it warms up, and the second trial counts.
        let trials = if $cudnn.compute.deterministic { 1 } else { 2 };
        let failed = || format!("cuDNN: {} of {:?} in {}", $what, $shape, $cudnn.compute.precision);
        for _ in 0..trials {
            // SAFETY: handle and descriptors are alive, and there is room for as many reports as are asked for.
            let status =
                unsafe { call($cudnn.handle, $a, $b, conv.0, $c, most, &mut count, found.as_mut_ptr()) };
            status.result().map_err(|e| Error::wrap(e).context(failed()))?;
        }
        let found = &found[..count.max(0) as usize];
        let usable = found.iter().find_map(|perf| {
            // SAFETY: handle and descriptors are alive.
            let workspace = unsafe {
                // In f32 the descriptor forbids TF32, whatever the report says.
                if $cudnn.compute.precision != Precision::F32 {
                    result::set_convolution_math_type(conv.0, perf.mathType).ok()?;
                }
                result::$needs($cudnn.handle, $a, $b, conv.0, $c, perf.algo).ok()?.max(perf.memory)
            };
            $cudnn.allows(perf.status, workspace, perf.determinism).then_some((perf.algo, workspace))
        });
        let (algorithm, workspace) = usable.ok_or_else(|| Error::msg("no algorithm").context(failed()))?;
        Choice { algorithm, conv, workspace }
    }};
}

impl Cudnn {
    pub fn new(stream: &Arc<CudaStream>, compute: Compute) -> Result<Self> {
        let handle = result::create_handle().map_err(|e| Error::wrap(e).context("cuDNN does not start"))?;
        let stream = stream.clone();
        Ok(Self { handle, stream, compute, workspace: RefCell::default(), chosen: RefCell::default() })
    }

    /// Lets all further work go to this stream.
    pub fn queue_to(&self, stream: &CudaStream) -> Result<()> {
        // SAFETY: handle and stream are alive.
        unsafe { result::set_stream(self.handle, stream.cu_stream().cast()) }.map_err(Error::wrap)
    }

    /// Whether an algorithm may be taken.
    fn allows(
        &self,
        status: sys::cudnnStatus_t,
        memory: usize,
        determinism: sys::cudnnDeterminism_t,
    ) -> bool {
        let repeats = determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
        let works = status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS;
        works && memory <= WORKSPACE && (repeats || !self.compute.deterministic)
    }

    /// A descriptor of the convolution itself.
    fn describe(&self, s: &ConvShape) -> Result<ConvOf> {
        let conv = ConvOf::new()?;
        let [top, left, stride] = [s.padding.0, s.padding.1, s.stride].map(|n| n as c_int);
        let math = match self.compute.precision {
            Precision::F32 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            Precision::Tf32 => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            // The default keeps bfloat16 from the tensor cores.
            Precision::Bf16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let sums = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        // SAFETY: the descriptor is alive.
        unsafe {
            result::set_convolution2d_descriptor(conv.0, top, left, stride, stride, 1, 1, mode, sums)
                .map_err(Error::wrap)?;
            result::set_convolution_math_type(conv.0, math).map_err(Error::wrap)?;
            if s.groups > 1 {
                let groups = s.groups as c_int;
                sys::cudnnSetConvolutionGroupCount(conv.0, groups).result().map_err(Error::wrap)?;
            }
        }
        Ok(conv)
    }

    /// A convolution, its algorithms chosen once.
    pub fn convolution(&self, s: &ConvShape, kind: Kind, gradients: [bool; 2]) -> Result<Rc<Convolution>> {
        let key = (*s, kind, gradients);
        if let Some(chosen) = self.chosen.borrow().get(&key) {
            return Ok(chosen.clone());
        }
        let chosen = Rc::new(self.choose(s, kind, gradients)?);
        self.chosen.borrow_mut().insert(key, chosen.clone());
        Ok(chosen)
    }

    /// Chooses the algorithms: by trying them, or, where the same bits are asked for, by the shapes alone.
    fn choose(&self, s: &ConvShape, kind: Kind, [of_input, of_weight]: [bool; 2]) -> Result<Convolution> {
        let data = match kind {
            Kind::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            Kind::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        };
        let (x, w, y) = (TensorOf::new()?, FilterOf::new()?, TensorOf::new()?);
        let sizes = |sizes: [usize; 4]| sizes.map(|n| n as c_int);
        let last = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let images = [s.batch, s.in_channels, s.height, s.width];
        let weights = [s.out_channels, s.in_channels / s.groups, s.kernel.0, s.kernel.1];
        let results = [s.batch, s.out_channels, s.out_height, s.out_width];
        // SAFETY: the descriptors are alive.
        unsafe {
            result::set_tensor4d_descriptor(x.0, last, data, sizes(images)).map_err(Error::wrap)?;
            result::set_filter4d_descriptor(w.0, data, last, sizes(weights)).map_err(Error::wrap)?;
            result::set_tensor4d_descriptor(y.0, last, data, sizes(results)).map_err(Error::wrap)?;
        }
        let forward = choose!(
            self,
            s,
            "convolution",
            cudnnConvolutionFwdAlgoPerf_t,
            cudnnFindConvolutionForwardAlgorithm,
            cudnnGetConvolutionForwardAlgorithm_v7,
            get_convolution_forward_workspace_size,
            x.0,
            w.0,
            y.0
        );
        let input = match of_input {
            true => Some(choose!(
                self,
                s,
                "the input's gradient",
                cudnnConvolutionBwdDataAlgoPerf_t,
                cudnnFindConvolutionBackwardDataAlgorithm,
                cudnnGetConvolutionBackwardDataAlgorithm_v7,
                get_convolution_backward_data_workspace_size,
                w.0,
                y.0,
                x.0
            )),
            false => None,
        };
        let weight = match of_weight {
            true => Some(choose!(
                self,
                s,
                "the weight's gradient",
                cudnnConvolutionBwdFilterAlgoPerf_t,
                cudnnFindConvolutionBackwardFilterAlgorithm,
                cudnnGetConvolutionBackwardFilterAlgorithm_v7,
                get_convolution_backward_filter_workspace_size,
                x.0,
                y.0,
                w.0
            )),
            false => None,
        };
        let most = forward.workspace.max(input.as_ref().map_or(0, |choice| choice.workspace));
        let most = most.max(weight.as_ref().map_or(0, |choice| choice.workspace));
        Ok(Convolution { forward, input, weight, workspace: self.workspace(most)?, x, w, y })
    }

    /// Memory of at least this many bytes, shared by all convolutions for which it is enough.
    fn workspace(&self, bytes: usize) -> Result<Rc<Workspace>> {
        let mut kept = self.workspace.borrow_mut();
        if let Some(workspace) = kept.as_ref().filter(|workspace| workspace.memory.len() >= bytes) {
            return Ok(workspace.clone());
        }
        let memory = zeros(&self.stream, bytes.max(1))?;
        let at = memory.device_ptr(&self.stream).0 as *mut c_void;
        let workspace = Rc::new(Workspace { memory, at });
        *kept = Some(workspace.clone());
        Ok(workspace)
    }

    /// Queues a convolution: of the operands in the order of [`Direction`], to `to`.
    pub fn convolve(
        &self,
        of: &Convolution,
        direction: Direction,
        [a, b]: [Address; 2],
        to: Address,
    ) -> Result<()> {
        let Convolution { x, w, y, forward, input, weight, .. } = of;
        let (one, zero) = (1.0_f32, 0.0_f32);
        let (one, zero) = ((&raw const one).cast(), (&raw const zero).cast());
        let [a, b] = [a, b].map(|address| address.0 as *const c_void);
        let to = to.0 as *mut c_void;
        let (handle, at) = (self.handle, of.workspace.at);
        // SAFETY: handle, descriptors and workspace are alive, the workspace is as large as the algorithm asked for, and
        // the caller's addresses are of tensors of the descriptors' shapes.
        let done = match (direction, input, weight) {
            (Direction::Forward, ..) => unsafe {
                let len = forward.workspace;
                let (conv, algorithm) = (forward.conv.0, forward.algorithm);
                result::convolution_forward(
                    handle, one, x.0, a, w.0, b, conv, algorithm, at, len, zero, y.0, to,
                )
            },
            (Direction::Input, Some(choice), _) => unsafe {
                let len = choice.workspace;
                let (conv, algorithm) = (choice.conv.0, choice.algorithm);
                result::convolution_backward_data(
                    handle, one, w.0, a, y.0, b, conv, algorithm, at, len, zero, x.0, to,
                )
            },
            (Direction::Weight, _, Some(choice)) => unsafe {
                let len = choice.workspace;
                let (conv, algorithm) = (choice.conv.0, choice.algorithm);
                result::convolution_backward_filter(
                    handle, one, x.0, a, y.0, b, conv, algorithm, at, len, zero, w.0, to,
                )
            },
            _ => bail!("no algorithm was chosen for this gradient"),
        };
        done.map_err(Error::wrap)
    }
}
