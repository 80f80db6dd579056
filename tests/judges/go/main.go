// Command judge verifies a Countersign log with Go's own sumdb packages, which nobody here wrote.
//
//	judge -url http://127.0.0.1:8470/v1/tenants/acme/logs/1 -key-file reader.key -vkey 'name+hash+base64' dir
//
// dir holds files *.checkpoint (older checkpoints), *.consistency (JSON answers of the server) and *.tlog-proof
// (receipts). Everything is checked; then every decoded value a verifier read is changed, and each change must be
// refused. Standard output is one JSON object of counts; exit 1 and a line on standard error at the first failure.
//
// With -part, the directory holds a part of the log, as evidence of a period does: bundles may be missing, and the hash
// tiles of level 0 follow from the bundles.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	url     = flag.String("url", "", "base URL of the log, or a directory that holds it")
	keyFile = flag.String("key-file", "", "file with an API key")
	vkeys   = flag.String("vkey", "", "the log's verifier keys, separated by commas; the last one signs the newest checkpoint")
	part    = flag.Bool("part", false, "the directory holds a part of the log")
	counts  = map[string]int{}
)

func main() {
	flag.Parse()
	if err := run(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(counts)
}

type checkpoint struct {
	text string
	tree tlog.Tree
}

func run(dir string) error {
	var verifiers []note.Verifier
	for _, vkey := range strings.Split(*vkeys, ",") {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return fmt.Errorf("vkey %q: %w", vkey, err)
		}
		verifiers = append(verifiers, verifier)
	}
	text, err := fetch("checkpoint")
	if err != nil {
		return err
	}
	newest, err := open(string(text), verifiers)
	if err != nil {
		return fmt.Errorf("newest checkpoint: %w", err)
	}
	tiles := &tileReader{cache: map[string][]byte{}}
	reader := tlog.TileHashReader(newest.tree, tiles)
	leaves, err := bundles(newest.tree, reader)
	if err != nil {
		return err
	}
	if err := consistency(dir, newest, reader, verifiers); err != nil {
		return err
	}
	if err := receipts(dir, newest, reader, verifiers, leaves); err != nil {
		return err
	}
	if err := changedCheckpoint(newest, verifiers); err != nil {
		return err
	}
	return changedTiles(newest.tree, tiles, leaves)
}

