//! The lines of a text, with its md5.
//!
//! Decompression and md5 have a thread each, so that the caller's own work on the lines is all that takes its
//! time. Lines are counted by their ends alone: the number of a line is the one an editor shows, whatever its
//! row ends (LF or CRLF), blank lines or quotes.

use std::{
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use md5::{Digest, Md5};
use memchr::{memchr, memrchr};

use crate::{Error, Problem, Result, archive::Text, source::hex};

/// Bytes read at once: small enough to stay in a core's cache from the decompressor to the parser.
const BLOCK: usize = 256 << 10;
/// Blocks that may wait for the parser or the md5.
const AHEAD: usize = 4;
/// The longest line, against files that have no line ends.
const LONGEST: usize = 16 << 20;

type Block = Arc<Vec<u8>>;

/// A reader of lines that knows its file and its place in it.
pub(crate) struct Lines {
    path: PathBuf,
    blocks: Receiver<Result<Block, Problem>>,
    reader: Option<JoinHandle<()>>,
    md5: JoinHandle<String>,
    block: Block,
    line: Range<usize>,
    number: u64,
}

impl Lines {
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let text = Text::open(path)?;
        let (parser, blocks) = sync_channel(AHEAD);
        let (digester, digested) = sync_channel::<Block>(AHEAD);
        let work = move || {
            if let Err(error) = text.read(|text| read(text, &parser, &digester)) {
                let _ = parser.send(Err(Problem::Read(error)));
            }
        };
        let spawn = thread::Builder::new;
        let reader = Some(spawn().name("fer-data read".into()).spawn(work).map_err(failed)?);
        let md5 = spawn().name("fer-data md5".into()).spawn(move || digest(digested)).map_err(failed)?;
        let path = path.to_owned();
        Ok(Self { path, blocks, reader, md5, block: Block::default(), line: 0..0, number: 0 })
    }

    /// The next line without its end; none at the end of the file.
    pub fn next(&mut self) -> Result<Option<&str>> {
        if self.advance()? { self.text().map(Some) } else { Ok(None) }
    }

    /// The next line that is not blank.
    pub fn next_row(&mut self) -> Result<Option<&str>> {
        while self.advance()? {
            if !self.block[self.line.clone()].trim_ascii().is_empty() {
                return self.text().map(Some);
            }
        }
        Ok(None)
    }

    /// The columns of the header.
    pub fn header(&mut self) -> Result<Vec<String>> {
        let Some(line) = self.next()? else {
            return Err(self.error(Problem::EmptyFile));
        };
        if line.contains('\r') {
            return Err(self.error(Problem::CarriageReturns));
        }
        let names: Result<Vec<String>, Problem> =
            Fields::of(line).map(|name| Ok(name?.trim().to_owned())).collect();
        let by = [(';', "semicolons"), ('\t', "tabs"), ('|', "upright bars")];
        match names {
            Ok(names) if names.len() == 1 => match by.iter().find(|(mark, _)| names[0].contains(*mark)) {
                Some((_, by)) => Err(self.error(Problem::Delimiter { by })),
                None => Ok(names),
            },
            names => names.map_err(|problem| self.error(problem)),
        }
    }

    /// The error at the line that was read last.
    pub fn error(&self, problem: Problem) -> Error {
        Error::Line { path: self.path.clone(), line: self.number, problem }
    }

    /// The number of the line that was read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The md5 of the whole text, after the last line.
    pub fn md5(self) -> String {
        drop(self.blocks);
        self.md5.join().unwrap_or_default()
    }

    /// Goes on to the next line; false at the end of the file.
    fn advance(&mut self) -> Result<bool> {
        self.number += 1;
        let mut start = self.line.end + 1;
        while start >= self.block.len() {
            match self.blocks.recv() {
                Ok(Ok(block)) => (self.block, start) = (block, 0),
                Ok(Err(problem)) => return Err(self.error(problem)),
                Err(_) => return self.ended(),
            }
        }
        let rest = &self.block[start..];
        self.line = start..start + memchr(b'\n', rest).unwrap_or(rest.len());
        Ok(true)
    }

    /// False; a reader that panicked has not come to the end of the file.
    fn ended(&mut self) -> Result<bool> {
        match self.reader.take().map(JoinHandle::join) {
            Some(Err(_)) => {
                Err(self
                    .error(Problem::Read(io::Error::other("the decompressor failed: is the file damaged?"))))
            }
            _ => Ok(false),
        }
    }

    fn text(&self) -> Result<&str> {
        let line = &self.block[self.line.clone()];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match std::str::from_utf8(line) {
            Ok(line) if self.number == 1 => Ok(line.strip_prefix('\u{feff}').unwrap_or(line)),
            Ok(line) => Ok(line),
            Err(error) => Err(self.error(Problem::NotUtf8 { at: error.valid_up_to() + 1 })),
        }
    }
}

