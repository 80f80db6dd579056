//! Threads on which sinks work: where decisions and events need the processor, they wait.

use std::{sync::LazyLock, thread::available_parallelism, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

/// By how much they come behind everything else, as `nice` counts. They still get their share where everything is busy.
const NICENESS: i32 = 10;
/// Most threads: for each of as many sinks as there may be, one that sends and one that reads. More work waits.
const THREADS_MAX: usize = 128;
/// A thread without work ends after so long. A sink that keeps up has work several times a second.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Has the threads. It is never dropped: the end of the process does not wait for a receiver that hangs.
static THREADS: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    let mut threads = Builder::new_current_thread();
    threads.thread_name("sink").on_thread_start(step_back);
    threads.max_blocking_threads(THREADS_MAX).thread_keep_alive(KEPT_FOR).build()
});

/// Turns of work that needs the processor all the time: for half of the cores, one at least. Ten sinks that are all behind would
/// else get ten small shares, and ten threads of ingest no more than theirs.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, usize::from);
    Semaphore::new((cores / 2).max(1))
});

/// The same as [`quietly`] for work that waits for nothing but the disk: it begins when its turn comes, whether or not somebody
/// waits for it yet.
pub fn in_turn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, String>> + Send + 'static {
    let begun = tokio::spawn(async {
        let _turn = TURNS.acquire().await.map_err(|error| error.to_string())?;
        quietly(work).await
    });
    async move { begun.await.map_err(|error| error.to_string())? }
}

/// Begins work on a thread of sinks; the future is its end. The work goes on if nobody waits any more. Errors: why there is no
/// thread, or that the work panicked.
pub fn quietly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, String>> + Send + 'static {
    let begun = THREADS.as_ref().map(|threads| threads.spawn_blocking(work));
    let begun = begun.map_err(ToString::to_string);
    async move { begun?.await.map_err(|error| error.to_string()) }
}

/// Has this thread come behind everything else. On Linux, a niceness is of one thread; elsewhere it would be of the whole server.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread of a sink has the priority of all others");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[tokio::test]
    async fn p19_work_of_sinks_comes_behind_everything_else() {
        let before = getpriority_process(None).unwrap();
        let there = quietly(|| getpriority_process(None).unwrap()).await.unwrap();
        assert_eq!(there, (before + NICENESS).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
        assert!(quietly(|| panic!("on purpose")).await.is_err());
    }
}
