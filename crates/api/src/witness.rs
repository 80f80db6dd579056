//! Outside witnesses (C2SP tlog-witness): after a checkpoint is served they are asked for their cosignatures, which are then
//! served with it.
//!
//! In scope: asking, keeping what verifies, saying how each stands. Off every answer's path: nothing waits for a witness, and
//! nothing a witness says changes the log. Out of scope: which cosignatures count, which is the verifier's policy
//! (`ledger::log::policy`).

mod ask;
mod kept;
mod run;
mod setup;
mod standing;

pub use setup::{Setup, first_policy, mistakes};
pub use standing::Figures;

use crate::sinks::net::Client;
use kept::Kept;
use ledger::{
    Error, Ledger,
    ident::Ident,
    log::{cosignature::Cosigner, merkle, receipt::Receipt},
    reader::Published,
    store,
    tenant::Tenant,
    time::Nanos,
};
use standing::Standing;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// One witness.
pub struct Witness {
    /// Its name in the configuration.
    pub name: Ident,
    key: Cosigner,
    client: Client,
    /// Tenants whose logs it knows. None: all.
    tenants: Vec<String>,
}

/// A witness, and how it stands with one log.
struct Asked {
    witness: Arc<Witness>,
    standing: Mutex<Standing>,
}

impl Asked {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().expect("no holder of the lock panics")
    }
}

/// The witnesses of one log, and what they cosigned.
struct OfLog {
    asked: Vec<Arc<Asked>>,
    kept: Mutex<Kept>,
}

impl OfLog {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of the lock panics")
    }
}

/// The running witnesses of one log.
pub type Running = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The witnesses of the running server.
#[derive(Default)]
pub struct Witnesses {
    all: Vec<Arc<Witness>>,
    logs: Mutex<BTreeMap<Ident, Arc<OfLog>>>,
}

impl Witnesses {
    /// Opens the witnesses of a configuration that was checked. Asks nobody yet.
    pub fn open(setups: &BTreeMap<String, Setup>) -> Result<Self, Error> {
        let open = |(name, setup): (&String, &Setup)| {
            setup.open(name).map_err(|why| Error::Setup(format!("witness.{name}: {why}")))
        };
        let all: Result<Vec<Arc<Witness>>, Error> =
            setups.iter().map(|one| open(one).map(Arc::new)).collect();
        Ok(Self { all: all?, logs: Mutex::default() })
    }

    /// The witnesses of a log. The first call makes their place.
    fn of(&self, tenant: &Ident) -> Option<Arc<OfLog>> {
        let knows = |witness: &&Arc<Witness>| {
            let named = &witness.tenants;
            named.is_empty() || named.iter().any(|name| name == tenant.as_str())
        };
        let mut logs = self.logs.lock().expect("no holder of the lock panics");
        if let Some(known) = logs.get(tenant) {
            return Some(Arc::clone(known));
        }
        let asked: Vec<Arc<Asked>> = self
            .all
            .iter()
            .filter(knows)
            .map(|witness| {
                Arc::new(Asked { witness: Arc::clone(witness), standing: Mutex::default() })
            })
            .collect();
        if asked.is_empty() {
            return None;
        }
        let of = Arc::new(OfLog { asked, kept: Mutex::default() });
        logs.insert(tenant.clone(), Arc::clone(&of));
        Some(of)
    }

    /// The newest tree size that a witness has cosigned; 0 if there is none. `None` if the log has no witnesses.
    pub fn newest(&self, tenant: &Tenant) -> Option<u64> {
        Some(self.of(&tenant.name)?.kept().newest())
    }

    /// Asks the witnesses of a log, until the task ends. `None` if it has none.
    pub fn run(&self, ledger: &Arc<Ledger>, tenant: &Arc<Tenant>) -> Option<Running> {
        let of = self.of(&tenant.name)?;
        Some(Box::pin(run::run(Arc::clone(ledger), Arc::clone(tenant), of)))
    }

    /// A checkpoint, with the cosignatures that are here of it.
    pub fn with_cosignatures(&self, tenant: &Tenant, mut note: String) -> String {
        if let Some(of) = self.of(&tenant.name) {
            note.extend(of.kept().lines(&note));
        }
        note
    }

    /// The checkpoint of a tree of `size` or larger that witnesses have cosigned, with their cosignatures: of those that most
    /// have, the newest.
    pub fn witnessed(&self, tenant: &Tenant, size: u64) -> Option<String> {
        let of = self.of(&tenant.name)?;
        let kept = of.kept();
        kept.best(size).map(|(_, noted)| noted.with_lines())
    }

    /// The receipt of the same entry under a witnessed checkpoint. `None` while there is none that covers it.
    pub fn receipt(
        &self,
        (ledger, tenant): (&Ledger, &Tenant),
        published: &Published,
        receipt: Receipt,
    ) -> Result<Option<Receipt>, store::Error> {
        let Some(of) = self.of(&tenant.name) else { return Ok(None) };
        let found = of.kept().best(receipt.index + 1).map(|(size, noted)| (size, noted.clone()));
        let Some((size, noted)) = found.filter(|(size, _)| *size <= published.size) else {
            return Ok(None);
        };
        let path = merkle::inclusion(&ledger.reader(tenant, published), receipt.index, size)?;
        let receipt = Receipt { path, checkpoint: noted.with_lines(), ..receipt };
        if receipt.leads_to(&noted.root) {
            return Ok(Some(receipt));
        }
        Err(store::Error::Corrupt { family: "meta", what: "a witnessed checkpoint" })
    }

    /// How each witness of a log stands.
    pub fn figures(&self, tenant: &Tenant) -> Vec<Figures> {
        let Some(of) = self.of(&tenant.name) else { return Vec::new() };
        let size = tenant.published().size;
        of.asked.iter().map(|one| one.standing().figures(&one.witness.name, size)).collect()
    }

    /// What witnesses say against a log: it has another history, or is larger elsewhere.
    pub fn conflicts(&self, tenant: &Tenant) -> Vec<String> {
        self.each(tenant, |standing| standing.conflict.clone())
    }

    /// Witnesses that have not cosigned for long, with their words.
    pub fn away(&self, tenant: &Tenant, now: Nanos) -> Vec<String> {
        self.each(tenant, |standing| standing.away(now))
    }

    fn each(&self, tenant: &Tenant, what: impl Fn(&Standing) -> Option<String>) -> Vec<String> {
        let Some(of) = self.of(&tenant.name) else { return Vec::new() };
        let each = of.asked.iter().filter_map(|one| {
            let said = what(&one.standing())?;
            Some(format!("{}: {said}", one.witness.name))
        });
        each.collect()
    }
}
