//! Stub.

//#[allow(dead_code, reason = "its caller, the connection driver, is on another branch")]
//mod handshake;
#[allow(dead_code, reason = "its caller, the connection driver, is on another branch")]
mod transport;
