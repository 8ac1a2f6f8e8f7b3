//! Convolutions by cuDNN, forward and both gradients, channels last.

mod algorithm;
mod shapes;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::{Context, Error, Result, bail};
use serde::{Deserialize, Serialize};

use self::algorithm::{Algorithm, named};
use self::shapes::Shapes;
use super::card::{Address, Direction, Kind};
use super::driver::{of_driver, zeros};
use super::kept::Kept;
use super::limits::Limits;
use super::search::{Patience, fastest};
use crate::Compute;
use crate::geometry::ConvShape;

/// Memory that an algorithm may use at most, in bytes.
const WORKSPACE: usize = 1 << 30;
/// What the trials for one direction of a convolution may take, and where none is fast enough.
const SEARCH: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];
/// Bytes that are cleared before each trial: the card has to do until the host has queued the trial, whose time is then the card's
/// alone.
const CLEARED: usize = 256 << 20;

/// cuDNN on a stream.
pub(super) struct Cudnn {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
    compute: Compute,
    /// Not known where the driver does not tell.
    limits: Option<Limits>,
    /// What searches found, by the names of what was computed.
    kept: Kept,
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

/// A convolution's shapes and its algorithm for each direction.
pub(crate) struct Convolution {
    shapes: Shapes,
    forward: Choice,
    input: Option<Choice>,
    weight: Option<Choice>,
    workspace: Rc<Workspace>,
}

/// Memory for algorithms.
struct Workspace {
    memory: CudaSlice<u8>,
    /// Its place, asked for once: asking a slice may wait for events, which a recording must not.
    at: *mut c_void,
}

impl Workspace {
    fn new(stream: &Arc<CudaStream>, bytes: usize) -> Result<Self> {
        let memory = zeros(stream, bytes.max(1))?;
        let at = memory.device_ptr(stream).0 as *mut c_void;
        Ok(Self { memory, at })
    }
}

/// An algorithm, the arithmetic that it may use, and the bytes of memory that it uses besides.
#[derive(Clone, Copy, Debug)]
struct Choice {
    algorithm: Algorithm,
    math: sys::cudnnMathType_t,
    workspace: usize,
}

impl Choice {
    /// cuDNN's numbers of the algorithm and the arithmetic.
    fn numbers(self) -> [u32; 2] {
        [self.algorithm.number(), self.math as u32]
    }
}

/// What a search found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Found {
    /// See [`Choice::numbers`].
    numbers: [u32; 2],
    seconds: f64,
}

impl Cudnn {
    pub fn new(stream: &Arc<CudaStream>, compute: Compute) -> Result<Self> {
        let handle = result::create_handle().map_err(|e| Error::wrap(e).context("cuDNN does not start"))?;
        let context = stream.context();
        let card = context.name().map_err(of_driver)?;
        Ok(Self {
            handle,
            stream: stream.clone(),
            compute,
            limits: Limits::of(context).ok(),
            kept: Kept::of_user(format!("{card}_cudnn_{}", result::get_version())),
            workspace: RefCell::default(),
            chosen: RefCell::default(),
        })
    }

    /// Lets all further work go to this stream.
    pub fn queue_to(&self, stream: &CudaStream) -> Result<()> {
        // SAFETY: handle and stream are alive.
        unsafe { result::set_stream(self.handle, stream.cu_stream().cast()) }.map_err(Error::wrap)
    }

    /// A convolution, its algorithms chosen once.
    pub fn convolution(&self, s: &ConvShape, kind: Kind, gradients: [bool; 2]) -> Result<Rc<Convolution>> {
        let key = (*s, kind, gradients);
        if let Some(chosen) = self.chosen.borrow().get(&key) {
            return Ok(chosen.clone());
        }
        let shapes = Shapes::new(*s, kind, self.compute.precision)?;
        let choose = |direction| {
            self.choose(&shapes, direction).with_context(|| format!("cuDNN: {}", shapes.name(direction)))
        };
        let [of_input, of_weight] = gradients;
        let forward = choose(Direction::Forward)?;
        let input = of_input.then(|| choose(Direction::Input)).transpose()?;
        let weight = of_weight.then(|| choose(Direction::Weight)).transpose()?;
        let most = [Some(forward), input, weight].iter().flatten().map(|choice| choice.workspace).max();
        let workspace = self.workspace(most.unwrap_or(0))?;
        let chosen = Rc::new(Convolution { shapes, forward, input, weight, workspace });
        self.chosen.borrow_mut().insert(key, chosen.clone());
        Ok(chosen)
    }

