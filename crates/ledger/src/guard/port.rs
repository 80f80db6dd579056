//! Who advances the guard, and to what.

use super::{Error, Guard, Mark, PlaceOfFile, Promises};
use std::sync::{Arc, Mutex, MutexGuard};

/// The guard as the writer has it.
pub enum Port {
    /// One server: the file says how far this server has signed. The writer advances it before it publishes.
    Signed(Guard),
    /// One replica of several: the file says what this replica last cosigned, never what it posted. Whoever cosigns
    /// advances it; the register says what a majority has cosigned.
    Cosigned(Shared),
}

/// The guard file of a replica.
#[derive(Clone)]
pub struct Shared {
    guard: Arc<Mutex<Guard>>,
    place: PlaceOfFile,
    promises: Promises,
}

impl Shared {
    /// The guard, for one cosignature at a time.
    pub fn lock(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().expect("no holder of the lock panics")
    }

    /// Path of its file.
    pub fn place(&self) -> &PlaceOfFile {
        &self.place
    }

    /// What this replica has promised never to post.
    pub fn promises(&self) -> &Promises {
        &self.promises
    }
}

impl Port {
    /// The guard of one server, or of a replica.
    pub fn new(guard: Guard, is_replica: bool) -> Result<Self, Error> {
        if !is_replica {
            return Ok(Self::Signed(guard));
        }
        let (place, promises) = (guard.place().clone(), Promises::open(guard.place().path())?);
        Ok(Self::Cosigned(Shared { guard: Arc::new(Mutex::new(guard)), place, promises }))
    }

    /// Path of its file.
    pub fn place(&self) -> &PlaceOfFile {
        match self {
            Self::Signed(guard) => guard.place(),
            Self::Cosigned(shared) => shared.place(),
        }
    }

    /// The guard file of a replica.
    pub fn shared(&self) -> Option<&Shared> {
        match self {
            Self::Signed(_) => None,
            Self::Cosigned(shared) => Some(shared),
        }
    }

    /// Gives a log its place, if it has none: after its first commit, a log without a mark has lost its guard.
    pub fn begin(&mut self, mark: &Mark) -> Result<(), Error> {
        let begin = |guard: &mut Guard| match guard.mark(&mark.origin) {
            None => guard.advance(std::slice::from_ref(mark)),
            Some(_) => Ok(()),
        };
        match self {
            Self::Signed(guard) => begin(guard),
            Self::Cosigned(shared) => begin(&mut shared.lock()),
        }
    }

    /// Advances these logs to what this server has signed alone, durably. A replica signs nothing alone.
    pub fn signed(&mut self, marks: &[Mark]) -> Result<(), Error> {
        match (self, marks) {
            (_, []) => Ok(()),
            (Self::Signed(guard), marks) => guard.advance(marks),
            (Self::Cosigned(_), [mark, ..]) => Err(Error::Alone(mark.origin.clone())),
        }
    }
}
