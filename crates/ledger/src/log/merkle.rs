//! RFC 6962 §2.1: hashes, the right edge of a growing tree, proofs and their strict verification.
//!
//! The only module that names `rs_merkle`. It computes tiles (256 hashes at most) and nothing larger: it holds all
//! leaves in memory, is quadratic on incremental commits, and its own verifier accepts forged proofs.

use rs_merkle::{Hasher, MerkleTree};
use sha2::{Digest, Sha256};

/// Hashes of a full tile (tlog-tiles: height 8).
pub const TILE_WIDTH: usize = 256;
/// Levels a tree of 2^64 leaves needs: 8 tiles of height 8.
pub const LEVELS_MAX: usize = 8;
/// Longest inclusion or consistency proof of a tree of at most 2^63 leaves, in hashes.
pub const PROOF_HASHES_MAX: usize = 64;

/// A SHA-256 tree hash: of a leaf, a node or a root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl std::fmt::Display for Hash {
    /// Standard base64, as in checkpoints and proofs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::BASE64.encode(&self.0))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a hash: 32 bytes in base64"))
    }
}

impl Hash {
    /// Reads the canonical standard base64 form.
    pub fn parse(text: &str) -> Option<Self> {
        data_encoding::BASE64.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// Reads 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// The root of the tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// RFC 6962 hashing for `rs_merkle`: nodes are prefixed, a node without a sibling is promoted unchanged.
#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        leaf_hash(data).0
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| node_hash(&Hash(*left), &Hash(*right)).0)
    }
}

/// The RFC 6962 root over 1 to [`TILE_WIDTH`] hashes of equal-height subtrees (the last may be smaller).
pub fn tile_root(hashes: &[Hash]) -> Hash {
    debug_assert!((1..=TILE_WIDTH).contains(&hashes.len()), "a tile has 1 to 256 hashes");
    match hashes {
        [] => empty_root(),
        [only] => *only,
        [left, right] => node_hash(left, right),
        _ => {
            let leaves: Vec<[u8; 32]> = hashes.iter().map(|hash| hash.0).collect();
            let root = MerkleTree::<Rfc6962>::from_leaves(&leaves).root();
            Hash(root.expect("a tree with leaves has a root"))
        }
    }
}

/// A tile that got its 256th hash and will never change again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// 0 for leaf hashes; a hash at level n+1 is the root of a full tile at level n.
    pub level: u8,
    /// 0-based place in its level.
    pub number: u64,
    /// The 256 hashes, 8192 bytes.
    pub bytes: Vec<u8>,
}

/// The right edge of a tree: the hashes of the last, unfinished tile of each level. It is enough to append and
/// to know the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree of `size` leaves; `partial(level)` gives the hashes of the unfinished tile at that level.
    pub fn load<E>(
        size: u64,
        mut partial: impl FnMut(u8, usize) -> Result<Vec<Hash>, E>,
    ) -> Result<Self, E> {
        let mut levels = Vec::new();
        let mut count = size;
        while count > 0 {
            let level = u8::try_from(levels.len()).expect("a tree has at most 8 levels");
            let width = usize::try_from(count % 256).expect("less than 256");
            levels.push(if width == 0 { Vec::new() } else { partial(level, width)? });
            count /= 256;
        }
        Ok(Self { size, levels })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the unfinished tile at `level`. Empty if there is none.
    pub fn partial(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Adds a leaf. Tiles that became full are pushed to `full`, lowest level first.
    pub fn append(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        let mut hash = leaf;
        let mut number = self.size / 256;
        self.size += 1;
        for level in 0..LEVELS_MAX {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                return;
            }
            hash = tile_root(hashes);
            let bytes = hashes.iter().flat_map(|hash| hash.0).collect();
            full.push(FullTile { level: level as u8, number, bytes });
            hashes.clear();
            number /= 256;
        }
    }

    /// The root hash (RFC 6962 §2.1).
    pub fn root(&self) -> Hash {
        let mut smaller: Option<Hash> = None;
        for hashes in &self.levels {
            let mut all = hashes.clone();
            all.extend(smaller);
            smaller = if all.is_empty() { None } else { Some(tile_root(&all)) };
        }
        smaller.unwrap_or_else(empty_root)
    }
}