    /// Chooses an algorithm: by trying them, or, where the same bits are asked for, by the shapes alone.
    ///
    /// They are tried with as many images as the next power of two, so that batches of nearly the same size, such as the last one of
    /// an epoch, are not searched for again; with fewer where there is no memory for these.
    fn choose(&self, shapes: &Shapes, direction: Direction) -> Result<Choice> {
        let choices = self.choices(shapes, direction)?;
        let Some(&first) = choices.first() else { bail!("no algorithm computes it") };
        if self.compute.deterministic {
            return Ok(first);
        }
        let batches = iter::successors(Some(shapes.shape.batch.next_power_of_two()), |batch| {
            (*batch > 1).then_some(batch / 2)
        });
        for batch in batches {
            let shape = ConvShape { batch, ..shapes.shape };
            match self.find(shape, shapes, direction, &choices) {
                Ok(choice) => return Ok(choice),
                Err(error) => tracing::debug!("cuDNN: {batch} images cannot be tried: {error}"),
            }
        }
        tracing::warn!(
            "cuDNN: {}: its first algorithm is taken, for none could be tried",
            shapes.name(direction)
        );
        Ok(first)
    }

    /// The fastest of the choices for a convolution, found by that of another number of images, now or earlier.
    fn find(
        &self,
        tried: ConvShape,
        shapes: &Shapes,
        direction: Direction,
        choices: &[Choice],
    ) -> Result<Choice> {
        let tried = Shapes::new(tried, shapes.kind, shapes.precision)?;
        let name = tried.name(direction);
        let chosen = |found: Found| {
            choices.iter().find(|choice| choice.numbers() == found.numbers).map(|&c| (c, found))
        };
        let (choice, found) = match self.kept.get(&name).and_then(chosen) {
            Some(known) => known,
            None => {
                let mut candidates = self.choices(&tried, direction)?;
                candidates.retain(|candidate| choices.iter().any(|c| c.numbers() == candidate.numbers()));
                let (found, is_final) = self.search(&tried, direction, &candidates)?;
                self.kept.put(&name, &found, is_final);
                let Some(chosen) = chosen(found) else { bail!("none of {} fits", choices.len()) };
                chosen
            }
        };
        let took = Duration::try_from_secs_f64(found.seconds).unwrap_or_default();
        let excess = |limits: &Limits| limits.excess(&tried.shape, tried.kind, tried.precision, took);
        if let Some(times) = self.limits.as_ref().and_then(excess) {
            let [number, math] = found.numbers;
            tracing::debug!(
                "cuDNN: {name}: algorithm {number}, arithmetic {math}, takes {took:?}, {times:.1} times what the card allows"
            );
        }
        Ok(choice)
    }

    /// The algorithms that may be taken, the one that cuDNN expects to be the fastest first.
    fn choices(&self, shapes: &Shapes, direction: Direction) -> Result<Vec<Choice>> {
        let named = named(self.handle, shapes, direction)?;
        let allowed = named.iter().filter(|named| named.repeats || !self.compute.deterministic);
        let pairs = allowed.flat_map(|named| shapes.maths().iter().map(|&math| (named.algorithm, math)));
        let choice = |(algorithm, math): (Algorithm, _)| {
            let workspace = shapes.compute_by(math).and_then(|()| algorithm.workspace(self.handle, shapes));
            let workspace = workspace.ok().filter(|&bytes| bytes <= WORKSPACE)?;
            Some(Choice { algorithm, math, workspace })
        };
        Ok(pairs.filter_map(choice).collect())
    }

