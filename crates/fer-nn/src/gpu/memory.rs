//! The memory of a network on a card, and what is put there once.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::Result;

use super::args::{bytes, bytes_mut};
use super::card::{Address, Gpu};

/// Memory that lives as long as this.
pub(crate) struct Memory<G: Gpu> {
    pub gpu: Arc<G>,
    blocks: RefCell<Vec<G::Memory>>,
}

impl<G: Gpu> Memory<G> {
    pub fn new(gpu: Arc<G>) -> Self {
        Self { gpu, blocks: RefCell::default() }
    }

    /// `len` zeros. Of no values the address is [`Address::NONE`].
    pub fn zeros<T>(&self, len: usize) -> Result<Address> {
        self.bytes(len * size_of::<T>())
    }

    /// `len` bytes of zeros. Of no bytes the address is [`Address::NONE`].
    pub fn bytes(&self, len: usize) -> Result<Address> {
        if len == 0 {
            return Ok(Address::NONE);
        }
        let (block, address) = self.gpu.allocate(len)?;
        self.blocks.borrow_mut().push(block);
        Ok(address)
    }

    /// Memory that holds these values. Of no values the address is [`Address::NONE`].
    pub fn holding<T: Copy>(&self, values: &[T]) -> Result<Address> {
        let address = self.zeros::<T>(values.len())?;
        self.write(values, address)?;
        Ok(address)
    }

    pub fn write<T: Copy>(&self, values: &[T], to: Address) -> Result<()> {
        match values {
            [] => Ok(()),
            values => self.gpu.upload(bytes(values), to),
        }
    }

    pub fn read<T: Copy + Default>(&self, from: Address, len: usize) -> Result<Vec<T>> {
        let mut values = vec![T::default(); len];
        if len > 0 {
            self.gpu.download(from, bytes_mut(&mut values))?;
        }
        Ok(values)
    }
}