/// Sends the text on in blocks of whole lines.
fn read(text: &mut dyn Read, parser: &SyncSender<Result<Block, Problem>>, md5: &SyncSender<Block>) {
    let mut begun = Vec::new();
    loop {
        let mut block = Vec::with_capacity(begun.len() + BLOCK);
        block.append(&mut begun);
        let read = (&mut *text).take(BLOCK as u64).read_to_end(&mut block);
        let at_end = matches!(read, Ok(0));
        if !at_end {
            begun = block.split_off(memrchr(b'\n', &block).map_or(0, |end| end + 1));
        }
        if !block.is_empty() {
            let block = Block::new(block);
            // The parser gives up at the first error; nobody asks for the md5 then.
            if parser.send(Ok(block.clone())).is_err() || md5.send(block).is_err() {
                return;
            }
        }
        let problem = match read {
            Err(error) => Problem::Read(error),
            Ok(_) if begun.len() > LONGEST => Problem::LongLine { limit: LONGEST },
            Ok(_) if at_end => return,
            Ok(_) => continue,
        };
        let _ = parser.send(Err(problem));
        return;
    }
}

fn digest(blocks: Receiver<Block>) -> String {
    let mut digest = Md5::new();
    blocks.iter().for_each(|block| digest.update(block.as_slice()));
    hex(digest)
}

/// The fields of one line of CSV, without their quotes; doubled quotes inside stay doubled.
pub(crate) struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    pub fn of(line: &'a str) -> Self {
        Self(Some(line))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<&'a str, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.take()?.trim_start_matches(' ');
        let Some(quoted) = rest.strip_prefix('"') else {
            let field = match memchr(b',', rest.as_bytes()) {
                Some(end) => {
                    self.0 = Some(&rest[end + 1..]);
                    &rest[..end]
                }
                None => rest,
            };
            return Some(Ok(field));
        };
        let mut end = 0;
        loop {
            let Some(quote) = memchr(b'"', &quoted.as_bytes()[end..]) else {
                return Some(Err(Problem::Quote));
            };
            end += quote;
            if !quoted[end + 1..].starts_with('"') {
                break;
            }
            end += 2;
        }
        let after = quoted[end + 1..].trim_start_matches(' ');
        if !after.is_empty() {
            match after.strip_prefix(',') {
                Some(after) => self.0 = Some(after),
                None => return Some(Err(Problem::Quote)),
            }
        }
        Some(Ok(&quoted[..end]))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn lines(content: &[u8]) -> (tempfile::NamedTempFile, Lines) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let lines = Lines::open(file.path()).unwrap();
        (file, lines)
    }

    #[test]
    fn a_line_has_the_number_that_an_editor_shows() {
        for text in ["\u{feff}a\n\n \nb\nc", "a\r\n\r\n\r\nb\r\nc\r\n"] {
            let (_file, mut lines) = lines(text.as_bytes());
            assert_eq!(lines.next_row().unwrap(), Some("a"));
            assert_eq!(lines.next_row().unwrap(), Some("b"));
            assert_eq!(lines.number, 4);
            assert_eq!(lines.next_row().unwrap(), Some("c"));
            assert_eq!(lines.number, 5);
            assert_eq!(lines.next_row().unwrap(), None);
        }
    }

    #[test]
    fn lines_longer_than_a_block_stay_whole() {
        let long = "7".repeat(3 * BLOCK);
        let (_file, mut lines) = lines(format!("{long}\nx\n{long}").as_bytes());
        assert_eq!(lines.next().unwrap(), Some(long.as_str()));
        assert_eq!(lines.next().unwrap(), Some("x"));
        assert_eq!(lines.next().unwrap(), Some(long.as_str()));
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn the_md5_is_of_the_uncompressed_text() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"abc").unwrap();
        for content in [b"abc".to_vec(), gzip.finish().unwrap(), zstd::encode_all(&b"abc"[..], 1).unwrap()] {
            let (_file, mut lines) = lines(&content);
            assert_eq!(lines.next().unwrap(), Some("abc"));
            assert_eq!(lines.next().unwrap(), None);
            assert_eq!(lines.md5(), "900150983cd24fb0d6963f7d28e17f72");
        }
    }

    #[test]
    fn a_quoted_field_may_hold_commas_and_quotes() {
        let fields = |line| Fields::of(line).collect::<Result<Vec<_>, _>>();
        assert_eq!(fields(r#"1,"a, ""b""" ,c,"#).unwrap(), ["1", r#"a, ""b"""#, "c", ""]);
        assert_eq!(fields("").unwrap(), [""]);
        assert!(fields(r#"1,"2"#).is_err());
        assert!(fields(r#"1,"2"3,4"#).is_err());
    }

    proptest! {
        #[test]
        fn fields_written_are_fields_read(values in prop::collection::vec("[a-z, ]{0,6}", 1..6)) {
            let line: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
            let line = line.join(",");
            let fields: Result<Vec<_>, _> = Fields::of(&line).collect();
            prop_assert_eq!(fields.unwrap(), values);
        }
    }
}