// open verifies a note and reads the three lines of a checkpoint.
func open(text string, verifiers []note.Verifier) (checkpoint, error) {
	opened, err := note.Open([]byte(text), note.VerifierList(verifiers...))
	if err != nil {
		return checkpoint{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifiers[0].Name() {
		return checkpoint{}, fmt.Errorf("not a checkpoint of this log: %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, fmt.Errorf("size %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return checkpoint{}, err
	}
	return checkpoint{text, tlog.Tree{N: size, Hash: root}}, nil
}

// bundles reads every entry bundle that is there, and proves every entry from authenticated tiles. The entry of a bundle that
// is not there is nil.
func bundles(tree tlog.Tree, reader tlog.HashReader) ([][]byte, error) {
	var leaves [][]byte
	for number := int64(0); number*256 < tree.N; number++ {
		width := min(256, tree.N-number*256)
		data, err := fetch("tile/entries/" + tilePath(number, width))
		if *part && errors.Is(err, os.ErrNotExist) {
			leaves = append(leaves, make([][]byte, width)...)
			counts["absent"]++
			continue
		}
		if err != nil {
			return nil, err
		}
		for range width {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("bundle %d is too short", number)
			}
			length := int(binary.BigEndian.Uint16(data))
			leaves = append(leaves, data[2:2+length])
			data = data[2+length:]
		}
		if len(data) != 0 {
			return nil, fmt.Errorf("bundle %d is too long", number)
		}
		counts["bundles"]++
	}
	for index, leaf := range leaves {
		if leaf == nil {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		if err != nil {
			return nil, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(leaf)); err != nil {
			return nil, fmt.Errorf("entry %d: %w", index, err)
		}
		counts["inclusions"]++
	}
	return leaves, nil
}

// consistency checks every pair of checkpoints, by tiles and by the server's own proofs.
func consistency(dir string, newest checkpoint, reader tlog.HashReader, verifiers []note.Verifier) error {
	all := []checkpoint{newest}
	files, _ := filepath.Glob(filepath.Join(dir, "*.checkpoint"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		old, err := open(string(text), verifiers)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, old)
		counts["checkpoints"]++
	}
	sort.Slice(all, func(i, j int) bool { return all[i].tree.N < all[j].tree.N })
	bySize := map[int64]tlog.Hash{}
	for i, old := range all {
		bySize[old.tree.N] = old.tree.Hash
		for _, later := range all[i:] {
			proof, err := tlog.ProveTree(later.tree.N, old.tree.N, reader)
			if err != nil {
				return err
			}
			if err := tlog.CheckTree(proof, later.tree.N, later.tree.Hash, old.tree.N, old.tree.Hash); err != nil {
				return fmt.Errorf("sizes %d and %d: %w", old.tree.N, later.tree.N, err)
			}
			counts["consistent"]++
		}
	}
	files, _ = filepath.Glob(filepath.Join(dir, "*.consistency"))
	for _, file := range files {
		var served struct {
			From, To int64
			Proof    []tlog.Hash
		}
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &served)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		check := func() error {
			return tlog.CheckTree(served.Proof, served.To, bySize[served.To], served.From, bySize[served.From])
		}
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		counts["served consistency"]++
		if served.From == served.To {
			continue
		}
		for at := range served.Proof {
			if err := flips(served.Proof[at][:], check, fmt.Sprintf("%s: hash %d", file, at)); err != nil {
				return err
			}
		}
	}
	return nil
}

// receipts checks every receipt and refuses every change of what it says.
func receipts(dir string, newest checkpoint, reader tlog.HashReader, verifiers []note.Verifier, leaves [][]byte) error {
	files, _ := filepath.Glob(filepath.Join(dir, "*.tlog-proof"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		head, signed, _ := strings.Cut(string(text), "\n\n")
		lines := strings.Split(head, "\n")
		if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
			return fmt.Errorf("%s: not a tlog-proof", file)
		}
		entry, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(lines[1], "extra "))
		if err != nil {
			return fmt.Errorf("%s: extra: %w", file, err)
		}
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
		if err != nil {
			return fmt.Errorf("%s: index: %w", file, err)
		}
		var proof tlog.RecordProof
		for _, line := range lines[3:] {
			hash, err := tlog.ParseHash(line)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			proof = append(proof, hash)
		}
		opened, err := open(signed, verifiers)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if index >= int64(len(leaves)) || !bytes.Equal(leaves[index], entry) {
			return fmt.Errorf("%s: not the entry the log serves at %d", file, index)
		}
		size, root, leaf := opened.tree.N, opened.tree.Hash, tlog.RecordHash(entry)
		check := func() error { return tlog.CheckRecord(proof, size, root, index, leaf) }
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		between, err := tlog.ProveTree(newest.tree.N, size, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(between, newest.tree.N, newest.tree.Hash, size, root); err != nil {
			return fmt.Errorf("%s: its checkpoint: %w", file, err)
		}
		counts["receipts"]++
		for at := range proof {
			if err := flips(proof[at][:], check, fmt.Sprintf("%s: hash %d", file, at)); err != nil {
				return err
			}
		}
		if err := flips(root[:], check, file+": root"); err != nil {
			return err
		}
		if err := flips(leaf[:], check, file+": leaf"); err != nil {
			return err
		}
		entryCheck := func() error { return tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)) }
		if err := flips(entry, entryCheck, file+": entry"); err != nil {
			return err
		}
		for other := int64(-1); other <= size; other++ {
			if other != index && tlog.CheckRecord(proof, size, root, other, leaf) == nil {
				return fmt.Errorf("%s: accepted at index %d too", file, other)
			}
			counts["refused changes"]++
		}
		if len(proof) > 0 && tlog.CheckRecord(proof[1:], size, root, index, leaf) == nil {
			return fmt.Errorf("%s: accepted without its first hash", file)
		}
	}
	return nil
}

// flips changes each bit of value; every change must make check fail.
func flips(value []byte, check func() error, what string) error {
	for bit := range len(value) * 8 {
		value[bit/8] ^= 1 << (bit % 8)
		err := check()
		value[bit/8] ^= 1 << (bit % 8)
		if err == nil {
			return fmt.Errorf("%s: bit %d changed, and accepted", what, bit)
		}
		counts["refused changes"]++
	}
	return check()
}

