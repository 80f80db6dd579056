//! Limits of the system for this process. They are raised at start as far as the system allows, and then
//! divided, so that clients never take what the store needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of connections, unless configured, if the system allows so many.
pub const CONNECTIONS_DEFAULT: usize = 1024;
/// Most connections.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Connections beyond those, for health, metrics, and for refusals when all are taken.
pub const CONNECTIONS_APART: usize = 16;
/// Table files that the store keeps open while a command other than `serve` uses it.
pub const STORE_FILES_DEFAULT: usize = 256;
/// Fewest connections with which a server may start.
const CONNECTIONS_MIN: usize = 8;
/// Fewest and most table files that the running server's store keeps open.
const STORE_FILES_MIN: usize = 64;
const STORE_FILES_MAX: usize = 4096;
/// Open files of the server itself: logs, guard, write-ahead logs and manifest of the store, the broker,
/// chats, name lookups.
const OWN_FILES: usize = 96;
/// Open files of a tenant on JetStream: its reader's connection, and one that is being made.
const FILES_A_FOLLOWER: usize = 2;
/// Least allowed file size. The store writes files of up to 256 MiB, and larger ones when it joins them.
const FILE_BYTES_MIN: u64 = 1 << 30;
/// Least allowed address space and data: what a loaded server was measured to need.
const MEMORY_BYTES_MIN: u64 = 1 << 30;
/// Threads of a loaded server, and of other programs of this user.
const THREADS_MIN: u64 = 256;

/// Shares of the open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Connections at once.
    pub connections: usize,
    /// Table files that the store keeps open.
    pub store_files: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self { connections: CONNECTIONS_DEFAULT, store_files: STORE_FILES_DEFAULT }
    }
}

/// Raises the limits of this process as far as the system allows, and divides them.
///
/// `wanted`: `limits.connections`, if given. `followers`: tenants whose journal is a stream. Errors: each
/// mistake, a line that says which limit is too low and where it is set.
pub fn claim(wanted: Option<usize>, followers: usize) -> Result<Shares, Vec<String>> {
    let mut wrong = Vec::new();
    for (resource, least, what) in [
        (Resource::Fsize, FILE_BYTES_MIN, "size of a file in bytes (LimitFSIZE, ulimit -f)"),
        (Resource::As, MEMORY_BYTES_MIN, "address space in bytes (LimitAS, ulimit -v)"),
        (Resource::Data, MEMORY_BYTES_MIN, "data in bytes (LimitDATA, ulimit -d)"),
        (
            Resource::Nproc,
            THREADS_MIN,
            "processes and threads of this user (LimitNPROC, ulimit -u)",
        ),
    ] {
        if let Some(limit) = raise(resource).filter(|limit| *limit < least) {
            wrong
                .push(format!("{what}: {limit} is allowed, at least {least} are needed; raise it"));
        }
    }
    let files = raise(Resource::Nofile).unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    match share(files, wanted, followers) {
        Ok(shares) if wrong.is_empty() => return Ok(shares),
        Ok(_) => {}
        Err(text) => wrong.push(text),
    }
    Err(wrong)
}

/// A warning about the memory limit of this process's control group.
pub fn warning() -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let limit = std::fs::read_to_string(format!("/sys/fs/cgroup{own}/memory.max")).ok()?;
    let limit: u64 = limit.trim().parse().ok()?;
    (limit < MEMORY_BYTES_MIN).then(|| {
        format!("memory: the control group allows {limit} bytes; a loaded server needs up to {MEMORY_BYTES_MIN}")
    })
}

/// Sets the soft limit to the hard one. Returns the resulting limit, `None` for no limit.
fn raise(resource: Resource) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(resource);
    // If raising is not permitted, the present limit stays.
    let raised = setrlimit(resource, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }
}

fn share(files: usize, wanted: Option<usize>, followers: usize) -> Result<Shares, String> {
    let apart = OWN_FILES + CONNECTIONS_APART + FILES_A_FOLLOWER * followers;
    let left = files.saturating_sub(apart);
    let most = left.saturating_sub(STORE_FILES_MIN);
    let raise = "raise the limit of open files (LimitNOFILE, ulimit -Hn)";
    if most < CONNECTIONS_MIN {
        let needed = apart + STORE_FILES_MIN + CONNECTIONS_MIN;
        return Err(format!(
            "{files} open files are allowed, at least {needed} are needed: {raise}"
        ));
    }
    let connections = wanted.unwrap_or_else(|| CONNECTIONS_DEFAULT.min(left / 2).min(most));
    if connections > most {
        return Err(format!(
            "limits.connections: {connections} connections and the store need {} open files, {files} are allowed: \
             {raise}, or set limits.connections to at most {most}",
            apart + STORE_FILES_MIN + connections
        ));
    }
    Ok(Shares { connections, store_files: (left - connections).min(STORE_FILES_MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        files: usize,
        wanted: Option<usize>,
        followers: usize,
        expected: Result<(usize, usize), &str>,
    ) {
        let result = share(files, wanted, followers);
        match (&result, expected) {
            (Ok(shares), Ok(expected)) => {
                assert_eq!((shares.connections, shares.store_files), expected);
                let taken = OWN_FILES + CONNECTIONS_APART + FILES_A_FOLLOWER * followers;
                assert!(taken + shares.connections + shares.store_files <= files, "{shares:?}");
            }
            (Err(text), Err(part)) => assert!(text.contains(part), "{text}"),
            _ => panic!("{files} {wanted:?} {followers}: {result:?}"),
        }
    }

    #[test]
    fn p13_clients_never_take_the_files_of_the_store() {
        check(65_536, None, 0, Ok((1024, 4096)));
        check(usize::MAX, Some(65_536), 10_000, Ok((65_536, 4096)));
        check(1024, None, 0, Ok((456, 456)));
        check(1024, None, 100, Ok((356, 356)));
        check(1024, Some(848), 0, Ok((848, 64)));
        check(1024, Some(849), 0, Err("set limits.connections to at most 848"));
        check(1024, None, 450, Err("at least 1084 are needed"));
        check(256, None, 0, Ok((72, 72)));
        check(184, None, 0, Ok((8, 64)));
        check(183, None, 0, Err("at least 184 are needed"));
        check(0, Some(1), 0, Err("at least 184 are needed"));
    }
}
