//! The text of a table, out of whatever it is packed in.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    path::Path,
};

use fer_files::Kind;
use flate2::bufread::MultiGzDecoder;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use crate::{Error, Result, error::shorten};

/// Bytes that tell what a file is.
const HEAD: u64 = 512;
/// Bytes read from a file at once.
const BUFFER: usize = 256 << 10;

type Stream = Box<dyn Read + Send>;

/// Where a text is read from.
pub(crate) enum Text {
    /// The file, or what it is when unpacked.
    Stream(Stream),
    /// The member of this number in a zip archive.
    Zip(ZipArchive<BufReader<File>>, usize),
    /// The member of this number in a tar archive.
    Tar(tar::Archive<Stream>, usize),
}

impl Text {
    /// The text in a file: plain, gzip, Zstandard, or the only CSV file in a zip or tar archive.
    pub fn open(path: &Path) -> Result<Self> {
        let stream = open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        match stream.kind {
            None | Some(Kind::Empty) => Ok(Self::Stream(stream.bytes)),
            Some(Kind::Zip) if path.is_file() && !stream.unpacked => zipped(path),
            Some(Kind::Tar) if path.is_file() => tarred(path),
            Some(kind) => Err(no_table(path, kind.to_string(), advice(kind))),
        }
    }

    /// Gives the text to `work`.
    pub fn read(self, work: impl FnOnce(&mut dyn Read)) -> io::Result<()> {
        match self {
            Self::Stream(mut stream) => work(&mut stream),
            Self::Zip(mut archive, index) => {
                // Its checksum is compared at its end.
                work(&mut archive.by_index(index)?);
            }
            Self::Tar(mut archive, index) => match archive.entries()?.nth(index) {
                Some(member) => work(&mut member?),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
        Ok(())
    }
}

/// A file without its compression, and what it is then.
fn open(path: &Path) -> io::Result<Peeked> {
    let file = Peeked::of(Box::new(File::open(path)?));
    let bytes = BufReader::with_capacity(BUFFER, file.bytes);
    Ok(match file.kind {
        Some(Kind::Gzip) => Peeked::of(Box::new(MultiGzDecoder::new(bytes))).unpacked(),
        Some(Kind::Zstandard) => Peeked::of(Box::new(zstd::Decoder::with_buffer(bytes)?)).unpacked(),
        kind => Peeked { kind, unpacked: false, bytes: Box::new(bytes) },
    })
}

/// A stream, and what its first bytes tell. It may be a pipe: nothing is read twice.
struct Peeked {
    kind: Option<Kind>,
    /// Whether a compression was taken off.
    unpacked: bool,
    bytes: Stream,
}

impl Peeked {
    fn of(mut bytes: Stream) -> Self {
        let mut head = Vec::new();
        let read = (&mut bytes).take(HEAD).read_to_end(&mut head);
        let kind = Kind::of(&head);
        let head = Cursor::new(head);
        match read {
            Ok(_) => Self { kind, unpacked: false, bytes: Box::new(head.chain(bytes)) },
            // The error is told where the bytes before it were read.
            Err(error) => Self {
                kind: kind.filter(|kind| *kind != Kind::Empty),
                unpacked: false,
                bytes: Box::new(head.chain(Failed(Some(error)))),
            },
        }
    }

    fn unpacked(self) -> Self {
        Self { unpacked: true, ..self }
    }
}

/// A reader that fails.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }
}

fn zipped(path: &Path) -> Result<Text> {
    let damaged = |e: ZipError| {
        no_table(path, format!("a damaged zip archive ({e})"), "is the file complete?".to_owned())
    };
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let names = archive.file_names().map(|name| name.map(|name| name.into_owned()));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(damaged)?;
    let index = only_csv(path, Kind::Zip, &names)?;
    match archive.by_index(index) {
        Ok(member)
            if [CompressionMethod::STORE, CompressionMethod::DEFLATE].contains(&member.compression()) => {}
        Ok(member) => {
            let found = format!("a zip archive packed by {}", member.compression());
            return Err(no_table(path, found, "unpack it first".to_owned()));
        }
        Err(e @ ZipError::UnsupportedArchive(_)) => {
            return Err(no_table(path, format!("a zip archive ({e})"), "unpack it first".to_owned()));
        }
        Err(e) => return Err(damaged(e)),
    }
    Ok(Text::Zip(archive, index))
}

fn tarred(path: &Path) -> Result<Text> {
    let open = || open(path).map(|stream| tar::Archive::new(stream.bytes));
    let names = || -> io::Result<Vec<String>> {
        let name = |entry: io::Result<tar::Entry<'_, Stream>>| {
            entry.map(|entry| match entry.header().entry_type().is_file() {
                true => String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
                false => String::new(),
            })
        };
        let mut archive = open()?;
        let names = archive.entries()?.map(name).collect();
        // The checksum of what the archive is packed in comes last.
        io::copy(&mut archive.into_inner(), &mut io::sink())?;
        names
    };
    let damaged = |e: io::Error| {
        no_table(path, format!("a damaged tar archive ({e})"), "is the file complete?".to_owned())
    };
    let index = only_csv(path, Kind::Tar, &names().map_err(damaged)?)?;
    Ok(Text::Tar(open().map_err(damaged)?, index))
}

/// The place of the only CSV file among the members of an archive.
fn only_csv(path: &Path, kind: Kind, names: &[String]) -> Result<usize> {
    let is_csv = |name: &String| {
        let file = name.rsplit('/').next().unwrap_or_default();
        // What macOS adds is no table.
        file.to_lowercase().ends_with(".csv") && !file.starts_with('.') && !name.starts_with("__MACOSX/")
    };
    let tables: Vec<usize> = (0..names.len()).filter(|&i| is_csv(&names[i])).collect();
    match tables[..] {
        [index] => Ok(index),
        [] => Err(no_table(
            path,
            format!("{kind} without a CSV file"),
            "unpack it and give what is in it".to_owned(),
        )),
        _ => {
            let listed: Vec<String> = tables.iter().take(6).map(|&i| shorten(&names[i])).collect();
            let found = format!("{kind} with {} CSV files ({})", tables.len(), listed.join(", "));
            Err(no_table(path, found, "unpack it and give one of them".to_owned()))
        }
    }
}

fn no_table(path: &Path, found: String, advice: String) -> Error {
    Error::NoTable { path: path.to_owned(), found, advice }
}

fn advice(kind: Kind) -> String {
    match kind {
        // Of those that are read, one packing is undone, and a pipe cannot be searched.
        Kind::Xz
        | Kind::Bzip2
        | Kind::SevenZip
        | Kind::Rar
        | Kind::Gzip
        | Kind::Zstandard
        | Kind::Zip
        | Kind::Tar => "unpack it first",
        Kind::GitLfs => "fetch it with `git lfs pull`",
        Kind::Html => {
            "it was saved in place of the file: download that again, signed in where the site asks for it"
        }
        Kind::Utf16 => "save it in UTF-8",
        Kind::Png | Kind::Jpeg | Kind::Gif | Kind::WebP | Kind::Bmp | Kind::Tiff => {
            "give a folder of pictures"
        }
        Kind::OldOffice | Kind::Numpy | Kind::Parquet | Kind::Sqlite => {
            "save the table as comma-separated values"
        }
        _ => "is it the right file?",
    }
    .to_owned()
}
