//! Decoding bytes to text as they arrive, for display.

/// Decodes UTF-8 that arrives in pieces of any size.
///
/// An incomplete sequence is held back until the next piece; invalid bytes become U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct Utf8Decoder {
    /// The beginning of a sequence: at most three bytes.
    held: Vec<u8>,
}

impl Utf8Decoder {
    /// Appends the text of a piece.
    pub(crate) fn decode(&mut self, piece: &[u8], text: &mut String) {
        if self.held.is_empty() {
            self.held = split(piece, text).to_vec();
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(piece);
            self.held = split(&joined, text).to_vec();
        }
    }

    /// Appends what was held back: nothing will complete it.
    pub(crate) fn finish(&mut self, text: &mut String) {
        if !self.held.is_empty() {
            self.held.clear();
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Appends the text of some bytes; returns the incomplete sequence at their end.
fn split<'a>(mut bytes: &'a [u8], text: &mut String) -> &'a [u8] {
    loop {
        let error = match std::str::from_utf8(bytes) {
            Ok(valid) => {
                text.push_str(valid);
                return &[];
            }
            Err(error) => error,
        };
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        // The error has just reported that these are valid: nothing is replaced.
        text.push_str(&String::from_utf8_lossy(valid));
        match error.error_len() {
            None => return rest,
            Some(invalid) => {
                text.push(char::REPLACEMENT_CHARACTER);
                bytes = &rest[invalid..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> String {
        let (mut decoder, mut text) = (Utf8Decoder::default(), String::new());
        for piece in pieces {
            decoder.decode(piece, &mut text);
        }
        decoder.finish(&mut text);
        text
    }

    #[test]
    fn text_is_the_same_wherever_it_is_cut() {
        let text = "aé中😀\u{fffd}z";
        let bytes = text.as_bytes();
        for a in 0..=bytes.len() {
            for b in a..=bytes.len() {
                assert_eq!(decode(&[&bytes[..a], &bytes[a..b], &bytes[b..]]), text, "{a} {b}");
            }
        }
    }

    #[test]
    fn an_incomplete_sequence_is_held_back_and_in_the_end_replaced() {
        let (mut decoder, mut text) = (Utf8Decoder::default(), String::new());
        decoder.decode(b"a\xe4\xb8", &mut text);
        assert_eq!(text, "a");
        decoder.finish(&mut text);
        assert_eq!(text, "a\u{fffd}");
        decoder.decode(b"b", &mut text);
        assert_eq!(text, "a\u{fffd}b");
    }

    #[test]
    fn invalid_bytes_are_replaced_as_std_does_it_wherever_they_are_cut() {
        let bytes = b"\xff\xfea\xc0\xaf\xe4\xb8x\xf0\x9f\x98\xed\xa0\x80";
        let expected = String::from_utf8_lossy(bytes);
        for at in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..at], &bytes[at..]]), expected, "{at}");
        }
    }
}
