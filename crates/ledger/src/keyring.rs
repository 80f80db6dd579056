//! Key files of a tenant: `<keys_dir>/<tenant>/{log,journal,token,agent}-<n>.key` and `salt.key`, mode 0600.
//!
//! Private keys are read into memory that is wiped when dropped; they are never logged and never leave the process.

use crate::{
    atomic,
    ident::Ident,
    log::{
        cosignature::{Cosigner, CosignerKey},
        note::{Signer, Vkey},
    },
    seal::SealKey,
    system::KeyUse,
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Why keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Others may read the file.
    #[error(
        "key file {0} can be read by others: run `chmod 600` on it, and think about who has read it"
    )]
    Open(PathBuf),
    /// The file does not contain a key.
    #[error("key file {0} does not hold a key of this kind")]
    Unreadable(PathBuf),
    /// A key that the log needs is not there.
    #[error("no key file for {0}: restore the keys directory from its copy")]
    Missing(String),
}

/// All keys of one tenant.
pub struct Keyring {
    folder: PathBuf,
    signers: Vec<(KeyUse, Signer)>,
    salt: Zeroizing<[u8; 32]>,
}

/// 32 random bytes from the operating system.
pub fn random32() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).expect("the operating system gives random bytes");
    bytes
}

/// 32 hex digits at random: 128 bits that nobody guesses, and that never come again.
pub fn random_name() -> String {
    HEXLOWER.encode(&random32()[..16])
}

/// Random bytes from the operating system.
pub fn random(count: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; count]);
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The key that signs sessions on the web pages, `<keys_dir>/session.key`. It is made if it is not there.
///
/// It belongs to the installation, not to a tenant. If it is lost, everybody signs in again, so no backup
/// needs it.
pub fn session_key(keys_dir: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
    let path = keys_dir.join("session.key");
    if !path.exists() {
        write_private(&path, new_key_text().as_bytes())?;
    }
    read_key(&path)
}

/// The key of the seal, `<keys_dir>/seal.key`. It is made if it is not there and nothing is sealed yet
/// (`may_make`).
///
/// It belongs to the installation. Somebody who has it and can write the database can make the server believe
/// what no entry says. So it is kept with the other keys, never in a backup of the data directory.
pub fn seal_key(keys_dir: &Path, may_make: bool) -> Result<SealKey, Error> {
    let path = keys_dir.join("seal.key");
    if may_make && !path.exists() {
        let failed = |source| Error::Io { path: keys_dir.to_owned(), source };
        atomic::make_folder(keys_dir).map_err(failed)?;
        write_private(&path, new_key_text().as_bytes())?;
    }
    if !path.exists() {
        return Err(Error::Missing(path.display().to_string()));
    }
    read_key(&path).map(SealKey::new)
}

/// Reads the file of a replica's cosigner key.
pub fn cosigner_key(path: &Path) -> Result<CosignerKey, Error> {
    let key = CosignerKey::parse(&read_private(path)?);
    key.map_err(|_| Error::Unreadable(path.to_owned()))
}

/// Makes the file of a replica's cosigner key, if it is not there. Returns the public key.
pub fn make_cosigner_key(path: &Path, name: &str) -> Result<Cosigner, Error> {
    if !path.exists() {
        let key = CosignerKey::new(name, &random32());
        write_private(path, key.private_text().as_bytes())?;
    }
    Ok(cosigner_key(path)?.public().clone())
}

impl Keyring {
    /// Makes the folder with a new key of each kind that every log needs. Keys that an interrupted creation made are kept.
    pub fn create(keys_dir: &Path, tenant: &Ident, origin: &str) -> Result<Self, Error> {
        let folder = keys_dir.join(tenant.as_str());
        let failed = |source| Error::Io { path: folder.clone(), source };
        atomic::make_folder(&folder).map_err(failed)?;
        let path = folder.join("salt.key");
        if !path.exists() {
            write_private(&path, new_key_text().as_bytes())?;
        }
        let mut ring = Self::open(keys_dir, tenant)?;
        for usage in [KeyUse::Log, KeyUse::Journal, KeyUse::Token] {
            if ring.vkeys(usage).is_empty() {
                ring.generate(usage, origin)?;
            }
        }
        Ok(ring)
    }

    /// Reads the keys in the folder.
    pub fn open(keys_dir: &Path, tenant: &Ident) -> Result<Self, Error> {
        let folder = keys_dir.join(tenant.as_str());
        let salt = read_key(&folder.join("salt.key"))?;
        let mut ring = Self { folder, signers: Vec::new(), salt };
        ring.refresh()?;
        Ok(ring)
    }

