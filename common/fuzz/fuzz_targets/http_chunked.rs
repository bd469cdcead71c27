//! The receiver's chunked decoder. Bit 0 of `control`: the stream is data, to be sent in chunks
//! (whose sizes are those of the pieces) and read back; else it is taken as what was sent.
//!
//! Must hold: however the stream is cut, the same data comes out and the same error; no byte comes
//! out that did not go in; what was sent arrives; only the beginning of a line waits in the buffer.
#![no_main]

use bytes::BytesMut;
use common_fuzz::Stream;
use libfuzzer_sys::fuzz_target;
use receiver::ingress::http::chunked::{Decoder, Error};

/// Nothing but a line or its beginning ever waits.
const MAX_WAITING: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::new(input) else {
        return;
    };
    if stream.control & 1 == 1 {
        check_round_trip(&stream);
        return;
    }
    let pieces = read(stream.pieces());
    let whole = read(std::iter::once(&stream.bytes[..]));
    assert_eq!(whole, pieces, "the cuts matter");
});

fn check_round_trip(stream: &Stream) {
    let mut sent = Vec::new();
    for piece in stream.pieces() {
        sent.extend_from_slice(format!("{:x};note\r\n", piece.len()).as_bytes());
        sent.extend_from_slice(piece);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    let (data, end) = read(sent.chunks(7));
    assert_eq!((data, end), (stream.bytes.clone(), Ok(true)));
}

/// The data, and whether it ended or why it is broken.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Result<bool, Error>) {
    let mut decoder = Decoder::default();
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut total = 0;
    for piece in pieces {
        total += piece.len();
        input.extend_from_slice(piece);
        let outcome = decoder.decode(&mut input, &mut output);
        assert!(output.len() + input.len() <= total);
        if let Err(error) = outcome {
            return (output.to_vec(), Err(error));
        }
        assert!(input.len() < MAX_WAITING);
    }
    (output.to_vec(), Ok(decoder.is_ended()))
}