// changedCheckpoint changes every bit of the text and of the signature.
func changedCheckpoint(newest checkpoint, verifiers []note.Verifier) error {
	text, signatures, _ := strings.Cut(newest.text, "\n\n")
	body := []byte(text)
	check := func() error {
		_, err := note.Open([]byte(string(body)+"\n\n"+signatures), note.VerifierList(verifiers...))
		return err
	}
	if err := flips(body, check, "checkpoint text"); err != nil {
		return err
	}
	if strings.Count(signatures, "\n") != 1 {
		return nil
	}
	fields := strings.Split(strings.TrimSuffix(signatures, "\n"), " ")
	raw, err := base64.StdEncoding.Strict().DecodeString(fields[2])
	if err != nil {
		return err
	}
	check = func() error {
		line := fields[0] + " " + fields[1] + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
		_, err := note.Open([]byte(text+"\n\n"+line), note.VerifierList(verifiers...))
		return err
	}
	return flips(raw, check, "checkpoint signature")
}

// changedTiles changes one bit of every byte of the tiles that authenticate some leaves.
func changedTiles(tree tlog.Tree, tiles *tileReader, leaves [][]byte) error {
	for _, index := range []int64{0, tree.N / 2, tree.N - 1} {
		if leaves[index] == nil {
			continue
		}
		wanted := []int64{tlog.StoredHashIndex(0, index)}
		for path, data := range tiles.cache {
			copied := append([]byte(nil), data...)
			bad := &tileReader{cache: map[string][]byte{}, behind: tiles, changed: map[string][]byte{path: copied}}
			for at := range copied {
				copied[at] ^= 0x10
				bad.read = false
				_, err := tlog.TileHashReader(tree, bad).ReadHashes(wanted)
				copied[at] ^= 0x10
				if bad.read && err == nil {
					return fmt.Errorf("tile %s: byte %d changed, and leaf %d accepted", path, at, index)
				}
				if bad.read {
					counts["refused changes"]++
				}
			}
		}
	}
	return nil
}

// tileReader fetches tiles by C2SP paths for Go's reader, which has other paths.
type tileReader struct {
	lock    sync.Mutex
	cache   map[string][]byte
	behind  *tileReader
	changed map[string][]byte
	read    bool
}

func (r *tileReader) Height() int { return 8 }

func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	var all [][]byte
	for _, tile := range tiles {
		if tile.H != 8 || tile.L < 0 {
			return nil, errors.New("not a hash tile of height 8")
		}
		path := fmt.Sprintf("tile/%d/%s", tile.L, tilePath(tile.N, int64(tile.W)))
		data, changed := r.changed[path]
		if changed {
			r.read = true
		} else if data = r.cached(path); data == nil {
			fetched, err := fetch(path)
			if *part && tile.L == 0 && errors.Is(err, os.ErrNotExist) {
				fetched, err = ofBundle(tile.N, int64(tile.W))
			}
			if err != nil {
				return nil, err
			}
			data = fetched
			r.cache[path] = data
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		all = append(all, data)
	}
	return all, nil
}

// ofBundle computes a tile of level 0 from its entry bundle.
func ofBundle(number, width int64) ([]byte, error) {
	data, err := fetch("tile/entries/" + tilePath(number, width))
	var hashes []byte
	for err == nil && len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("bundle %d is too short", number)
		}
		length := int(binary.BigEndian.Uint16(data))
		hash := tlog.RecordHash(data[2 : 2+length])
		hashes = append(hashes, hash[:]...)
		data = data[2+length:]
	}
	return hashes, err
}

func (r *tileReader) cached(path string) []byte {
	if data := r.cache[path]; data != nil || r.behind == nil {
		return data
	}
	return r.behind.cache[path]
}

// tilePath writes a tile number and width as C2SP tlog-tiles does.
func tilePath(number, width int64) string {
	path := fmt.Sprintf("%03d", number%1000)
	for number >= 1000 {
		number /= 1000
		path = fmt.Sprintf("x%03d/%s", number%1000, path)
	}
	if width < 256 {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

func fetch(path string) ([]byte, error) {
	if !strings.HasPrefix(*url, "http") {
		return os.ReadFile(filepath.Join(*url, path))
	}
	request, err := http.NewRequest("GET", *url+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	if *keyFile != "" {
		key, err := os.ReadFile(*keyFile)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return data, err
}
