//! The log's public formats, one module for each specification: RFC 6962 trees and the C2SP notes,
//! checkpoints, cosignatures, policies, tiles and proofs; and what a majority of our own replicas has cosigned.
//!
//! Pure. In scope: strict conversion between bytes and values. Out of scope: where tiles are stored (`store`),
//! who asks for them.

pub mod checkpoint;
pub mod cosignature;
pub mod members;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod receipt;
pub mod replicas;
pub mod tile;
