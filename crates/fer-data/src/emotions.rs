//! The seven emotions of FER2013 and the eight of FER+: their codes and names.

/// The emotions by their code in FER2013, 0 to 6.
pub const EMOTIONS: [&str; 7] = ["anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"];

/// The emotions of FER+ by their code, 0 to 7: those of [`EMOTIONS`], and contempt.
pub const FERPLUS_EMOTIONS: [&str; 8] =
    ["anger", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt"];

/// The code of an emotion in any usual spelling, or in digits. Case is ignored. 7 is contempt, which FER+ alone
/// has.
///
/// ```
/// assert_eq!(fer_data::emotion_code("Happiness"), Some(3));
/// assert_eq!(fer_data::emotion_code("6"), Some(6));
/// assert_eq!(fer_data::emotion_code("contempt"), Some(7));
/// assert_eq!(fer_data::emotion_code("bored"), None);
/// ```
pub fn emotion_code(name: &str) -> Option<u32> {
    emotion(name).or_else(|| name.parse().ok().filter(|code| (*code as usize) < FERPLUS_EMOTIONS.len()))
}

/// As [`emotion_code`], of names alone.
pub(crate) fn emotion(name: &str) -> Option<u32> {
    Some(match name.to_lowercase().as_str() {
        "anger" | "angry" => 0,
        "disgust" | "disgusted" => 1,
        "fear" | "fearful" | "afraid" | "scared" => 2,
        "happy" | "happiness" | "joy" => 3,
        "sad" | "sadness" => 4,
        "surprise" | "surprised" => 5,
        "neutral" => 6,
        "contempt" | "contemptuous" => 7,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_emotion_is_known_by_its_own_name() {
        for (code, name) in (0..).zip(FERPLUS_EMOTIONS) {
            assert_eq!(emotion_code(name), Some(code));
        }
    }
}
