use super::*;
use std::{
    fs as std_fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

/// A folder with the file `theirs`, beside the folder `elsewhere` with the file `precious`.
struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["ours", "elsewhere"] {
            std_fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std_fs::write(dir.path().join("elsewhere/precious"), "precious").unwrap();
        Self { dir }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn ours(&self) -> Folder {
        Folder::open(&self.at("ours")).unwrap()
    }

    /// Checks that `elsewhere` is unchanged.
    fn unharmed(&self) {
        assert_eq!(std_fs::read(self.at("elsewhere/precious")).unwrap(), b"precious");
        assert_eq!(std_fs::read_dir(self.at("elsewhere")).unwrap().count(), 1);
    }
}

fn mode(path: &Path) -> u32 {
    std_fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_come_whole_and_private() {
    let house = House::new();
    let path = house.at("ours/f");
    replace(&path, b"one").unwrap();
    assert_eq!((std_fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));
    std_fs::set_permissions(&path, std_fs::Permissions::from_mode(0o666)).unwrap();
    replace(&path, b"two").unwrap();
    assert_eq!((read(&path, 3).unwrap(), mode(&path)), (Some(b"two".to_vec()), 0o600));
    assert!(read(&path, 2).is_err(), "larger than it may be");
    assert_eq!(read(&house.at("ours/none"), 9).unwrap(), None);
    let again = create(&path, b"three").unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std_fs::read(&path).unwrap(), b"two");
    create(&house.at("ours/g"), b"g").unwrap();
    assert_eq!(create_open(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(house.ours().names().unwrap(), ["f", "g"], "nothing is left over");
    make_folder(&house.at("deep/er")).unwrap();
    assert_eq!(mode(&house.at("deep/er")), 0o700);
    for path in ["ours/f", "ours/f/x"] {
        let error = make_folder(&house.at(path)).unwrap_err();
        assert!(error.to_string().contains("not a directory"), "{error}");
    }
    assert_eq!(mode(house.ours().make("sub").map(|f| f.path).unwrap().as_path()), 0o700);
}

#[test]
fn no_name_of_a_user_is_touched() {
    let house = House::new();
    for name in ["f.new", "f.tmp", ".f", "f~"] {
        std_fs::write(house.at("ours").join(name), name).unwrap();
    }
    replace(&house.at("ours/f.pos"), b"1").unwrap();
    replace(&house.at("ours/f"), b"1").unwrap();
    for name in ["f.new", "f.tmp", ".f", "f~"] {
        assert_eq!(std_fs::read(house.at("ours").join(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn links_are_never_followed() {
    for (name, target) in
        [("to-file", "../elsewhere/precious"), ("to-folder", "../elsewhere"), ("to-nothing", "x")]
    {
        let house = House::new();
        symlink(target, house.at("ours").join(name)).unwrap();
        let ours = house.ours();
        assert_eq!(ours.found(name).unwrap(), Some(Found::Link));
        for error in [
            ours.replace(name, b"evil").unwrap_err(),
            ours.replace_unsynced(name, b"evil").unwrap_err(),
            ours.create(name, b"evil").unwrap_err(),
            replace(&house.at("ours").join(name), b"evil").unwrap_err(),
            ours.read(name, 99).unwrap_err(),
            ours.make(name).unwrap_err(),
            Folder::open(&house.at("ours").join(name)).unwrap_err(),
            Folder::open(&house.at(&format!("ours/{name}/"))).unwrap_err(),
        ] {
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(ours.folder(name).is_err());
        assert!(ours.remove_folder(name).is_err());
        house.unharmed();
        ours.remove(name).unwrap();
        assert_eq!(ours.names().unwrap(), Vec::<String>::new());
        house.unharmed();
    }
}

#[test]
fn a_folder_that_is_swapped_for_a_link_is_not_left() {
    let house = House::new();
    let ours = house.ours();
    let sub = ours.make("sub").unwrap();
    std_fs::rename(house.at("ours/sub"), house.at("ours/moved")).unwrap();
    symlink("../elsewhere", house.at("ours/sub")).unwrap();
    sub.replace("f", b"1").unwrap();
    assert!(house.at("ours/moved/f").exists());
    assert!(ours.make("sub").is_err());
    house.unharmed();
}

#[test]
fn names_are_names() {
    let house = House::new();
    for name in ["", ".", "..", "../elsewhere/precious", "a/b", "a\0b"] {
        assert!(house.ours().replace(name, b"evil").is_err(), "{name:?}");
        assert!(house.ours().remove(name).is_err(), "{name:?}");
    }
    assert!(replace(Path::new("/"), b"").is_err());
    house.unharmed();
}

#[test]
fn devices_and_folders_are_no_files() {
    let house = House::new();
    std_fs::create_dir(house.at("ours/d")).unwrap();
    assert!(replace(&house.at("ours/d"), b"x").is_err());
    assert!(replace(Path::new("/dev/null"), b"x").is_err(), "a device stays a device");
    assert!(read(Path::new("/dev/zero"), 9).is_err());
    assert!(Folder::open(&house.at("elsewhere/precious")).is_err());
}

#[test]
fn one_at_a_time() {
    let house = House::new();
    let (first, second) = (house.ours(), house.ours());
    assert!(first.lock().unwrap());
    assert!(!second.lock().unwrap());
    drop(first);
    assert!(second.lock().unwrap());
}
