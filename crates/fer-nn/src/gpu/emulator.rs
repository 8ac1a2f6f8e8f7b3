//! A card in software: the kernels compiled by a C++ compiler, convolutions and products by their definitions.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Mutex, OnceLock};

use candle_core::{DType, Device, Result, Tensor, bail};

use super::args::{bytes, bytes_mut};
use super::card::{Address, Args, Direction, Gpu, Half, Kind, Product};
use crate::cpu;
use crate::cpu::plain::products;
use crate::geometry::ConvShape;

type Launch =
    unsafe extern "C" fn(*const c_char, *const c_uint, *const c_uint, *const c_void, usize) -> c_int;

/// The kernels, one caller at a time: the emulator's threads are global.
static KERNELS: OnceLock<Option<Mutex<libloading::Library>>> = OnceLock::new();

/// A card in software. Work that is queued is done at once, except while it is recorded.
#[derive(Clone)]
pub(crate) struct Emulator {
    recording: Rc<RefCell<Option<Vec<Work>>>>,
}

type Work = Rc<dyn Fn(&Emulator) -> Result<()>>;

impl Emulator {
    /// A card; `None`, which is said, where there is no C++ compiler.
    pub fn new() -> Option<Self> {
        let kernels = KERNELS.get_or_init(|| compile().map(Mutex::new));
        kernels.is_some().then(|| Self { recording: Rc::default() })
    }

    fn queue(&self, work: impl Fn(&Self) -> Result<()> + 'static) -> Result<()> {
        match &mut *self.recording.borrow_mut() {
            Some(recorded) => recorded.push(Rc::new(work)),
            None => return work(self),
        }
        Ok(())
    }
}

