//! The marks of a JPEG file.

use memchr::memchr;

/// Whether a JPEG ends before its end mark: decoders fill what is missing with grey and say nothing.
///
/// Segments are passed over by their lengths, so that the end mark of a small preview inside one does not count.
pub fn is_truncated(jpeg: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(mark) = jpeg.get(at..).and_then(|rest| memchr(0xff, rest)).map(|found| at + found) else {
            return true;
        };
        at = match jpeg.get(mark + 1) {
            // The end.
            Some(0xd9) => return false,
            // A fill byte before a mark.
            Some(0xff) => mark + 1,
            // A value of 255 in the data, marks without a segment.
            Some(0x00 | 0x01 | 0xd0..=0xd8) => mark + 2,
            Some(_) => match jpeg.get(mark + 2..mark + 4) {
                Some(length) => mark + 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return true,
            },
            None => return true,
        };
    }
}
