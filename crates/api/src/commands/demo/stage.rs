//! Who takes part in the demo, and the call that it is about.

use crate::client::Client;
use std::path::Path;

pub(super) const AGENT: &str = "agt-payments";
pub(super) const RUN: &str = "run-8c21";
pub(super) const TOOL: &str = "bank";
pub(super) const ACTION: &str = "transfer";
pub(super) const SOURCE: &str = "/gateways/payments-eu-2";
/// The path of the demo's tenant.
pub(super) const TENANT: &str = "/v1/tenants/acme";

/// The parties of the demo and their addresses.
pub struct Stage<'a> {
    /// Folder with keys and files.
    pub dir: &'a Path,
    /// Base URL.
    pub url: &'a str,
    /// Client with the roles admin and auditor.
    pub admin: &'a Client,
    /// Client of publisher and enforcer `gw-1`.
    pub gateway: &'a Client,
    /// Client of the reviewer Ana.
    pub person: &'a Client,
}
