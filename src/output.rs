//! Writing to somebody who may stop reading.

use std::io::{self, ErrorKind, Write};

/// A writer whose failure ends no work: what cannot be written is left out, and [`finish`](Self::finish) says so.
///
/// ```
/// use std::io::Write;
///
/// let mut text = Vec::new();
/// let mut out = fer::Output::new(&mut text);
/// writeln!(out, "accuracy {:.4}", 0.8289)?;
/// out.finish()?;
/// assert_eq!(text, b"accuracy 0.8289\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Output<'a> {
    inner: &'a mut dyn Write,
    /// The first failure; nothing is written after it.
    failed: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// Writes to `inner`.
    pub fn new(inner: &'a mut dyn Write) -> Self {
        Self { inner, failed: None }
    }

    /// Whether somebody may still be reading: nothing has failed yet.
    pub fn is_open(&self) -> bool {
        self.failed.is_none()
    }

    /// Writes what `inner` still holds back.
    ///
    /// # Errors
    /// The first failure, unless it was a closed pipe: whoever read that has had enough.
    pub fn finish(mut self) -> io::Result<()> {
        self.attempt(|inner| inner.flush());
        match self.failed {
            Some(e) if e.kind() != ErrorKind::BrokenPipe => Err(e),
            _ => Ok(()),
        }
    }

    fn attempt(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = write(self.inner).err();
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|inner| inner.write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(|inner| inner.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes two writes, then fails.
    struct Closing(Vec<u8>, ErrorKind);

    impl Write for Closing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() >= 2 {
                return Err(self.1.into());
            }
            self.0.extend(&bytes[..1]);
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn finished(kind: ErrorKind) -> (Vec<u8>, io::Result<()>) {
        let mut closing = Closing(Vec::new(), kind);
        let mut out = Output::new(&mut closing);
        for _ in 0..3 {
            out.write_all(b"a").and_then(|()| out.flush()).unwrap();
        }
        let finished = out.finish();
        (closing.0, finished)
    }

    #[test]
    fn a_closed_pipe_ends_nothing() {
        let (written, finished) = finished(ErrorKind::BrokenPipe);
        assert_eq!(written, b"aa");
        finished.unwrap();
    }

    #[test]
    fn another_failure_is_told_at_the_end() {
        let (written, finished) = finished(ErrorKind::StorageFull);
        assert_eq!(written, b"aa");
        assert_eq!(finished.unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
