//! The part of a log that evidence is about: the entries of a period, and what is needed to judge them. Everything that
//! is read is proven first, whoever holds the files: a server, an export, or the evidence itself.

use super::{Disclose, Error, Gone, Request, read::Read};
use ledger::{
    entry::{Kind, View},
    ident::Ident,
    log::{checkpoint::Checkpoint, merkle::Hash, receipt::Receipt},
    system::policy::{BundleEntry, PartAt},
    verify::{
        self, Erased, KeysDocument, NamedSets, Trusted,
        part::{Bundle, Part},
        period::{self, Chain, Period, Range},
        range::OfItself,
    },
};
use std::{cell::RefCell, rc::Rc};

/// Where the files of a log come from. Paths are those of an export: `checkpoint`, `keys.json`, `tile/…`,
/// `disclosures/<index>.disclosures`; `policies/<digest>` for a file of policies; `erasures/…` and `expired/…` for
/// what proves an erasure or an expiry after the checkpoint.
pub trait Files {
    /// The bytes of a file. `None` if there is none.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error>;

    /// A file of a bundle. `None` if it is not here.
    fn policy(&self, part: &PartAt) -> Result<Option<Vec<u8>>, Error> {
        self.get(&policy_path(part))
    }

    /// What let the payload of an entry expire after the checkpoint. Its receipt is below `expired/`.
    fn gone(&self, index: u64) -> Option<Gone>;
}

/// Where a file of a bundle lies.
pub fn policy_path(part: &PartAt) -> String {
    format!("policies/{}", part.sha256)
}

type Reader<'f> = Box<dyn Fn(&str) -> Option<Vec<u8>> + 'f>;

/// The entries of a period, proven.
pub struct Log<'f> {
    pub(super) files: &'f dyn Files,
    part: Part<Reader<'f>>,
    /// The first failure to read a file.
    trouble: Rc<RefCell<Option<Error>>>,
    /// The checkpoint, as signed.
    pub note: String,
    /// The keys that sign the log, as it names them itself.
    pub keys: Vec<Trusted>,
    /// Every system entry, oldest first.
    pub chain: Chain,
    /// The period.
    pub period: Period,
    /// Its entries.
    pub range: Range,
    /// True if an entry after the range shows that the period is over.
    pub is_over: bool,
    /// What was erased, by all erasure entries of the log.
    pub erased: Erased,
    pub(super) disclose: Disclose,
    /// What was read of payload.
    pub(super) read: Read,
    /// Its tenant.
    pub tenant: String,
    /// Its replicas, as the log names them itself.
    pub members: NamedSets,
}

impl<'f> Log<'f> {
    /// Opens the log of `files`, and proves which of its entries are those of the requested period. `range`: what an
    /// earlier search found; otherwise it is searched.
    pub fn open(
        files: &'f dyn Files,
        trust: &dyn Fn(&KeysDocument) -> Result<Vec<Trusted>, verify::Error>,
        request: &Request,
        range: Option<Range>,
    ) -> Result<Self, Error> {
        let document = text(files, "keys.json")?;
        let document: KeysDocument = serde_json::from_str(&document)
            .map_err(|error| Error::file("keys.json", format!("no keys document: {error}")))?;
        let trusted = trust(&document)?;
        let note = text(files, "checkpoint")?;
        let trouble = Rc::<RefCell<Option<Error>>>::default();
        let part = Part::open(&trusted, &note, reader(files, &trouble));
        let part = part.map_err(|error| told(&trouble, error))?;
        let chain = Chain::walk(&part).map_err(|error| told(&trouble, error))?;
        let range = match range {
            Some(range) => range,
            None => period::find(&part, &chain, request.period).map_err(|e| told(&trouble, e))?,
        };
        let is_over = period::check(&part, &chain, request.period, range);
        let is_over = is_over.map_err(|error| told(&trouble, error))?;
        let (period, disclose) = (request.period, request.disclose);
        let of = OfItself::read(&part, &chain, (&trusted, &note));
        let OfItself { keys, erased, tenant, members } =
            of.map_err(|error| told(&trouble, error))?;
        Ok(Self {
            files,
            part,
            trouble,
            note,
            keys,
            chain,
            period,
            range,
            is_over,
            erased,
            disclose,
            read: Read::default(),
            tenant,
            members,
        })
    }

