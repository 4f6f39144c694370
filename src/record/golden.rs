//! Record batches that real brokers wrote, and their reader, for the tests of this folder.

use bytes::Bytes;

use super::{Batches, DecodeScratch};
use crate::error::Error;

/// A record: offset, timestamp, key, value.
pub(super) type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Uncompressed, LogAppendTime: alpha, bravo under the key `key`, charlie.
pub(super) const LOG_APPEND: &str = "00000000000000000000005a000000000293cc6e87000800000002000001a085bf4a8d000001a085bf4aa0ffffffffffffffffffffffffffff0000000316000000010a616c706861001c000e02066b65790a627261766f001a000e04010e636861726c696500";
/// The same records in LZ4 by Java.
pub(super) const LZ4: &str = "0000000000000000000000690000000002938ffaa6000300000002000001a085bf3f6c000001a085bf3f7fffffffffffffffffffffffffffff0000000304224d186040822900008016000000010a616c706861001c002602066b65790a627261766f001a002604010e636861726c69650000000000";
/// Two records with headers: a repeated kind of name, an empty value, a null value.
pub(super) const HEADERS: &str = "000000000000000000000090000000000277ad1da100000000000100000174876e800000000174876e800affffffffffffffffffffffffffff000000026c000000010a616c7068610418636f6e74656e742d74797065206170706c69636174696f6e2f6a736f6e1074726163652d6964060001024e001402066b65790a627261766f0416656d7074792d76616c756500146e756c6c2d76616c756501";
/// Empty and null keys and values.
pub(super) const NULLABLE: &str = "0000000000000000000000460000000002e64444ee00000000000200000174876e800000000174876e8000ffffffffffffffffffffffffffff000000030c0000000001000c0000020100000c000004010100";
/// Two records of a transaction.
pub(super) const TRANSACTION: &str = "00000000000000000000005500000000025b841b8a00100000000100000174876e800000000174876e8005000000000000000200010000000000000002220000000116636f6d6d69747465642d310022000a020116636f6d6d69747465642d3200";
/// Three batches in one region: uncompressed, gzip, snappy.
pub(super) const THREE: &str = "00000000000000000000003d00000000023144e6c4000000000000000001a085bf66b3000001a085bf66b3ffffffffffffffffffffffffffff0000000116000000010a616c70686100000000000000000100000054000000000217f74f3e000100000000000001a085bf6cc8000001a085bf6cc8ffffffffffffffffffffffffffff000000011f8b08000000000000009361606060cb4eade44a2a4a2ccb67000084ffc0e10f00000000000000000000020000005500000000028a796bd0000200000000000001a085bf7291000001a085bf7291ffffffffffffffffffffffffffff0000000182534e41505059000000000100000001000000100e341a000000010e636861726c696500";
/// A message of format 1.
pub(super) const FORMAT_1: &str = "00000000000000000000001b565adc8c01000000015ac2acf800ffffffff00000005616c706861";

/// alpha and bravo, five times each, by Java 4.3.1 in zstd, snappy and gzip.
pub(super) const JAVA_CODECS: [&str; 3] = [
    "000000000000000000000062ffffffff023832fd8d00040000000100000174876e800000000174876e8007ffffffffffffffffffffffffffff0000000228b52ffd00582c0100e846000000013a616c70686120004c000e02066b65793a627261766f2000020040bd529724010000",
    "00000000000000000000006cffffffff02048e617900020000000100000174876e800000000174876e8007ffffffffffffffffffffffffffff0000000282534e41505059000000000100000001000000274b2c46000000013a616c706861205a06003c004c000e02066b65793a627261766f205a06000000",
    "000000000000000000000065ffffffff028bce9c8900010000000100000174876e800000000174876e8007ffffffffffffffffffffffffffff000000021f8b08000000000000ff7363606060b44acc29c84854c04132f830f031b165a7565a25152596e52be0201900aaf9e5da4b000000",
];

/// All of them that are of format 2.
pub(super) const ALL: [&str; 9] = {
    let [zstd, snappy, gzip] = JAVA_CODECS;
    [LOG_APPEND, LZ4, HEADERS, NULLABLE, TRANSACTION, THREE, zstd, snappy, gzip]
};

/// The bytes of hexadecimal text.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Everything a region holds, or the first error.
pub(super) fn read(region: impl Into<Bytes>) -> Result<Vec<Row>, Error> {
    let mut scratch = DecodeScratch::default();
    let mut rows = Vec::new();
    for raw in Batches::new(region.into()) {
        let raw = raw?;
        raw.check_crc()?;
        for record in raw.decode(&mut scratch, 1 << 20)?.records() {
            let record = record?;
            let own = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
            rows.push((record.offset, record.timestamp, own(record.key), own(record.value)));
        }
    }
    Ok(rows)
}
