use super::*;
use std::fs;
use zeroize::Zeroizing;

fn open(dir: &Path, key: u8) -> io::Result<Arc<Spool>> {
    let key = Arc::new(SealKey::new(Zeroizing::new([key; 32])));
    Spool::open(dir, &Ident::new("acme").unwrap(), key)
}

/// Runs a test on a folder, within a runtime.
fn check<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F) {
    let dir = tempfile::tempdir().unwrap();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
        .block_on(test(dir.path().join("spool")));
}

async fn keep(spool: &Arc<Spool>, text: &str) -> Result<SpoolPlace, NotSpooled> {
    let producer = Ident::new("gw-1").unwrap();
    let (place, fsynced) = spool.keep(&producer, |place| format!("{text} {}", place.number))?;
    fsynced.await.unwrap().map(|()| place)
}

/// Removes the first ones that wait.
async fn posted(spool: &Spool, count: usize) {
    let first = spool.next(count).await;
    spool.posted(&first.iter().map(|record| record.place.clone()).collect()).unwrap();
}

/// The texts that wait.
async fn waiting(spool: &Spool) -> Vec<String> {
    if spool.waiting() == 0 {
        return Vec::new();
    }
    spool.next(WAITING_MAX).await.iter().map(|record| record.body.clone()).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn p16_what_was_told_is_there_after_a_crash_and_no_number_is_used_twice() {
    check(|dir| async move {
        let spool = open(&dir, 1).unwrap();
        let first = keep(&spool, "a").await.unwrap();
        let second = keep(&spool, "b").await.unwrap();
        assert_eq!((first.number, second.number, &first.id), (1, 2, &second.id));
        drop(spool);
        let again = open(&dir, 1).unwrap();
        assert_eq!(waiting(&again).await, ["a 1", "b 2"]);
        let third = keep(&again, "c").await.unwrap();
        assert!(third.number == 1 && third.id != first.id, "a run of its own");
        posted(&again, 2).await;
        assert_eq!(waiting(&again).await, ["c 1"]);
        assert_eq!(files(&dir).len(), 1, "the file of the first run is gone");
        posted(&again, 1).await;
        drop(again);
        assert_eq!(waiting(&open(&dir, 1).unwrap()).await, Vec::<String>::new());
    });
}

#[test]
fn p16_a_torn_end_was_not_told_and_a_changed_record_stops_the_start() {
    check(|dir| async move {
        let spool = open(&dir, 1).unwrap();
        for text in ["a", "b", "c"] {
            keep(&spool, text).await.unwrap();
        }
        drop(spool);
        let path = files(&dir).remove(0);
        let whole = fs::read(&path).unwrap();
        let mut torn = 0;
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let left = waiting(&open(&dir, 1).unwrap()).await;
            torn += usize::from(left.len() < 3);
            let all = ["a 1", "b 2", "c 3"];
            assert_eq!(left, all[..left.len()], "{length} bytes");
        }
        assert_eq!(torn, whole.len());
        // The last record ends with the file; a change in one before it can't be a crash.
        let last = whole.len() - 60;
        for at in [4, 10, 60, last / 2] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(open(&dir, 1).is_err(), "byte {at}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(open(&dir, 2).is_err(), "another key");
        fs::rename(&path, dir.join("acme.7")).unwrap();
        assert!(open(&dir, 1).is_err(), "under another name");
        fs::rename(dir.join("acme.7"), &path).unwrap();
        assert_eq!(waiting(&open(&dir, 1).unwrap()).await.len(), 3);
    });
}

#[test]
fn p13_only_so_many_wait_and_there_is_room_again() {
    check(|dir| async move {
        let spool = open(&dir, 1).unwrap();
        let all = (0..WAITING_MAX).map(|_| keep(&spool, "x"));
        for kept in all {
            kept.await.unwrap();
            if spool.waiting() == 200 {
                break;
            }
        }
        spool.state().count = WAITING_MAX;
        assert_eq!(keep(&spool, "one more").await, Err(NotSpooled::Full));
        posted(&spool, 1).await;
        assert!(keep(&spool, "one more").await.is_ok());
    });
}

#[test]
fn p16_a_spool_that_can_not_be_written_tells_nothing_more() {
    check(|dir| async move {
        let spool = open(&dir, 1).unwrap();
        keep(&spool, "a").await.unwrap();
        fs::remove_dir_all(&dir).unwrap();
        spool.segments.lock().unwrap().forget();
        assert!(matches!(keep(&spool, "b").await, Err(NotSpooled::Broken(_))));
        fs::create_dir(&dir).unwrap();
        assert!(matches!(keep(&spool, "c").await, Err(NotSpooled::Broken(_))), "for good");
        assert!(spool.broken().is_some());
    });
}