    /// Reads the files that came since: those with the next numbers.
    pub fn refresh(&mut self) -> Result<(), Error> {
        for usage in [KeyUse::Log, KeyUse::Journal, KeyUse::Token, KeyUse::Agent] {
            for number in self.signers.iter().filter(|(of, _)| *of == usage).count() + 1.. {
                let path = self.path(usage, number);
                if !path.exists() {
                    break;
                }
                let signer = Signer::parse(&read_private(&path)?);
                self.signers.push((usage, signer.map_err(|_| Error::Unreadable(path))?));
            }
        }
        Ok(())
    }

    /// The key whose file follows that of `current`; of none, the first one. `None` if there is no such file.
    pub fn after(&self, usage: KeyUse, current: Option<&Vkey>) -> Option<Vkey> {
        let keys = self.vkeys(usage);
        let next = match current {
            Some(current) => keys.iter().position(|key| key == current)? + 1,
            None => 0,
        };
        keys.get(next).cloned()
    }

    /// A keyring without keys, for a log that is halted because its files can't be used. Its salt key is zero
    /// and never used.
    pub fn none(keys_dir: &Path, tenant: &Ident) -> Self {
        Self { folder: keys_dir.join(tenant.as_str()), signers: Vec::new(), salt: random32() }
    }

    /// Makes the next key of a use, and writes its file.
    pub fn generate(&mut self, usage: KeyUse, origin: &str) -> Result<Vkey, Error> {
        let name = match usage {
            KeyUse::Log => origin.to_owned(),
            KeyUse::Journal => format!("{origin}/journal"),
            KeyUse::Token => format!("{origin}/token"),
            KeyUse::Agent => format!("{origin}/agent"),
        };
        let signer = Signer::new(&name, &random32());
        let number = self.signers.iter().filter(|(u, _)| *u == usage).count() + 1;
        write_private(&self.path(usage, number), signer.private_text().as_bytes())?;
        let vkey = signer.vkey().clone();
        self.signers.push((usage, signer));
        Ok(vkey)
    }

    fn path(&self, usage: KeyUse, number: usize) -> PathBuf {
        let name = match usage {
            KeyUse::Log => "log",
            KeyUse::Journal => "journal",
            KeyUse::Token => "token",
            KeyUse::Agent => "agent",
        };
        self.folder.join(format!("{name}-{number}.key"))
    }

    /// Destroys every key of the folder: overwrites the files, removes them, and forgets what was read. May be repeated.
    pub fn destroy(&mut self) -> Result<(), Error> {
        self.signers.clear();
        self.salt = Zeroizing::new([0; 32]);
        let failed = |source| Error::Io { path: self.folder.clone(), source };
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files.map_err(failed)?,
        };
        for file in files {
            let path = file.map_err(failed)?.path();
            if path.extension().is_some_and(|ending| ending == "key") {
                let failed = |source| Error::Io { path: path.clone(), source };
                overwrite(&path).and_then(|()| fs::remove_file(&path)).map_err(failed)?;
            }
        }
        fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// SHA-256 over what the files of a tenant that is to be made hold, as 64 hex digits: whether two machines have the same ones.
    /// [`Error::Missing`] if one is not there that every log needs.
    ///
    /// A line for each public key of log, journal and tokens, in that order and by age, then the id of the salt key.
    pub fn digest(&self) -> Result<String, Error> {
        let mut lines = Vec::new();
        for usage in [KeyUse::Log, KeyUse::Journal, KeyUse::Token] {
            let keys = self.vkeys(usage);
            if keys.is_empty() {
                return Err(Error::Missing(self.path(usage, 1).display().to_string()));
            }
            lines.extend(keys.iter().map(|key| format!("{key}\n")));
        }
        lines.push(format!("{}\n", self.salt_key_id()));
        Ok(HEXLOWER.encode(&Sha256::digest(lines.concat())))
    }

    /// Tenants that have a folder of key files, in the order of their names. Folders with other names are skipped.
    pub fn folders(keys_dir: &Path) -> Result<Vec<Ident>, Error> {
        let failed = |source| Error::Io { path: keys_dir.to_owned(), source };
        let mut found = Vec::new();
        for file in fs::read_dir(keys_dir).map_err(failed)? {
            let file = file.map_err(failed)?;
            let name = file.file_name();
            let name = name.to_str().and_then(|name| Ident::new(name).ok());
            found.extend(name.filter(|name| Self::has_files(keys_dir, name)));
        }
        found.sort();
        Ok(found)
    }