/// Compiles `kernels/` into a library in a folder that is deleted when it is loaded.
fn compile() -> Option<libloading::Library> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/kernels.cu");
    let folder = std::env::temp_dir().join(format!("fer-nn-kernels-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let library = folder.join("kernels.so");
    let flags =
        ["-x", "c++", "-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Wextra"];
    let status = Command::new("c++")
        .args(flags)
        .args(["-Werror", "-Wno-unknown-pragmas", "-o"])
        .args([&library, &source])
        .status();
    let loaded = match status {
        Err(e) => {
            println!("skipped: the kernels cannot be emulated without a C++ compiler (c++: {e})");
            None
        }
        Ok(status) => {
            assert!(status.success(), "the kernels do not compile");
            // SAFETY: the library is the kernels'; its initialisers only register them.
            Some(unsafe { libloading::Library::new(&library) }.unwrap())
        }
    };
    std::fs::remove_dir_all(&folder).unwrap();
    loaded
}

/// `len` values of the emulated card's memory.
fn values<'a, T>(at: Address, len: usize) -> &'a mut [T] {
    // SAFETY: the address is of memory of this process that a test allocated, and no two slices in use overlap.
    unsafe { std::slice::from_raw_parts_mut(at.0 as *mut T, len) }
}

/// The values of either kind, as f32.
fn read(kind: Kind, at: Address, len: usize) -> Vec<f32> {
    match kind {
        Kind::F32 => values::<f32>(at, len).to_vec(),
        Kind::Bf16 => values::<Half>(at, len).iter().map(|&v| f32::from_bits(u32::from(v) << 16)).collect(),
    }
}

fn write(kind: Kind, at: Address, from: &[f64]) {
    match kind {
        Kind::F32 => values::<f32>(at, from.len()).iter_mut().zip(from).for_each(|(to, &v)| *to = v as f32),
        Kind::Bf16 => {
            let half = |v: f64| {
                let bits = (v as f32).to_bits();
                ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as Half
            };
            values::<Half>(at, from.len()).iter_mut().zip(from).for_each(|(to, &v)| *to = half(v));
        }
    }
}

/// From the place in `(outer, channels, area)` to that in `(outer, area, channels)`.
fn last(i: usize, channels: usize, area: usize) -> usize {
    let (outer, rest) = (i / (channels * area), i % (channels * area));
    (outer * area + rest % area) * channels + rest / area
}

impl Gpu for Emulator {
    type Memory = Box<[u64]>;
    type Convolution = (ConvShape, Kind);
    type Graph = Vec<Work>;

    fn allocate(&self, bytes: usize) -> Result<(Self::Memory, Address)> {
        let mut memory = vec![0_u64; bytes.div_ceil(8) + 2].into_boxed_slice();
        let start = memory.as_mut_ptr() as u64;
        Ok((memory, Address(start.next_multiple_of(16))))
    }

    fn upload(&self, bytes: &[u8], to: Address) -> Result<()> {
        assert!(self.recording.borrow().is_none(), "an upload while work is recorded");
        values::<u8>(to, bytes.len()).copy_from_slice(bytes);
        Ok(())
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        assert!(self.recording.borrow().is_none(), "a download while work is recorded");
        bytes.copy_from_slice(values(from, bytes.len()));
        Ok(())
    }

    fn read(&self, tensor: &Tensor, work: &mut dyn FnMut(Address) -> Result<()>) -> Result<()> {
        cpu::read(tensor, |values| work(Address(bytes(values).as_ptr() as u64)))?
    }

    fn tensor(&self, shape: &[usize], work: &mut dyn FnMut(Address) -> Result<()>) -> Result<Tensor> {
        let mut values = vec![0.0_f32; shape.iter().product()];
        work(Address(bytes_mut(&mut values).as_mut_ptr() as u64))?;
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F32)
    }

    fn launch<A: Args>(&self, kernel: &str, grid: [usize; 2], block: [usize; 2], args: &A) -> Result<()> {
        assert!(block[0] * block[1] <= 256 && grid[0] > 0 && grid[1] > 0, "{kernel} {grid:?} {block:?}");
        let (kernel, args) = (CString::new(kernel).unwrap(), *args);
        self.queue(move |_| {
            let three = |of: [usize; 2]| [of[0] as c_uint, of[1] as c_uint, 1];
            let Some(Some(library)) = KERNELS.get() else { bail!("no kernels") };
            let library = library.lock().unwrap_or_else(|e| e.into_inner());
            // SAFETY: the function has this type; the arguments are those of the kernel, whose size it checks.
            let code = unsafe {
                let launch: libloading::Symbol<Launch> = library.get(b"emulator_launch").unwrap();
                let args: *const A = &args;
                launch(
                    kernel.as_ptr(),
                    three(grid).as_ptr(),
                    three(block).as_ptr(),
                    args.cast(),
                    size_of::<A>(),
                )
            };
            match code {
                0 => Ok(()),
                1 => bail!("no kernel {kernel:?}"),
                _ => bail!("{kernel:?} does not take arguments of {} bytes", size_of::<A>()),
            }
        })
    }

    fn convolution(&self, shape: &ConvShape, kind: Kind, _: [bool; 2]) -> Result<Self::Convolution> {
        Ok((*shape, kind))
    }

    fn convolve(
        &self,
        &(s, kind): &Self::Convolution,
        direction: Direction,
        operands: [Address; 2],
        to: Address,
    ) -> Result<()> {
        self.queue(move |_| {
            let (in_area, out_area) = (s.height * s.width, s.out_height * s.out_width);
            let taps = s.kernel.0 * s.kernel.1;
            let x_len = s.batch * s.in_channels * in_area;
            let (y_len, w_len) = (s.batch * s.out_channels * out_area, s.weight_len());
            let lens = match direction {
                Direction::Forward => [x_len, w_len, y_len],
                Direction::Input => [w_len, y_len, x_len],
                Direction::Weight => [x_len, y_len, w_len],
            };
            let (a, b) = (read(kind, operands[0], lens[0]), read(kind, operands[1], lens[1]));
            let mut sums = vec![0.0_f64; lens[2]];
            products(&s, |y, x, w| {
                let y = last(y, s.out_channels, out_area);
                let x = last(x, s.in_channels, in_area);
                let w = last(w, s.in_channels / s.groups, taps);
                let (to, a, b) = match direction {
                    Direction::Forward => (y, a[x], b[w]),
                    Direction::Input => (x, a[w], b[y]),
                    Direction::Weight => (w, a[x], b[y]),
                };
                sums[to] += f64::from(a) * f64::from(b);
            });
            write(kind, to, &sums);
            Ok(())
        })
    }

    fn multiply(&self, p: Product) -> Result<()> {
        self.queue(move |_| {
            let a = read(Kind::F32, p.a, p.rows * p.inner);
            let b = read(Kind::F32, p.b, p.inner * p.columns);
            let at = |transposed, row, column, rows, columns| {
                if transposed { column * rows + row } else { row * columns + column }
            };
            let mut sums = match p.adds {
                true => read(Kind::F32, p.c, p.rows * p.columns).into_iter().map(f64::from).collect(),
                false => vec![0.0_f64; p.rows * p.columns],
            };
            for row in 0..p.rows {
                for column in 0..p.columns {
                    for k in 0..p.inner {
                        let a = a[at(p.a_transposed, row, k, p.rows, p.inner)];
                        let b = b[at(p.b_transposed, k, column, p.inner, p.columns)];
                        sums[row * p.columns + column] += f64::from(a) * f64::from(b);
                    }
                }
            }
            write(Kind::F32, p.c, &sums);
            Ok(())
        })
    }

    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Self::Graph> {
        *self.recording.borrow_mut() = Some(Vec::new());
        let outcome = work();
        let recorded = self.recording.borrow_mut().take().unwrap_or_default();
        outcome.map(|()| recorded)
    }

    fn replay(&self, graph: &Self::Graph) -> Result<()> {
        graph.iter().try_for_each(|work| work(self))
    }
}
