// Judges of cosignatures and policies that nobody here wrote: filippo.io/torchwood signs,
// github.com/transparency-dev/formats verifies, and github.com/transparency-dev/tessera evaluates policies. The witness itself is torchwood's litewitness, built beside.
//
//	judge agent SOCKET SEED         an ssh-agent with one Ed25519 key (hex seed); prints its fingerprint
//	judge vkey NAME SEED            the verifier key of a cosigner
//	judge cosign NAME SEED FILE     the checkpoint with one more line, signed now
//	judge verify FILE VKEY...       which keys have signed (log keys and cosigners), with the time of each cosignature
//	judge policy POLICY FILE        whether the quorum of a policy has signed the checkpoint; exit 1 if not, 2 if it is no policy
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"

	"filippo.io/torchwood"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if len(os.Args) < 4 {
		fail(2, "usage: see the source")
	}
	switch args := os.Args[2:]; os.Args[1] {
	case "agent":
		serve(args[0], key(args[1]))
	case "vkey":
		fmt.Println(signer(args[0], args[1]).Verifier())
	case "cosign":
		text, _, _ := bytes.Cut(read(args[2]), []byte("\n\n"))
		// `note.Sign` signs over the text, and keeps no other line: they are put back by hand.
		signed, err := note.Sign(&note.Note{Text: string(text) + "\n"}, signer(args[0], args[1]))
		must(err)
		_, line, _ := bytes.Cut(signed, []byte("\n\n"))
		os.Stdout.Write(append(read(args[2]), line...))
	case "verify":
		verify(read(args[0]), args[1:])
	case "policy":
		group, err := tessera.NewWitnessGroupFromPolicy(read(args[0]))
		if err != nil {
			fail(2, err)
		}
		if !group.Satisfied(read(args[1])) {
			fail(1, "the quorum has not signed")
		}
	default:
		fail(2, "no such command")
	}
}

func verify(text []byte, vkeys []string) {
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			verifier, err = fnote.NewVerifierForCosignatureV1(vkey)
		}
		must(err)
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(text, note.VerifierList(verifiers...))
	must(err)
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	must(err)
	times := map[string]int64{}
	for _, signature := range opened.Sigs {
		times[signature.Name] = 0
		for _, vkey := range vkeys {
			// The type of a cosigner's key, 4, begins its base64: `BA`.
			if parts := strings.Split(vkey, "+"); parts[0] == signature.Name && strings.HasPrefix(parts[2], "B") {
				at, err := fnote.CoSigV1Timestamp(signature)
				must(err)
				times[signature.Name] = at.Unix()
			}
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{"origin": checkpoint.Origin, "size": checkpoint.N, "signed": times}))
}

func serve(socket string, private ed25519.PrivateKey) {
	ring := agent.NewKeyring()
	must(ring.Add(agent.AddedKey{PrivateKey: private}))
	public, err := ssh.NewPublicKey(private.Public())
	must(err)
	listener, err := net.Listen("unix", socket)
	must(err)
	fmt.Println(ssh.FingerprintSHA256(public))
	for {
		connection, err := listener.Accept()
		must(err)
		go agent.ServeAgent(ring, connection)
	}
}

func signer(name, seed string) *torchwood.CosignatureSigner {
	signer, err := torchwood.NewCosignatureSigner(name, key(seed))
	must(err)
	return signer
}

func key(seed string) ed25519.PrivateKey {
	bytes, err := hex.DecodeString(seed)
	must(err)
	return ed25519.NewKeyFromSeed(bytes)
}

func read(path string) []byte {
	bytes, err := os.ReadFile(path)
	must(err)
	return bytes
}

func must(err error) {
	if err != nil {
		fail(1, err)
	}
}

func fail(code int, what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(code)
}
