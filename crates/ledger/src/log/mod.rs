//! The log's public formats, one module per page: RFC 6962 trees and the C2SP notes, checkpoints, tiles and proofs.
//!
//! Pure. In scope: bytes in, bytes out, strictly. Out of scope: where tiles are kept (`store`), who asks for them.

pub mod checkpoint;
pub mod merkle;
pub mod note;
pub mod receipt;
pub mod tile;
