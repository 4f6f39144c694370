//! Whole frames: a length, a header, a body.
//!
//! Rules this file keeps:
//! - the length is computed first, so the frame is written once and from front to back;
//! - the header's version is a fact of the API and version, never guessed: an ApiVersions response has always
//!   version 0, whatever its body is, so that a client that knows no versions yet can read it (KIP-511);
//! - a frame with bytes left over is refused.

use bytes::Bytes;

use super::{
    DecodeError, EncodeError, EncodeFault, Message, Reader, Request, Size, Writer,
    field::Field,
    message::at,
    messages::{RequestHeader, ResponseHeader},
};

/// A request as it is written: the length, the header and the body, records in their own pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pieces: Vec<Bytes>,
}

impl Frame {
    /// How many bytes are written, the four of the length included.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Never true of a frame that [`encode_request`] made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, in order, for a vectored write.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The bytes, in order.
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }
}

/// Writes a request.
///
/// # Errors
/// The table has no such version, a field carries what the version cannot say, or the frame would be longer than
/// 2 GiB.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Frame, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::API.0,
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(Into::into),
    };
    let header_version = R::request_header_version(version);
    let size = header.measure(at::<RequestHeader>(header_version)) + request.measure(at::<R>(version));
    let length = i32::try_from(size.total()).map_err(|_| EncodeError {
        structure: R::NAME,
        field: "",
        fault: EncodeFault::TooLong(size.total()),
    })?;

    let mut out = Writer::with_size(Size::of(4) + size);
    out.put(&length.to_be_bytes());
    header.encode(&mut out, header_version)?;
    request.encode(&mut out, version)?;
    let frame = Frame { pieces: out.into_pieces() };
    debug_assert_eq!(frame.len(), 4 + size.total(), "{} v{version} has another size than computed", R::NAME);
    Ok(frame)
}

/// Which request a response answers: the first four bytes after the length.
///
/// # Errors
/// The frame is shorter.
pub fn response_correlation_id(frame: &Bytes) -> Result<i32, DecodeError> {
    let mut input = Reader::new(frame);
    Ok(i32::from_be_bytes(input.array()?))
}

/// Reads the response to a request of type `R` that was sent in `version`. The frame is what followed its length.
///
/// # Errors
/// The bytes are not what the version allows, or some are left over.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, DecodeError> {
    let mut input = Reader::new(&frame);
    ResponseHeader::decode(&mut input, R::response_header_version(version))?;
    let response = R::Response::decode(&mut input, version)?;
    input.finish()?;
    Ok(response)
}

/// Writes a body alone, in one piece. For tests and tools.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_body<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut out = Writer::with_size(message.measure(at::<M>(version)));
    message.encode(&mut out, version)?;
    Ok(out.into_bytes())
}

/// Reads a body alone.
///
/// # Errors
/// As [`decode_response`].
pub fn decode_body<M: Message>(body: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut input = Reader::new(&body);
    let message = M::decode(&mut input, version)?;
    input.finish()?;
    Ok(message)
}

/// Writes a structure that travels inside bytes of other messages: its version in two bytes, then the body.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_versioned<M: Message>(data: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut out = Writer::with_size(Size::of(2) + data.measure(at::<M>(version)));
    out.put(&version.to_be_bytes());
    data.encode(&mut out, version)?;
    Ok(out.into_bytes())
}

/// Reads what [`encode_versioned`] wrote: the version and the structure. Whoever wrote a version that came later than
/// the table has kept the beginning as it was, so it is read as the newest known one and its end is left alone.
///
/// # Errors
/// The version is below all that the table has, or the bytes are not what it allows.
pub fn decode_versioned<M: Message>(bytes: Bytes) -> Result<(i16, M), DecodeError> {
    let mut input = Reader::new(&bytes);
    let version = i16::from_be_bytes(input.array()?);
    let newest = *M::VERSIONS.end();
    let data = M::decode(&mut input, version.min(newest))?;
    if version <= newest {
        input.finish()?;
    }
    Ok((version, data))
}

#[cfg(test)]
mod tests;
