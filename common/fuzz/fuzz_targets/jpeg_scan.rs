//! The JPEG scan.
//!
//! Must hold: a picture lies within the input and ends with its end marker; neither what follows it
//! nor a fill byte before its end marker changes what is found; cut off anywhere it is `Incomplete`
//! and asks for no more than was cut off; what is broken was unfinished or broken alike at each
//! earlier cut; no picture ends before the bytes asked for.
#![no_main]

use common::jpeg::{self, Picture};
use common::wire::DecodeError;
use libfuzzer_sys::fuzz_target;

/// Cuts tried in one input.
const MAX_CUTS: usize = 64;

fuzz_target!(|input: &[u8]| {
    let outcome = jpeg::scan(input);
    match &outcome {
        Ok(picture) => check_picture(input, *picture),
        Err(DecodeError::Incomplete { needed }) => check_needed(input, *needed),
        Err(DecodeError::Invalid { at, .. }) => assert!(*at <= input.len()),
    }
    let length = outcome
        .as_ref()
        .map_or(input.len(), |picture| picture.length);
    for cut in cuts(length) {
        match jpeg::scan(&input[..cut]) {
            Err(DecodeError::Incomplete { needed }) => {
                assert!(needed >= 1, "cut at {cut}");
                assert!(outcome.is_err() || cut + needed <= length, "cut at {cut}");
            }
            other => assert_eq!(other, outcome, "cut at {cut}"),
        }
    }
    let naive = input.windows(2).position(|pair| pair == [0xff, 0xd8]);
    assert_eq!(jpeg::find_start(input, 0), naive);
});

/// The last few places to cut, where the end marker is, and some before.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let spread = (0..length).step_by(length.div_ceil(MAX_CUTS).max(1));
    spread.chain(length.saturating_sub(4)..length)
}

fn check_picture(input: &[u8], picture: Picture) {
    let (own, behind) = input.split_at(picture.length);
    assert!(own.starts_with(&[0xff, 0xd8]) && own.ends_with(&[0xff, 0xd9]));
    assert!(picture.width > 0 && picture.height > 0);
    assert_eq!(jpeg::scan(own), Ok(picture));
    assert_eq!(jpeg::scan(&[own, own, behind].concat()), Ok(picture));
    let (body, end) = own.split_at(own.len() - 2);
    let filled = jpeg::scan(&[body, &[0xff], end, behind].concat());
    let length = picture.length + 1;
    assert_eq!(
        filled,
        Ok(Picture { length, ..picture }),
        "a fill byte hides the end"
    );
}

fn check_needed(input: &[u8], needed: usize) {
    assert!((1..=usize::from(u16::MAX)).contains(&needed));
    let mut tail = vec![0xff; needed - 1];
    if let Some(last) = tail.last_mut() {
        *last = 0xd9;
    }
    let early = jpeg::scan(&[input, &tail].concat());
    assert!(
        early.is_err(),
        "it ends before the {needed} bytes asked for: {early:?}"
    );
}
