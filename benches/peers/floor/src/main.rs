//! What no client can do without, under the flags of `milena perf produce`: each value is copied into a batch, the batch
//! is compressed and summed, and its bytes go into a socket. Nothing else: no partition, no answer, no order.
//!
//! The other end of the socket is a process of its own, so that its time is not counted.

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
};

use common::{Common, Payloads, Result};

fn main() -> Result<()> {
    if let Ok(address) = env::var(DRAIN) {
        return drain(&address);
    }
    common::blocking(|common, payloads, count| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut other = Command::new(env::current_exe()?).env(DRAIN, listener.local_addr()?.to_string()).spawn()?;
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        Ok(move || {
            send(common, payloads, count, socket)?;
            other.wait()?;
            Ok(())
        })
    })
}

fn send(common: &Common, payloads: Payloads, count: u64, mut socket: TcpStream) -> Result<()> {
    let (mut batch, mut packed, mut codec) =
        (Vec::with_capacity(common.batch + 1024), Vec::new(), snap::raw::Encoder::new());
    for number in 0..count {
        // A record's own header and end: lengths, deltas, no key, no headers.
        let value = payloads.value(number);
        batch.extend_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7]);
        batch.extend_from_slice(payloads.key(number).unwrap_or_default());
        batch.extend_from_slice(value);
        batch.push(0);
        if batch.len() + value.len() + 32 <= common.batch && number + 1 < count {
            continue;
        }
        let bytes: &[u8] = match &*common.codec {
            "lz4" => {
                packed.resize(lz4_flex::block::get_maximum_output_size(batch.len()), 0);
                let length = lz4_flex::block::compress_into(&batch, &mut packed)?;
                &packed[..length]
            }
            "snappy" => {
                packed.resize(snap::raw::max_compress_len(batch.len()), 0);
                let length = codec.compress(&batch, &mut packed)?;
                &packed[..length]
            }
            "zstd" => {
                packed = zstd::bulk::compress(&batch, 3)?;
                &packed
            }
            _ => &batch,
        };
        socket.write_all(&crc32c::crc32c(bytes).to_be_bytes())?;
        socket.write_all(bytes)?;
        batch.clear();
    }
    Ok(())
}

/// Reads until the end.
fn drain(address: &str) -> Result<()> {
    let (mut socket, mut buffer) = (TcpStream::connect(address)?, vec![0; 1 << 20]);
    while socket.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Set for the process that reads.
const DRAIN: &str = "PEERS_FLOOR_DRAIN";