    /// The checkpoint under which everything is proven.
    pub fn signed(&self) -> &Checkpoint {
        self.part.signed()
    }

    /// The bundle with the leaf indexes `number * 256` and following.
    pub fn bundle(&self, number: u64) -> Result<Rc<Bundle>, Error> {
        self.part.bundle(number).map_err(|error| told(&self.trouble, error))
    }

    /// The entry at a leaf index.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, Error> {
        self.part.entry(index).map_err(|error| told(&self.trouble, error))
    }

    /// Gives the entry at a leaf index to `take`.
    pub fn with<T>(
        &self,
        index: u64,
        take: impl FnOnce(&[u8], &View<'_>) -> Result<T, &'static str>,
    ) -> Result<T, Error> {
        let entry = self.entry(index)?;
        let wrong = |what: &str| Error::file(&format!("entry {index}"), what.to_owned());
        let view = View::parse(&entry).ok_or_else(|| wrong("not an entry of version 1"))?;
        take(&entry, &view).map_err(wrong)
    }

    /// The messages, before the period, of the approvals that have one in it.
    pub fn earlier_messages(&self) -> Result<Vec<u64>, Error> {
        period::earlier_messages(&self.part, self.range).map_err(|e| told(&self.trouble, e))
    }

    /// The messages of one approval before the period. `opening`: leaf index of its decision.
    pub fn messages_before(&self, approval: &Ident, opening: u64) -> Result<Vec<u64>, Error> {
        let found = period::messages_before(&self.part, self.range, (approval, opening));
        found.map_err(|error| told(&self.trouble, error))
    }

    /// The path of a leaf to the root.
    fn inclusion(&self, index: u64) -> Result<Vec<Hash>, Error> {
        self.part.inclusion(index).map_err(|error| told(&self.trouble, error))
    }

    /// The receipt of an entry, under this log's checkpoint.
    pub fn receipt(&self, index: u64) -> Result<String, Error> {
        let (entry, path) = (self.entry(index)?, self.inclusion(index)?);
        Ok(Receipt { entry, index, path, checkpoint: self.note.clone() }.to_string())
    }

    /// The file that a part of a bundle is about. `None` if it is not here.
    pub fn policy_file(&self, part: &PartAt) -> Result<Option<String>, Error> {
        let path = policy_path(part);
        let Some(bytes) = self.files.policy(part)? else { return Ok(None) };
        let named = self.with(part.index, |_, view| {
            let named = view.text(&["event", "sha256"]).filter(|_| view.kind == Kind::Policy);
            Ok(named.map(str::to_owned))
        })?;
        let wrong = || Error::file(&path, "not the file that its entry names".into());
        if named.as_ref() != Some(&super::sha256(&bytes)) || named.as_ref() != Some(&part.sha256) {
            return Err(wrong());
        }
        String::from_utf8(bytes).map(Some).map_err(|_| wrong())
    }

    /// The bundle that an entry proposes.
    pub fn proposed(&self, index: u64) -> Result<BundleEntry, Error> {
        self.with(index, |_, view| BundleEntry::of(view).ok_or("it proposes no bundle"))
    }
}

fn reader<'f>(files: &'f dyn Files, trouble: &Rc<RefCell<Option<Error>>>) -> Reader<'f> {
    let trouble = Rc::clone(trouble);
    Box::new(move |path| match files.get(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            trouble.borrow_mut().get_or_insert(error);
            None
        }
    })
}

/// Why a file could not be read, if that is the cause of what is wrong.
fn told(trouble: &RefCell<Option<Error>>, error: verify::Error) -> Error {
    trouble.borrow_mut().take().unwrap_or(Error::Log(error))
}

fn text(files: &dyn Files, path: &str) -> Result<String, Error> {
    let missing = || Error::file(path, "missing".into());
    let bytes = files.get(path)?.ok_or_else(missing)?;
    String::from_utf8(bytes).map_err(|_| Error::file(path, "not UTF-8 text".into()))
}
