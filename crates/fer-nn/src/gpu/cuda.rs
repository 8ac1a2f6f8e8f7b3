//! A CUDA device: memory, kernels and graphs through cudarc, on the stream of a candle device.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cublas::{self, CudaBlas};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaGraph, CudaModule, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr,
    LaunchConfig, PushKernelArg, result, sys,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Error, Result, Storage, Tensor, bail};

use super::card::{Address, Args, Direction, Gpu, Kind, Product};
use super::cudnn::{Convolution, Cudnn};
use super::driver::{of_driver, zeros};
use crate::geometry::ConvShape;
use crate::{Compute, Precision};

/// The kernels, compiled by `build.rs`.
static KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// What cuBLAS may use for itself, in bytes: what it asks for on Hopper. Its own allocations could not be recorded.
const BLAS_WORKSPACE: usize = 32 << 20;

/// A CUDA device.
pub(crate) struct Cuda {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    /// Where work is recorded: on the device's stream that would take in the work of other threads.
    recorder: Arc<CudaStream>,
    is_recording: Cell<bool>,
    module: Arc<CudaModule>,
    functions: RefCell<HashMap<String, CudaFunction>>,
    blas: CudaBlas,
    /// Held for cuBLAS, and its place.
    blas_workspace: (CudaSlice<u8>, Address),
    cudnn: Cudnn,
    compute: Compute,
}

/// A kernel's arguments, as cudarc passes them on.
#[repr(transparent)]
struct Param<A>(A);

// SAFETY: arguments of a kernel are what a kernel takes, see `Args`.
unsafe impl<A: Args> DeviceRepr for Param<A> {}

impl Cuda {
    /// The device, computing as `compute` says.
    pub fn new(device: &CudaDevice, compute: Compute) -> Result<Self> {
        let stream = device.cuda_stream();
        let context = stream.context();
        let module = context.load_module(Ptx::from_binary(KERNELS.to_vec())).map_err(of_driver)?;
        let blas = CudaBlas::new(stream.clone()).map_err(Error::wrap)?;
        let workspace = zeros(&stream, BLAS_WORKSPACE)?;
        let at = Address(workspace.device_ptr(&stream).0);
        let cuda = Self {
            cudnn: Cudnn::new(&stream, compute)?,
            device: device.clone(),
            module,
            functions: RefCell::default(),
            blas,
            blas_workspace: (workspace, at),
            compute,
            recorder: context.new_stream().map_err(of_driver)?,
            is_recording: Cell::new(false),
            stream,
        };
        cuda.queue_to_recorder(false)?;
        Ok(cuda)
    }

    /// The stream that work is queued to.
    fn queue(&self) -> &Arc<CudaStream> {
        if self.is_recording.get() { &self.recorder } else { &self.stream }
    }

    /// Lets all work, that of the libraries too, go to the recorder or to the device's stream.
    fn queue_to_recorder(&self, is_recording: bool) -> Result<()> {
        self.bind()?;
        self.is_recording.set(is_recording);
        let stream = self.queue();
        self.cudnn.queue_to(stream)?;
        let (blas, (_, workspace)) = (*self.blas.handle(), &self.blas_workspace);
        // SAFETY: handle and stream are alive; the workspace lives as long as the handle. cuBLAS forgets it with the
        // stream.
        unsafe {
            cublas::result::set_stream(blas, stream.cu_stream().cast()).map_err(Error::wrap)?;
            let at = workspace.0 as *mut c_void;
            cublas::sys::cublasSetWorkspace_v2(blas, at, BLAS_WORKSPACE).result().map_err(Error::wrap)
        }
    }

    /// What `work` queues to the recorder, as a graph.
    fn capture(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<CudaGraph> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.recorder.begin_capture(mode).map_err(of_driver)?;
        let outcome = work();
        // An error that is kept for the next call would keep the recording from its end.
        let kept = self.recorder.context().check_err().map_err(of_driver);
        let graph = self.recorder.end_capture(sys::CUgraphInstantiate_flags(0)).map_err(of_driver);
        outcome.and(kept)?;
        let Some(graph) = graph? else { bail!("nothing was recorded") };
        // SAFETY: graph and stream are alive.
        unsafe { result::graph::upload(graph.cu_graph_exec(), self.stream.cu_stream()) }
            .map_err(of_driver)?;
        Ok(graph)
    }

    /// How it computes.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// Waits for all queued work.
    pub fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().map_err(of_driver)
    }

    /// Whether the stream is one of this thread alone, so that another thread's work does not wait for it.
    pub fn is_per_thread(&self) -> bool {
        // CU_STREAM_PER_THREAD of cuda.h
        self.stream.cu_stream() as usize == 2
    }

    /// The kernel of this name.
    fn function(&self, name: &str) -> Result<CudaFunction> {
        if let Some(function) = self.functions.borrow().get(name) {
            return Ok(function.clone());
        }
        let function = self.module.load_function(name).map_err(of_driver)?;
        self.functions.borrow_mut().insert(name.to_owned(), function.clone());
        Ok(function)
    }

    fn bind(&self) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(of_driver)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // Kernels that still run need their module.
        let _ = self.bind().and_then(|()| self.synchronize());
    }
}

impl Gpu for Cuda {
    type Memory = CudaSlice<u8>;
    type Convolution = Rc<Convolution>;
    type Graph = CudaGraph;

