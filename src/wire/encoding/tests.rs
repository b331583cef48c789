use std::convert::Infallible;
use std::io::Write;

use super::*;

const TEXT: &[u8] = br#"{"model":"gpt-5.6-luna","messages":[{"role":"user","content":"hi"}]}"#;
/// [`TEXT`] in brotli.
const TEXT_BROTLI: &[u8] =
    b"\x8b\x21\x80{\"model\":\"gpt-5.6-luna\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}\x03";
/// 100,000 times `x` in brotli.
const LONG_BROTLI: &[u8] = b"\x5b\x9f\x86\x81\x5f\x02\x2f\x1e\x0b\x04\xb2\xfc\x02\x00";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).and_then(|()| encoder.finish()).unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 19).unwrap()
}

fn decode(encoding: Encoding, encoded: &[u8], bytes_max: usize) -> Result<Bytes, DecodeError<Infallible>> {
    encoding.decode(encoded, bytes_max, |_| Ok(()))
}

/// The same text, short and long, in each encoding.
fn samples() -> [(Encoding, Vec<u8>, Vec<u8>); 3] {
    let long = [b'x'; 100_000];
    [
        (Encoding::Gzip, gzip(TEXT), gzip(&long)),
        (Encoding::Zstd, zstd(TEXT), zstd(&long)),
        (Encoding::Brotli, TEXT_BROTLI.to_vec(), LONG_BROTLI.to_vec()),
    ]
}

#[test]
fn a_body_says_the_same_in_each_encoding() {
    for (encoding, short, long) in samples() {
        assert_eq!(decode(encoding, &short, 1000).as_deref(), Ok(TEXT), "{encoding:?}");
        assert_eq!(decode(encoding, &long, 100_000).as_deref(), Ok(&[b'x'; 100_000][..]), "{encoding:?}");
    }
}

#[test]
fn a_body_that_unfolds_into_too_much_stops_at_the_limit() {
    for (encoding, _, long) in samples() {
        assert_eq!(decode(encoding, &long, 99_999), Err(DecodeError::TooLarge), "{encoding:?}");
        let mut room = 0;
        let full = encoding.decode(&long, 1 << 30, |more| {
            room += more;
            if room > 60_000 { Err("full") } else { Ok(()) }
        });
        assert_eq!(full, Err(DecodeError::NoRoom("full")), "{encoding:?}");
    }
}

#[test]
fn room_is_asked_for_all_that_is_taken() {
    for (encoding, _, long) in samples() {
        let mut room = 0;
        let decoded = encoding.decode(&long, 100_000, |more| {
            room += more;
            Ok::<_, Infallible>(())
        });
        assert_eq!((decoded.map(|bytes| bytes.len()), room), (Ok(100_000), 100_000), "{encoding:?}");
    }
}

#[test]
fn a_body_that_breaks_off_is_told_from_one_that_goes_on() {
    for (encoding, short, _) in samples() {
        for length in 0..short.len() {
            let cut = decode(encoding, &short[..length], 1000);
            assert_eq!(cut, Err(DecodeError::Truncated), "{encoding:?} after {length} of {}", short.len());
        }
        for more in [&b"\0"[..], b"more", &short] {
            let longer = decode(encoding, &[&short, more].concat(), 1000);
            assert_eq!(longer, Err(DecodeError::Trailing), "{encoding:?} and {more:?}");
        }
    }
}

#[test]
fn a_body_of_another_kind_is_malformed() {
    for (encoding, ..) in samples() {
        assert_eq!(decode(encoding, &[0xff; 64], 1000), Err(DecodeError::Malformed), "{encoding:?}");
    }
    let mut flipped = gzip(TEXT);
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    assert_eq!(decode(Encoding::Gzip, &flipped, 1000), Err(DecodeError::Malformed), "its checksum is wrong");
}

#[test]
fn a_window_that_only_wants_memory_is_refused() {
    // A frame that declares a window of 1 GiB and holds one raw block of one byte.
    let frame = b"\x28\xb5\x2f\xfd\x00\xa0\x09\x00\x00x";
    assert_eq!(decode(Encoding::Zstd, frame, 1000), Err(DecodeError::Malformed));
}

#[track_caller]
fn check(named: &[&'static str], expected: Result<Option<Encoding>, UnknownEncoding>) {
    let headers = named.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value))).collect();
    assert_eq!(Encoding::of(&headers), expected, "{named:?}");
}

#[test]
fn one_known_encoding_is_taken() {
    check(&[], Ok(None));
    check(&["Identity"], Ok(None));
    check(&["gzip"], Ok(Some(Encoding::Gzip)));
    check(&[" GZIP "], Ok(Some(Encoding::Gzip)));
    check(&["zstd"], Ok(Some(Encoding::Zstd)));
    check(&["br"], Ok(Some(Encoding::Brotli)));
    for unknown in [&["deflate"][..], &["gzip, br"], &["gzip", "br"], &["identity", "gzip"], &["gzip;q=1"]] {
        check(unknown, Err(UnknownEncoding));
    }
}
