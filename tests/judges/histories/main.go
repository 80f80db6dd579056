// Judge of clients' histories: github.com/anishathalye/porcupine, which nobody here wrote, decides whether they are linearizable.
//
//	judge FILE SECONDS    FILE: [{"model", "key", "cap", "ops": [{"client", "call", "return", "input", "output"}]}], times in ns.
//
// Prints {"checked": n, "operations": n, "wrong": [key…], "undecided": [key…]}. Exit 1 if a history is wrong, 2 if the file is.
//
// An operation whose outcome nobody knows has the output "unknown": it took effect at some time, or never.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"
)

type operation struct {
	Client int    `json:"client"`
	Call   int64  `json:"call"`
	Return int64  `json:"return"`
	Input  string `json:"input"`
	Output string `json:"output"`
}

type history struct {
	Model string      `json:"model"`
	Key   string      `json:"key"`
	Cap   int         `json:"cap"`
	Ops   []operation `json:"ops"`
}

type states = []interface{}

// Who has redeemed an approval: "" or a redemption's id.
func redemption(state, input, output interface{}) states {
	by, id := state.(string), input.(string)
	mine := by == "" || by == id
	switch output.(string) {
	case "redeemed":
		if mine {
			return states{id}
		}
	case "already_redeemed":
		if !mine {
			return states{by}
		}
	case "refused":
		return states{by}
	case "unknown":
		if by == "" {
			return states{by, id}
		}
		return states{by}
	}
	return nil
}

// How many calls a budget has given.
func budget(most int) func(state, input, output interface{}) states {
	return func(state, _, output interface{}) states {
		given := state.(int)
		switch output.(string) {
		case "allow":
			if given < most {
				return states{given + 1}
			}
		case "deny":
			if given >= most {
				return states{given}
			}
		case "contended":
			return states{given}
		case "unknown":
			if given < most {
				return states{given, given + 1}
			}
			return states{given}
		}
		return nil
	}
}

// Which version of the policies is in force. Input: "" reads, a version puts it in force.
func policy(state, input, output interface{}) states {
	now, wanted := state.(string), input.(string)
	switch {
	case wanted == "":
		if output.(string) == now {
			return states{now}
		}
		return nil
	case output.(string) == "unknown":
		return states{now, wanted}
	default:
		return states{wanted}
	}
}

func model(of history) (porcupine.Model, error) {
	var first interface{} = ""
	step := redemption
	switch of.Model {
	case "redemption":
	case "budget":
		first, step = 0, budget(of.Cap)
	case "policy":
		first, step = strconv.Itoa(of.Cap), policy
	default:
		return porcupine.Model{}, fmt.Errorf("no such model: %q", of.Model)
	}
	made := porcupine.NondeterministicModel{Init: func() []interface{} { return states{first} }, Step: step}
	return made.ToModel(), nil
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: judge FILE SECONDS"))
	}
	text, err := os.ReadFile(os.Args[1])
	must(err)
	seconds, err := strconv.Atoi(os.Args[2])
	must(err)
	var all []history
	must(json.Unmarshal(text, &all))
	count, wrong, undecided := 0, []string{}, []string{}
	for _, one := range all {
		model, err := model(one)
		must(err)
		ops := make([]porcupine.Operation, 0, len(one.Ops))
		for _, op := range one.Ops {
			ops = append(ops, porcupine.Operation{ClientId: op.Client, Input: op.Input, Call: op.Call, Output: op.Output, Return: op.Return})
		}
		count += len(ops)
		switch porcupine.CheckOperationsTimeout(model, ops, time.Duration(seconds)*time.Second) {
		case porcupine.Illegal:
			wrong = append(wrong, one.Model+" "+one.Key)
		case porcupine.Unknown:
			undecided = append(undecided, one.Model+" "+one.Key)
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"checked": len(all), "operations": count, "wrong": wrong, "undecided": undecided,
	}))
	if len(wrong) > 0 {
		os.Exit(1)
	}
}

func must(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