    fn allocate(&self, bytes: usize) -> Result<(Self::Memory, Address)> {
        let slice = zeros(&self.stream, bytes)?;
        let at = Address(slice.device_ptr(&self.stream).0);
        Ok((slice, at))
    }

    fn upload(&self, bytes: &[u8], to: Address) -> Result<()> {
        self.bind()?;
        // SAFETY: the address is of memory of at least this length. The source is pageable, so that the call returns
        // when it has been read.
        unsafe { result::memcpy_htod_async(to.0, bytes, self.stream.cu_stream()) }.map_err(of_driver)?;
        self.synchronize()
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the address is of memory of at least this length, and the bytes live until the copy is done.
        unsafe { result::memcpy_dtoh_async(bytes, from.0, self.stream.cu_stream()) }.map_err(of_driver)?;
        self.synchronize()
    }

    fn read(&self, tensor: &Tensor, work: &mut dyn FnMut(Address) -> Result<()>) -> Result<()> {
        let tensor = tensor.contiguous()?;
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            bail!("expected a tensor on the card, got one on {:?}", tensor.device())
        };
        let slice = storage.as_cuda_slice::<f32>()?;
        let slice = slice.slice(layout.start_offset()..layout.start_offset() + tensor.elem_count());
        let (at, _guard) = slice.device_ptr(&self.stream);
        work(Address(at))
    }

    fn tensor(&self, shape: &[usize], work: &mut dyn FnMut(Address) -> Result<()>) -> Result<Tensor> {
        let mut slice = self.stream.alloc_zeros::<f32>(shape.iter().product()).map_err(of_driver)?;
        {
            let (at, _guard) = slice.device_ptr_mut(&self.stream);
            work(Address(at))?;
        }
        let storage = CudaStorage::wrap_cuda_slice(slice, self.device.clone());
        Ok(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false))
    }

    fn launch<A: Args>(&self, kernel: &str, grid: [usize; 2], block: [usize; 2], args: &A) -> Result<()> {
        let three = |[x, y]: [usize; 2]| (x as u32, y as u32, 1);
        let config = LaunchConfig { grid_dim: three(grid), block_dim: three(block), shared_mem_bytes: 0 };
        let function = self.function(kernel)?;
        let param = Param(*args);
        let mut launch = self.queue().launch_builder(&function);
        launch.arg(&param);
        // SAFETY: the kernel takes one struct, of this type and no other; its addresses are of memory that its caller
        // keeps.
        unsafe { launch.launch(config) }.map(drop).map_err(|e| of_driver(e).context(kernel.to_owned()))
    }

    fn convolution(&self, shape: &ConvShape, kind: Kind, gradients: [bool; 2]) -> Result<Rc<Convolution>> {
        self.bind()?;
        self.cudnn.convolution(shape, kind, gradients)
    }

    fn convolve(
        &self,
        conv: &Rc<Convolution>,
        direction: Direction,
        operands: [Address; 2],
        to: Address,
    ) -> Result<()> {
        self.bind()?;
        self.cudnn.convolve(conv, direction, operands, to)
    }

    fn multiply(&self, p: Product) -> Result<()> {
        use cublas::sys::cublasComputeType_t as Type;
        use cublas::sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
        self.bind()?;
        let compute = match self.compute.precision {
            Precision::F32 => Type::CUBLAS_COMPUTE_32F,
            Precision::Tf32 | Precision::Bf16 => Type::CUBLAS_COMPUTE_32F_FAST_TF32,
        };
        let [rows, columns, inner] = [p.rows, p.columns, p.inner].map(|n| n as c_int);
        // cuBLAS counts by columns: a row-major matrix is its transpose there, and cᵀ = bᵀ·aᵀ.
        let (op_b, row_of_b) = if p.b_transposed { (CUBLAS_OP_T, inner) } else { (CUBLAS_OP_N, columns) };
        let (op_a, row_of_a) = if p.a_transposed { (CUBLAS_OP_T, rows) } else { (CUBLAS_OP_N, inner) };
        let (one, of_before) = (1.0_f32, if p.adds { 1.0_f32 } else { 0.0 });
        let f32_type = cublas::sys::cudaDataType_t::CUDA_R_32F;
        // SAFETY: the addresses are of matrices of these sizes, which the caller keeps; the factors are on the host,
        // as the handle's pointer mode is by default, and are read before the call returns.
        unsafe {
            cublas::result::gemm_ex(
                *self.blas.handle(),
                op_b,
                op_a,
                columns,
                rows,
                inner,
                (&raw const one).cast(),
                p.b.0 as *const c_void,
                f32_type,
                row_of_b,
                p.a.0 as *const c_void,
                f32_type,
                row_of_a,
                (&raw const of_before).cast(),
                p.c.0 as *mut c_void,
                f32_type,
                columns,
                compute,
                cublas::sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(Error::wrap)
    }

    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<CudaGraph> {
        let graph = self.queue_to_recorder(true).and_then(|()| self.capture(work));
        self.queue_to_recorder(false)?;
        graph
    }

    fn replay(&self, graph: &CudaGraph) -> Result<()> {
        self.bind()?;
        // SAFETY: the graph is alive, and so is all memory that its work has the places of.
        unsafe { result::graph::launch(graph.cu_graph_exec(), self.stream.cu_stream()) }.map_err(of_driver)
    }
}
