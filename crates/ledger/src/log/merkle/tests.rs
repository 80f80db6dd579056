//! Judges that are not ours: the definition itself, `ct-merkle`, and the public vectors.

use super::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use std::path::Path;

/// RFC 6962 §2.1, word for word.
fn definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            node_hash(&definition(left), &definition(right))
        }
    }
}

/// Tiles in memory: level by level, every hash.
struct Memory(Vec<Vec<Hash>>);

impl Tiles for Memory {
    type Error = std::convert::Infallible;
    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, Self::Error> {
        let first = first as usize;
        assert_eq!(first / 256, (first + count - 1) / 256, "one tile");
        Ok(self.0[level as usize][first..first + count].to_vec())
    }
}

fn leaf(n: u64) -> Hash {
    leaf_hash(&n.to_be_bytes())
}

fn memory(size: u64) -> (Memory, Edge) {
    let mut levels = vec![Vec::new(); LEVELS_MAX];
    let mut edge = Edge::default();
    for n in 0..size {
        levels[0].push(leaf(n));
        let mut full = Vec::new();
        edge.append(leaf(n), &mut full);
        for tile in full {
            let hashes: Vec<Hash> =
                tile.bytes.chunks(32).map(|h| Hash::from_slice(h).unwrap()).collect();
            assert_eq!(levels[tile.level as usize][tile.number as usize * 256..], hashes);
            levels[tile.level as usize + 1].push(tile_root(&hashes));
        }
    }
    (Memory(levels), edge)
}

#[test]
fn p5_roots_and_proofs_agree_with_the_definition() {
    let (tiles, _) = memory(700);
    let leaves: Vec<Hash> = (0..700).map(leaf).collect();
    for size in (1..=70).chain([255, 256, 257, 511, 512, 513, 699, 700]) {
        let root = definition(&leaves[..size as usize]);
        assert_eq!(memory(size).1.root(), root, "edge of {size}");
        assert_eq!(root_at(&tiles, size), Ok(root), "tiles at {size}");
        for index in 0..size {
            let path = inclusion(&tiles, index, size).unwrap();
            assert!(verify_inclusion(leaf(index), index, size, &path, &root), "{index} of {size}");
            assert!(!verify_inclusion(leaf(index + 1), index, size, &path, &root));
            assert!(!verify_inclusion(leaf(index), index + 1, size, &path, &root));
        }
        for from in 1..=size {
            let old = definition(&leaves[..from as usize]);
            let path = consistency(&tiles, from, size).unwrap();
            assert!(verify_consistency(from, size, &path, &old, &root), "{from} to {size}");
            assert!(!verify_consistency(from, size, &path, &leaf(9999), &root));
            assert!(!verify_consistency(from, size, &path, &old, &leaf(9999)));
        }
    }
}

#[test]
fn p5_agrees_with_ct_merkle() {
    let (tiles, _) = memory(600);
    let mut tree = MemoryBackedTree::<sha2_11::Sha256, Vec<u8>>::new();
    for size in 1..=600_u64 {
        tree.push((size - 1).to_be_bytes().to_vec());
        let root = tree.root();
        assert_eq!(root.as_bytes().as_slice(), root_at(&tiles, size).unwrap().0);
        for index in (0..size).step_by(37) {
            let ours: Vec<u8> =
                inclusion(&tiles, index, size).unwrap().iter().flat_map(|h| h.0).collect();
            assert_eq!(tree.prove_inclusion(index as usize).as_bytes(), ours, "{index} of {size}");
        }
        for from in (1..size).step_by(41) {
            let ours: Vec<u8> =
                consistency(&tiles, from, size).unwrap().iter().flat_map(|h| h.0).collect();
            let theirs = tree.prove_consistency((size - from) as usize);
            assert_eq!(theirs.as_bytes(), ours, "{from} to {size}");
        }
    }
}

#[test]
fn edge_can_be_loaded_again() {
    for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_001] {
        let (_, edge) = memory(size);
        let loaded = Edge::load(size, |level, width| {
            let hashes = edge.partial(level).to_vec();
            assert_eq!(hashes.len(), width);
            Ok::<_, ()>(hashes)
        });
        assert_eq!(loaded.unwrap().root(), edge.root(), "{size}");
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    leaf_idx: Option<u64>,
    tree_size: Option<u64>,
    root: Option<String>,
    leaf_hash: Option<String>,
    size1: Option<u64>,
    size2: Option<u64>,
    root1: Option<String>,
    root2: Option<String>,
    proof: Option<Vec<String>>,
    want_err: bool,
}

fn hash(text: Option<&String>) -> Option<Hash> {
    Hash::parse(text?)
}

impl Vector {
    fn holds(&self) -> Option<bool> {
        let proof =
            self.proof.iter().flatten().map(|h| Hash::parse(h)).collect::<Option<Vec<_>>>()?;
        if let (Some(from), Some(to)) = (self.size1, self.size2) {
            let (old, new) = (hash(self.root1.as_ref())?, hash(self.root2.as_ref())?);
            return Some(verify_consistency(from, to, &proof, &old, &new));
        }
        let (leaf, root) = (hash(self.leaf_hash.as_ref())?, hash(self.root.as_ref())?);
        Some(verify_inclusion(leaf, self.leaf_idx?, self.tree_size?, &proof, &root))
    }
}

#[test]
fn p5_public_vectors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors/rfc6962");
    let (mut seen, mut refused) = (0, 0);
    for family in ["inclusion", "consistency"] {
        let mut folders = vec![root.join(family)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let vector: Vector =
                    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                // `None`: a root that is not 32 bytes. Ours refuses those even where the vector does not care.
                match vector.holds() {
                    Some(holds) => assert_eq!(holds, !vector.want_err, "{}", path.display()),
                    None => refused += 1,
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 190 && refused < 60, "{seen} vectors, {refused} not made of hashes");
}