/// Source of hashes for proofs: `hashes(level, first, count)` gives neighbours within one tile.
pub trait Tiles {
    /// Why a tile could not be read.
    type Error;
    /// `count` hashes of `level`, beginning with number `first`; they never cross a tile border.
    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, Self::Error>;
}

/// The root of the complete subtree of `2^height` leaves with this 0-based `number`.
fn complete<T: Tiles>(tiles: &T, height: u32, number: u64) -> Result<Hash, T::Error> {
    let within = height % 8;
    let level = u8::try_from(height / 8).expect("height is below 64");
    let hashes = tiles.hashes(level, number << within, 1 << within)?;
    Ok(tile_root(&hashes))
}

/// The RFC 6962 hash of leaves `begin..end`, a range that some split of a tree produced.
pub fn range<T: Tiles>(tiles: &T, begin: u64, end: u64) -> Result<Hash, T::Error> {
    let size = end - begin;
    if size.is_power_of_two() {
        let height = size.trailing_zeros();
        return complete(tiles, height, begin >> height);
    }
    let middle = begin + split(size);
    Ok(node_hash(&range(tiles, begin, middle)?, &range(tiles, middle, end)?))
}

/// The largest power of two below `size` (which is at least 2).
pub fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root at any `size` the tree has had.
pub fn root_at<T: Tiles>(tiles: &T, size: u64) -> Result<Hash, T::Error> {
    if size == 0 { Ok(empty_root()) } else { range(tiles, 0, size) }
}

/// RFC 6962 §2.1.1: the path of leaf `index` (`< size`), from the leaf to the root.
pub fn inclusion<T: Tiles>(tiles: &T, index: u64, size: u64) -> Result<Vec<Hash>, T::Error> {
    let (mut begin, mut end) = (0, size);
    let mut path = Vec::new();
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(range(tiles, middle, end)?);
            end = middle;
        } else {
            path.push(range(tiles, begin, middle)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// RFC 6962 §2.1.2: the proof that the tree of `from` leaves (`1 ..= to`) is a prefix of the one of `to`.
pub fn consistency<T: Tiles>(tiles: &T, from: u64, to: u64) -> Result<Vec<Hash>, T::Error> {
    let (mut begin, mut end) = (0, to);
    let mut path = Vec::new();
    // `begin..end` always contains the last of the `from` leaves.
    while from != end {
        let middle = begin + split(end - begin);
        if from <= middle {
            path.push(range(tiles, middle, end)?);
            end = middle;
        } else {
            path.push(range(tiles, begin, middle)?);
            begin = middle;
        }
    }
    if begin != 0 {
        path.push(range(tiles, begin, end)?);
    }
    path.reverse();
    Ok(path)
}

/// True if `path` proves that `leaf` is at `index` under `root` of `size` leaves (RFC 9162 §2.1.3.2). Every
/// hash must be used.
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut number, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if number & 1 == 1 || number == last {
            hash = node_hash(sibling, &hash);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        number >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// True if `path` proves that `old_root` of `from` leaves is a prefix of `new_root` of `to` (RFC 9162
/// §2.1.4.2).
///
/// From the empty tree, and from a size to itself, the path must be empty.
pub fn verify_consistency(
    from: u64,
    to: u64,
    path: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> bool {
    if from > to {
        return false;
    }
    if from == 0 {
        return path.is_empty() && *old_root == empty_root() && (to != 0 || old_root == new_root);
    }
    if from == to {
        return path.is_empty() && old_root == new_root;
    }
    let mut hashes = path.iter();
    let (mut number, mut last) = (from - 1, to - 1);
    while number & 1 == 1 {
        number >>= 1;
        last >>= 1;
    }
    // If the old tree is complete, the path leaves out its root, so the walk begins with that root.
    let first = if number == 0 { Some(*old_root) } else { hashes.next().copied() };
    let Some(first) = first else { return false };
    let (mut old, mut new) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return false;
        }
        if number & 1 == 1 || number == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        number >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}

#[cfg(test)]
mod tests;