    /// True if there is a key file of that tenant. One that was deleted has none.
    pub fn has_files(keys_dir: &Path, tenant: &Ident) -> bool {
        let files = fs::read_dir(keys_dir.join(tenant.as_str()));
        let mut files = files.into_iter().flatten().flatten();
        files.any(|file| file.path().extension().is_some_and(|ending| ending == "key"))
    }

    /// The signer for a public key.
    pub fn signer(&self, vkey: &Vkey) -> Result<&Signer, Error> {
        let found = self.signers.iter().find(|(_, signer)| signer.vkey() == vkey);
        found.map(|(_, signer)| signer).ok_or_else(|| Error::Missing(vkey.to_string()))
    }

    /// Public keys of a use, oldest first.
    pub fn vkeys(&self, usage: KeyUse) -> Vec<Vkey> {
        let fits = self.signers.iter().filter(|(u, _)| *u == usage);
        fits.map(|(_, signer)| signer.vkey().clone()).collect()
    }

    /// The key from which salts are derived if a producer sent none.
    pub fn salt_key(&self) -> &[u8; 32] {
        &self.salt
    }

    /// First 8 bytes of the salt key's SHA-256, hex.
    pub fn salt_key_id(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.salt.as_ref())[..8])
    }
}

/// Writes zeros over a file, as far as the file system writes in place.
fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = fs::File::options().write(true).open(path)?;
    let length = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.sync_all()
}

/// Writes a key file. Its name appears once the bytes are durable. An existing key is never replaced.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    atomic::create(path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// The text of a key file with 32 new random bytes.
fn new_key_text() -> Zeroizing<String> {
    Zeroizing::new(HEXLOWER.encode(random32().as_ref()) + "\n")
}

/// Reads a key file of 32 bytes.
fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
    let text = read_private(path)?;
    let bytes = HEXLOWER.decode(text.trim_end().as_bytes()).map(Zeroizing::new);
    let bytes = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    bytes.map(Zeroizing::new).ok_or_else(|| Error::Unreadable(path.to_owned()))
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::Open(path.to_owned()));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let tenant = Ident::new("acme").unwrap();
        let mut ring = Keyring::create(dir.path(), &tenant, "h/v1/tenants/acme/logs/1").unwrap();
        let second = ring.generate(KeyUse::Log, "h/v1/tenants/acme/logs/1").unwrap();
        let same = Keyring::create(dir.path(), &tenant, "x").unwrap();
        assert_eq!(same.vkeys(KeyUse::Log), ring.vkeys(KeyUse::Log), "nothing is made anew");
        let again = Keyring::open(dir.path(), &tenant).unwrap();
        assert_eq!(again.vkeys(KeyUse::Log), ring.vkeys(KeyUse::Log));
        assert_eq!(again.salt_key_id(), ring.salt_key_id());
        assert!(again.signer(&second).is_ok());
        let mut early = Keyring::open(dir.path(), &tenant).unwrap();
        assert_eq!(early.after(KeyUse::Log, early.vkeys(KeyUse::Log).last()), None);
        let third = ring.generate(KeyUse::Log, "h/v1/tenants/acme/logs/1").unwrap();
        early.refresh().unwrap();
        assert_eq!(early.after(KeyUse::Log, Some(&second)), Some(third), "a file that came later");
        assert_eq!(early.after(KeyUse::Agent, None), None);
        let path = dir.path().join("acme/log-1.key");
        let session = session_key(dir.path()).unwrap();
        assert_eq!(session_key(dir.path()).unwrap(), session);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keyring::open(dir.path(), &tenant), Err(Error::Open(_))));
    }

    #[test]
    fn p20_destroyed_keys_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let tenant = Ident::new("acme").unwrap();
        let mut ring = Keyring::create(dir.path(), &tenant, "h/v1/tenants/acme/logs/1").unwrap();
        fs::write(dir.path().join("acme/note.txt"), "kept").unwrap();
        let vkey = ring.vkeys(KeyUse::Log).remove(0);
        ring.destroy().unwrap();
        assert!(ring.signer(&vkey).is_err() && ring.vkeys(KeyUse::Token).is_empty());
        assert!(matches!(Keyring::open(dir.path(), &tenant), Err(Error::Io { .. })));
        assert_eq!(fs::read_dir(dir.path().join("acme")).unwrap().count(), 1, "only the note");
        ring.destroy().unwrap();
    }
}
