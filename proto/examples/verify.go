// Verifies a Countersign log with Go's own transparency-log packages. None of this is code of Countersign.
//
//	verify log.vkey receipt.tlog-proof...                              each entry is in a tree that this key signed
//	verify log.vkey -consistent old.checkpoint new.checkpoint proof.json    the old tree is the beginning of the new one
//
// It reads what ../formats/receipt.md and ../formats/log.md say. It does not follow key rotations.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A checkpoint that the key signed.
func open(verifier note.Verifier, text string) (size int64, root tlog.Hash, err error) {
	signed, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return 0, root, err
	}
	lines := strings.Split(signed.Text, "\n") // origin, size, root
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return 0, root, fmt.Errorf("not a checkpoint of this log")
	}
	if size, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return 0, root, err
	}
	root, err = tlog.ParseHash(lines[2])
	return size, root, err
}

func parse(lines []string) (hashes []tlog.Hash, err error) {
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func receipt(verifier note.Verifier, text string) (index, size int64, err error) {
	head, checkpoint, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return 0, 0, fmt.Errorf("not a receipt")
	}
	size, root, err := open(verifier, checkpoint)
	if err != nil {
		return 0, 0, err
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return 0, 0, err
	}
	if index, err = strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64); err != nil {
		return 0, 0, err
	}
	proof, err := parse(lines[3:])
	if err != nil {
		return 0, 0, err
	}
	return index, size, tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry))
}

func consistent(verifier note.Verifier, older, newer, document string) (from, to int64, err error) {
	from, oldRoot, err := open(verifier, older)
	if err != nil {
		return 0, 0, err
	}
	to, newRoot, err := open(verifier, newer)
	if err != nil {
		return 0, 0, err
	}
	var answer struct{ Proof []string }
	if err := json.Unmarshal([]byte(document), &answer); err != nil {
		return 0, 0, err
	}
	proof, err := parse(answer.Proof)
	if err != nil {
		return 0, 0, err
	}
	return from, to, tlog.CheckTree(proof, to, newRoot, from, oldRoot)
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}

func main() {
	log.SetFlags(0)
	arguments := os.Args[1:]
	if len(arguments) < 2 || arguments[1] == "-consistent" && len(arguments) != 5 {
		log.Fatal("usage: verify log.vkey receipt... | verify log.vkey -consistent old new proof.json")
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(read(arguments[0])))
	if err != nil {
		log.Fatal(err)
	}
	if arguments[1] == "-consistent" {
		from, to, err := consistent(verifier, read(arguments[2]), read(arguments[3]), read(arguments[4]))
		if err != nil {
			log.Fatalf("REFUSED: %v", err)
		}
		fmt.Printf("verified: the tree of %d entries begins with the tree of %d entries\n", to, from)
		return
	}
	for _, path := range arguments[1:] {
		index, size, err := receipt(verifier, read(path))
		if err != nil {
			log.Fatalf("REFUSED %s: %v", path, err)
		}
		fmt.Printf("verified %s: entry %d of %d\n", path, index, size)
	}
}