    /// Finds the fastest algorithm by trying them, and whether it is found for good.
    fn search(&self, shapes: &Shapes, direction: Direction, choices: &[Choice]) -> Result<(Found, bool)> {
        let [x, w, y] = shapes.bytes();
        let [a, b, to] = match direction {
            Direction::Forward => [x, w, y],
            Direction::Input => [w, y, x],
            Direction::Weight => [x, y, w],
        };
        let most = choices.iter().map(|choice| choice.workspace).max().unwrap_or(0);
        let memory = |bytes| Workspace::new(&self.stream, bytes);
        let (a, b, to, workspace) = (memory(a)?, memory(b)?, memory(to)?, memory(most)?);
        let [a, b, to] = [&a, &b, &to].map(|memory| Address(memory.at as u64));
        // Where there is no room for it, the host's time is measured too.
        let mut cleared = zeros(&self.stream, CLEARED).ok();
        let run = |choice: &Choice| {
            let event = || self.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).ok();
            if let Some(cleared) = &mut cleared {
                self.stream.memset_zeros(cleared).ok()?;
            }
            let begin = event()?;
            // SAFETY: all memory is alive until the events have passed, and of the sizes that the shapes and the
            // algorithms want.
            unsafe { self.queue(shapes, *choice, workspace.at, [a, b], to) }.ok()?;
            let milliseconds = begin.elapsed_ms(&event()?).ok()?;
            Duration::try_from_secs_f32(milliseconds / 1e3).ok()
        };
        let [usual, most] = SEARCH;
        let enough = |limits: &Limits| limits.enough(&shapes.shape, shapes.kind, shapes.precision);
        let enough = self.limits.as_ref().map_or(Duration::MAX, enough);
        let Some(fastest) = fastest(choices, Patience { usual, most, enough }, run) else {
            bail!("none of {} algorithms runs", choices.len())
        };
        let found = Found { numbers: choices[fastest.index].numbers(), seconds: fastest.took.as_secs_f64() };
        Ok((found, fastest.is_final))
    }

    /// Queues a convolution by an algorithm, with its workspace.
    ///
    /// # Safety
    /// As [`Algorithm::queue`].
    unsafe fn queue(
        &self,
        shapes: &Shapes,
        choice: Choice,
        workspace: *mut c_void,
        operands: [Address; 2],
        to: Address,
    ) -> Result<()> {
        shapes.compute_by(choice.math)?;
        // SAFETY: as the caller promises.
        unsafe { choice.algorithm.queue(self.handle, shapes, (workspace, choice.workspace), operands, to) }
    }

    /// Memory of at least this many bytes, shared by all convolutions for which it is enough.
    fn workspace(&self, bytes: usize) -> Result<Rc<Workspace>> {
        let mut kept = self.workspace.borrow_mut();
        if let Some(workspace) = kept.as_ref().filter(|workspace| workspace.memory.len() >= bytes) {
            return Ok(workspace.clone());
        }
        // All that were too small are together no larger than this one.
        let workspace = Rc::new(Workspace::new(&self.stream, bytes.next_power_of_two())?);
        *kept = Some(workspace.clone());
        Ok(workspace)
    }

    /// Queues a convolution: of the operands in the order of [`Direction`], to `to`.
    pub fn convolve(
        &self,
        of: &Convolution,
        direction: Direction,
        operands: [Address; 2],
        to: Address,
    ) -> Result<()> {
        let choice = match direction {
            Direction::Forward => Some(of.forward),
            Direction::Input => of.input,
            Direction::Weight => of.weight,
        };
        let Some(choice) = choice else { bail!("no algorithm was chosen for this gradient") };
        // SAFETY: the workspace is as large as the algorithm asked for, and the caller's addresses are of tensors of the
        // descriptors' shapes.
        unsafe { self.queue(&of.shapes, choice, of.workspace.at, operands, to) }
    }
}
