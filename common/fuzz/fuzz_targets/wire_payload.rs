//! The PAYLOAD body. The input is a body whose checksums are made right first.
//!
//! Must hold: frames encode to the very bytes they were read from and share them; a body cut off
//! anywhere is `Incomplete` and never asks for more than was cut off; with exactly what it asks for,
//! decoding gets further.
#![no_main]

use bytes::Bytes;
use common::wire::{DecodeError, payload};
use common::{Frame, Payload};
use libfuzzer_sys::fuzz_target;

/// Most bytes added where some are asked for.
const MAX_ADDED: usize = 64 << 10;
/// Cuts tried in one body.
const MAX_CUTS: usize = 64;

fuzz_target!(|input: &[u8]| {
    drop(payload::decode(&Bytes::copy_from_slice(input)));
    let mut body = input.to_vec();
    common_fuzz::mend_payload(&mut body);
    let body = Bytes::from(body);
    match payload::decode(&body) {
        Ok(frames) => check_frames(&body, &frames),
        Err(DecodeError::Incomplete { needed }) => check_progress(&body, needed),
        Err(DecodeError::Invalid { at, .. }) => assert!(at <= body.len()),
    }
});

fn check_frames(body: &Bytes, frames: &[Frame]) {
    assert!((1..=Payload::MAX_FRAMES).contains(&frames.len()));
    assert_eq!(payload::encoded_len(frames), body.len());
    assert_eq!(
        payload::encode(b"", frames).concat(),
        *body,
        "not what was read"
    );
    for data in frames
        .iter()
        .map(Frame::data)
        .filter(|data| !data.is_empty())
    {
        assert!(
            body.as_ptr_range().contains(&data.as_ptr()),
            "bytes were copied"
        );
    }
    for cut in (0..body.len()).step_by(body.len().div_ceil(MAX_CUTS)) {
        match payload::decode(&body.slice(..cut)) {
            Err(DecodeError::Incomplete { needed }) => {
                assert!(needed >= 1 && cut + needed <= body.len(), "cut at {cut}");
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

fn check_progress(body: &Bytes, needed: usize) {
    assert!((1..=Frame::MAX_BYTES).contains(&needed));
    if needed > MAX_ADDED {
        return;
    }
    let longer = [body, &vec![0; needed][..]].concat();
    let wanted = longer.len();
    if let Err(DecodeError::Incomplete { needed }) = payload::decode(&longer.into()) {
        assert!(needed >= 1, "nothing more wanted behind byte {wanted}");
    }
    let shorter = [body, &vec![0; needed - 1][..]].concat();
    let expected = Err(DecodeError::Incomplete { needed: 1 });
    assert_eq!(
        payload::decode(&shorter.into()),
        expected,
        "less would have been enough"
    );
}
